"""How near a decoded photo is to the original, and what it costs. All on 8-bit photos (H, W, 3), R, G and B alike.

Never mix these with values computed on luma: the same JPEG is .901 MS-SSIM in RGB and .934 in luma.
"""

import numpy as np

from rgru_lab.config import InputError
from rgru_lab.images import check_photo

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
    for a pair of 768 x 512.

    Raises:
        MetricError: a side is 160 px or less. The way out is `ssim`, which needs 7.
    """
    import torch
    from pytorch_msssim import ms_ssim

    _check_pair(a, b)
    if min(a.shape[:2]) < MS_SSIM_MIN_SIDE:
        raise MetricError(
            f"MS-SSIM needs sides of {MS_SSIM_MIN_SIDE} px or more; this photo is {_size(a)}: use ssim instead"
        )
    x, y = (torch.from_numpy(p.copy()).permute(2, 0, 1)[None].float() for p in (a, b))
    return float(ms_ssim(x, y, data_range=255))


def has_ms_ssim(photo: np.ndarray) -> bool:
    """Whether `ms_ssim` can be computed for a photo of this size."""
    return min(photo.shape[:2]) >= MS_SSIM_MIN_SIDE


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


def _check_pair(a: np.ndarray, b: np.ndarray):
    check_photo(a), check_photo(b)
    if a.shape != b.shape:
        raise MetricError(f"the photos have different sizes, {_size(a)} and {_size(b)}; compare equal sizes")


def _size(photo: np.ndarray) -> str:
    return f"{photo.shape[1]} x {photo.shape[0]} px"
