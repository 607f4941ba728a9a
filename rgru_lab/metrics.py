"""How near a decoded photo is to the original, and what it costs. All on 8-bit photos (H, W, 3), R, G and B alike.

Never mix these with values computed on luma: the same JPEG is .901 MS-SSIM in RGB and .934 in luma. Last come the two
numbers that curves of such values are compared by: Bjøntegaard's difference and the area under a curve.
"""

from collections.abc import Sequence

import numpy as np

from rgru_lab.config import InputError
from rgru_lab.images import check_photo, pad_to_grid

MS_SSIM_MIN_SIDE = 161
"""Pixels: five scales of an 11-pixel window need sides over (11 - 1) * 2^4 = 160."""

SSIM_MIN_SIDE = 7
"""Pixels: the side of SSIM's window."""


class MetricError(InputError):
    """A metric that cannot be computed for these photos; the message says which one can."""


def psnr_db(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio of two photos in decibels; infinite for equal ones."""
    from skimage.metrics import peak_signal_noise_ratio

    _check_pair(a, b)
    if np.array_equal(a, b):
        return float("inf")
    return float(peak_signal_noise_ratio(a, b, data_range=255))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two photos, at most 1: a 7 x 7 window, mean over R, G and B.

    Raises:
        MetricError: a side is under 7 px.
    """
    from skimage.metrics import structural_similarity

    _check_pair(a, b)
    if min(a.shape[:2]) < SSIM_MIN_SIDE:
        raise MetricError(f"SSIM needs sides of {SSIM_MIN_SIDE} px; this photo is {_size(a)}: use psnr_db")
    return float(structural_similarity(a, b, channel_axis=2, data_range=255))


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale structural similarity of two photos, 0 to 1 (Wang et al. 2003): the paper's yardstick.

    An 11 x 11 Gaussian window of sigma 1.5, five scales, each of R, G and B filtered by itself. About half a second
    for a pair of 768 x 512. Each scale halves the photos by means of 2 x 2 pixels from the top left corner on; where
    sides are no multiples of 16, the last row and column are repeated until they are. (Left to itself, pytorch_msssim
    puts zeros all around odd sides, which adds an edge and moves the grid: .01 too high for a JPEG of .89.)

    Raises:
        MetricError: a side is 160 px or less. The way out is `ssim`, which needs 7.
    """
    import torch
    from pytorch_msssim import ms_ssim

    _check_pair(a, b)
    check_ms_ssim(a)
    x, y = (pad_to_grid(torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float()) for p in (a, b))
    return float(ms_ssim(x, y, data_range=255))


def ms_ssim_moved(a: np.ndarray, b: np.ndarray) -> float:
    """`ms_ssim` without the first row and column, the last ones twice instead: its means of 2 x 2 begin one pixel on.

    Nobody who looks at a photograph sees that grid. Who trains with MS-SSIM may leave errors that cancel within its
    squares; where the two values differ much, the higher one is of the metric's making.

    Raises:
        MetricError: as `ms_ssim`.
    """
    _check_pair(a, b)
    return ms_ssim(*(np.pad(photo, ((0, 1), (0, 1), (0, 0)), mode="edge")[1:, 1:] for photo in (a, b)))


def has_ms_ssim(photo: np.ndarray) -> bool:
    """Whether `ms_ssim` can be computed for a photo of this size."""
    return min(photo.shape[:2]) >= MS_SSIM_MIN_SIDE


def check_ms_ssim(photo: np.ndarray):
    """Raise a `MetricError` unless `ms_ssim` can be computed for a photo of this size."""
    if not has_ms_ssim(check_photo(photo)):
        raise MetricError(
            f"MS-SSIM needs sides of {MS_SSIM_MIN_SIDE} px or more; this photo is {_size(photo)}: use ssim instead"
        )


def mean_abs_residual(original: np.ndarray, decoded: np.ndarray) -> float:
    """Mean |R| = mean |I - P| over pixels and channels, in 8-bit levels, 0 to 255."""
    _check_pair(original, decoded)
    return float(np.abs(original.astype(np.int16) - decoded).mean())


def colour_shift(original: np.ndarray, decoded: np.ndarray) -> tuple[float, float, float]:
    """Mean of I - P for R, G and B in 8-bit levels, signed: a move that MS-SSIM hardly sees."""
    _check_pair(original, decoded)
    return tuple((original.astype(np.int16) - decoded).mean(axis=(0, 1)).tolist())


def bits_per_pixel(size_bytes: int, photo: np.ndarray) -> float:
    """Bits of a file per pixel of the photo (H, W, 3) it holds."""
    return 8 * size_bytes / (photo.shape[0] * photo.shape[1])


def ms_ssim_db(ms_ssim: float) -> float:
    """An MS-SSIM on a scale that spreads what is near 1: -10 log10(1 - MS-SSIM), in decibels."""
    return float(-10 * np.log10(1 - ms_ssim)) if ms_ssim < 1 else float("inf")


def bjontegaard_percent(ours: Sequence[tuple[float, float]], theirs: Sequence[tuple[float, float]]) -> float | None:
    """How many percent more bits we need at equal quality; negative where we need fewer.

    Bjøntegaard's difference: the mean, over all qualities that both curves reach, of the logarithm of the two rates'
    ratio, as a percentage. Between its points a curve is a piecewise cubic that does not overshoot (PCHIP).

    Args:
        ours, theirs: (rate, quality in decibels) of each point, rates rising. Points from which on the quality falls
            are left out, since nobody would send them, and so are those of infinite quality.

    Returns:
        The percentage; None where the two have no quality in common, or one has fewer than two points.
    """
    from bjontegaard import bd_rate

    ours, theirs = _rising(ours), _rising(theirs)
    if min(len(ours), len(theirs)) < 2:
        return None
    (our_rates, our_levels), (their_rates, their_levels) = (zip(*curve, strict=True) for curve in (ours, theirs))
    if max(our_levels[0], their_levels[0]) >= min(our_levels[-1], their_levels[-1]):
        return None
    options = {"method": "pchip", "require_matching_points": False, "min_overlap": 0}
    return float(bd_rate(their_rates, their_levels, our_rates, our_levels, **options))


def area(curve: Sequence[tuple[float, float]], low: float = 0.125, high: float = 2.0) -> float | None:
    """Area under a rate-distortion curve between two rates (the paper's AUC), by straight lines between the points.

    A curve that ends below `high` goes on as it ended: nobody has to spend bits that bring nothing. One that begins
    up to 0.01 bits per pixel above `low`, where a header is in the way, begins level.

    Args:
        curve: (bits per pixel, quality) of each point, rates rising.
        low, high: bits per pixel.

    Returns:
        Quality times bits per pixel; None where the curve begins later.
    """
    rates, levels = np.array(curve).T
    if rates[0] > low + 0.01:
        return None
    inside = [rate for rate in rates if low < rate < high]
    at = np.array([low, *inside, high])
    return float(np.trapezoid(np.interp(at, rates, levels), at))


def _rising(curve: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that are better than all before them, and not perfect."""
    kept = []
    for rate, level in curve:
        if np.isfinite(level) and (not kept or level > kept[-1][1]):
            kept.append((rate, level))
    return kept


def _check_pair(a: np.ndarray, b: np.ndarray):
    check_photo(a), check_photo(b)
    if a.shape != b.shape:
        raise MetricError(f"the photos have different sizes, {_size(a)} and {_size(b)}; compare equal sizes")


def _size(photo: np.ndarray) -> str:
    return f"{photo.shape[1]} x {photo.shape[0]} px"
