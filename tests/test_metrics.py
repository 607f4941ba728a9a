"""PSNR by hand, SSIM and MS-SSIM against second implementations written here from the papers' formulas."""

import io
from itertools import pairwise

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from rgru_lab import metrics
from rgru_lab.images import PictureError
from rgru_lab.metrics import MetricError

C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def _jpeg(photo, quality):
    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


def _flat(value, shape=(4, 5, 3)):
    return np.full(shape, value, np.uint8)


def _ssim(a, b):
    """A 7 x 7 window that weighs all pixels alike, covariances of a sample (n - 1), windows inside the picture."""
    values = []
    for channel in range(3):
        x, y = (sliding_window_view(p[:, :, channel].astype(float), (7, 7)).reshape(-1, 49) for p in (a, b))
        mx, my = x.mean(axis=1), y.mean(axis=1)
        cov = ((x - mx[:, None]) * (y - my[:, None])).sum(axis=1) / 48
        top = (2 * mx * my + C1) * (2 * cov + C2)
        values.append((top / ((mx**2 + my**2 + C1) * (x.var(axis=1, ddof=1) + y.var(axis=1, ddof=1) + C2))).mean())
    return np.mean(values)


def _ms_ssim(a, b):
    """Wang et al. 2003: contrast and structure at five scales, luminance at the last, each channel by itself.

    A side that is odd at one of the scales gets its last pixel twice.
    """
    offsets = np.arange(11) - 5
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(window, window) / window.sum() ** 2
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)

    def blur(p):
        return np.einsum("ijkl,kl->ij", sliding_window_view(p, (11, 11)), window)

    values = []
    for channel in range(3):
        x, y = a[:, :, channel].astype(float), b[:, :, channel].astype(float)
        value = 1.0
        for scale, weight in enumerate(weights):
            mx, my = blur(x), blur(y)
            vx, vy, cov = blur(x * x) - mx**2, blur(y * y) - my**2, blur(x * y) - mx * my
            part = (2 * cov + C2) / (vx + vy + C2)
            if scale == 4:
                part = part * (2 * mx * my + C1) / (mx**2 + my**2 + C1)
            value *= max(part.mean(), 0.0) ** weight
            if scale < 4:
                x, y = (np.pad(p, [(0, side % 2) for side in p.shape], mode="edge") for p in (x, y))
                x, y = (p.reshape(p.shape[0] // 2, 2, p.shape[1] // 2, 2).mean(axis=(1, 3)) for p in (x, y))
        values.append(value)
    return np.mean(values)


def test_psnr_of_a_difference_of_five_levels_is_the_one_computed_by_hand():
    """20 log10(255 / 5) = 34.1514 dB."""
    assert metrics.psnr_db(_flat(100), _flat(105)) == pytest.approx(34.1514, abs=1e-4)


def test_psnr_counts_every_pixel_and_channel():
    """One value of 60 off by 30: a mean square of 15."""
    other = _flat(100)
    other[1, 2, 0] = 70
    assert metrics.psnr_db(_flat(100), other) == pytest.approx(10 * np.log10(255**2 / 15))


def test_equal_photos_have_an_infinite_psnr_and_a_similarity_of_one(noise):
    photo = noise(176, 176)
    assert metrics.psnr_db(photo, photo.copy()) == float("inf")
    assert metrics.ssim(photo, photo.copy()) == pytest.approx(1)
    assert metrics.ms_ssim(photo, photo.copy()) == pytest.approx(1)


@pytest.mark.parametrize("quality", [5, 30, 90])
def test_ssim_agrees_with_a_second_implementation(sample, quality):
    photo = sample("astronaut", 40, 48)
    other = _jpeg(photo, quality)
    assert metrics.ssim(photo, other) == pytest.approx(_ssim(photo, other), abs=1e-9)


@pytest.mark.parametrize("quality", [3, 10, 60])
def test_ms_ssim_agrees_with_a_second_implementation(sample, quality):
    photo = sample("astronaut", 176, 192)
    other = _jpeg(photo, quality)
    assert metrics.ms_ssim(photo, other) == pytest.approx(_ms_ssim(photo, other), abs=1e-4)


@pytest.mark.parametrize("size", [(299, 331), (300, 225), (161, 176)], ids=str)
def test_ms_ssim_of_sides_that_do_not_halve_is_near_that_of_a_second_implementation(sample, size):
    """Near, not equal: here a side grows at the scale where it is odd, there before the first."""
    photo = sample("chelsea", *size)
    other = _jpeg(photo, 8)
    assert metrics.ms_ssim(photo, other) == pytest.approx(_ms_ssim(photo, other), abs=2e-3)


def test_ms_ssim_one_pixel_on_is_that_of_photos_without_the_first_row_and_column(sample):
    photo = sample("coffee", 193, 209)
    other = _jpeg(photo, 10)
    assert metrics.ms_ssim_moved(photo, other) == pytest.approx(_ms_ssim(photo[1:, 1:], other[1:, 1:]), abs=3e-3)
    whole = [np.pad(each[1:, 1:], ((0, 1), (0, 1), (0, 0)), mode="edge") for each in (photo, other)]
    assert metrics.ms_ssim_moved(photo, other) == pytest.approx(metrics.ms_ssim(*whole), abs=1e-6)
    with pytest.raises(MetricError, match=r"different sizes, 209 x 193 px and 209 x 192 px"):
        metrics.ms_ssim_moved(photo, other[1:])


def test_errors_that_cancel_in_the_squares_of_the_grid_are_seen_one_pixel_on(sample):
    photo = np.clip(sample("coffee", 192, 208), 20, 235)
    board = 16 * (np.indices((2, 2)).sum(0) % 2 * 2 - 1)[:, :, None]
    squares = np.random.default_rng(0).choice([-1, 1], (96, 104)).repeat(2, 0).repeat(2, 1)[:, :, None]
    other = (photo + np.tile(board, (96, 104, 1)) * squares).astype(np.uint8)
    assert metrics.ms_ssim_moved(photo, other) < metrics.ms_ssim(photo, other) - 0.005


def test_colour_counts_in_ms_ssim(sample):
    photo = sample("astronaut", 176, 176)
    swapped = photo.copy()
    swapped[:, :, 2] = photo[::-1, :, 2]
    assert metrics.ms_ssim(photo, swapped) == pytest.approx(_ms_ssim(photo, swapped), abs=1e-4)
    assert metrics.ms_ssim(photo, swapped) < 0.9


@pytest.mark.parametrize("size", [(160, 300), (300, 160), (160, 160)], ids=str)
def test_ms_ssim_of_a_side_of_160_pixels_is_refused_and_names_the_way_out(noise, size):
    photo = noise(*size)
    assert not metrics.has_ms_ssim(photo)
    with pytest.raises(MetricError, match=rf"161 px.*{size[1]} x {size[0]} px.*use ssim"):
        metrics.ms_ssim(photo, photo)
    with pytest.raises(MetricError, match=rf"161 px.*{size[1]} x {size[0]} px.*use ssim"):
        metrics.check_ms_ssim(photo)
    metrics.check_ms_ssim(noise(161, 161))


def test_ms_ssim_of_161_pixels_is_computed(noise):
    photo = noise(161, 161)
    assert metrics.has_ms_ssim(photo)
    assert 0 <= metrics.ms_ssim(photo, 255 - photo) < 0.5


def test_ssim_of_six_pixels_is_refused_and_names_the_way_out(noise):
    with pytest.raises(MetricError, match=r"7 px.*9 x 6 px.*psnr_db"):
        metrics.ssim(noise(6, 9), noise(6, 9))


@pytest.mark.parametrize(
    "metric",
    [metrics.psnr_db, metrics.ssim, metrics.ms_ssim, metrics.mean_abs_residual, metrics.colour_shift],
    ids=lambda m: m.__name__,
)
def test_photos_of_different_sizes_are_refused(noise, metric):
    with pytest.raises(MetricError, match=r"180 x 170 px and 170 x 180 px"):
        metric(noise(170, 180), noise(180, 170))


def test_what_is_no_photo_is_refused():
    with pytest.raises(PictureError, match="float64"):
        metrics.psnr_db(np.zeros((4, 4, 3)), _flat(0, (4, 4, 3)))


def test_bits_per_pixel_counts_eight_bits_a_byte_and_each_pixel_once():
    assert metrics.bits_per_pixel(30, _flat(0, (10, 12, 3))) == 2.0


def test_the_mean_residual_is_in_levels_and_has_no_sign():
    """Differences of +200 and -100 in halves: unsigned arithmetic would wrap around."""
    a, b = _flat(0, (2, 2, 3)), _flat(200, (2, 2, 3))
    a[0] = 200
    b[0] = 100
    assert metrics.mean_abs_residual(a, b) == 150.0
    assert metrics.mean_abs_residual(b, a) == 150.0


def test_the_colour_shift_is_the_mean_of_the_residual_of_each_channel_with_its_sign():
    """Green is right on average though no pixel is; blue goes all the way, which unsigned arithmetic would not."""
    original, decoded = _flat(100, (2, 2, 3)), _flat(100, (2, 2, 3))
    decoded[:, :, 0] = 103
    decoded[0, :, 1], decoded[1, :, 1] = 90, 110
    original[:, :, 2], decoded[:, :, 2] = 0, 255
    assert metrics.colour_shift(original, decoded) == (-3.0, 0.0, -255.0)
    assert metrics.colour_shift(decoded, original) == (3.0, 0.0, 255.0)


def test_ms_ssim_hardly_sees_a_colour_shift(sample):
    """Four levels of red on every pixel cost less than a JPEG of quality 90 does."""
    photo = sample("astronaut", 176, 176).clip(0, 251)
    redder = photo + np.array([4, 0, 0], np.uint8)
    assert metrics.ms_ssim(photo, redder) > max(0.999, metrics.ms_ssim(photo, _jpeg(photo, 90)))
    assert metrics.colour_shift(photo, redder) == (-4.0, 0.0, 0.0)


# --- curves ---


def _cubic_bjontegaard(ours, theirs):
    """Bjøntegaard's own method: a cubic through each curve, log rate over quality, and the difference of the areas."""
    curves = [np.array(curve).T for curve in (ours, theirs)]
    low = max(levels.min() for _, levels in curves)
    high = min(levels.max() for _, levels in curves)
    areas = []
    for rates, levels in curves:
        integral = np.polyint(np.polyfit(levels, np.log(rates), 3))
        areas.append(np.polyval(integral, high) - np.polyval(integral, low))
    return 100 * (np.exp((areas[0] - areas[1]) / (high - low)) - 1)


ANCHOR = [(0.2, 28.0), (0.4, 31.0), (0.8, 34.0), (1.6, 37.5)]


@pytest.mark.parametrize(("share", "percent"), [(0.5, -50.0), (1.0, 0.0), (1.25, 25.0)])
def test_the_same_share_of_the_bits_everywhere_is_that_difference(share, percent):
    ours = [(share * rate, level) for rate, level in ANCHOR]
    assert metrics.bjontegaard_percent(ours, ANCHOR) == pytest.approx(percent, abs=1e-9)


def test_bjontegaards_difference_agrees_with_his_own_cubic():
    ours = [(0.15, 28.2), (0.31, 31.4), (0.66, 34.9), (1.5, 38.0)]
    found = metrics.bjontegaard_percent(ours, ANCHOR)
    assert found == pytest.approx(_cubic_bjontegaard(ours, ANCHOR), abs=0.5)
    assert found < -20


def test_bjontegaard_swapped_is_the_other_way_round():
    ours = [(0.15, 28.2), (0.31, 31.4), (0.66, 34.9), (1.5, 38.0)]
    a, b = metrics.bjontegaard_percent(ours, ANCHOR), metrics.bjontegaard_percent(ANCHOR, ours)
    assert (1 + a / 100) * (1 + b / 100) == pytest.approx(1)


def test_points_after_which_the_quality_falls_are_left_out():
    assert metrics.bjontegaard_percent([*ANCHOR, (2.0, 37.0)], ANCHOR) == pytest.approx(0, abs=1e-9)


def test_points_that_are_perfect_are_left_out_and_a_curve_of_one_point_has_no_difference():
    curve = [(1.0, 10.0), (2.0, 20.0)]
    assert metrics.bjontegaard_percent([*curve, (3.0, float("inf"))], curve) == pytest.approx(0)
    assert metrics.bjontegaard_percent([], curve) is None
    assert metrics.bjontegaard_percent(curve, curve[:1]) is None


def test_curves_without_a_quality_in_common_have_no_difference():
    assert metrics.bjontegaard_percent([(0.1, 10.0), (0.2, 20.0)], ANCHOR) is None
    assert metrics.bjontegaard_percent([(0.1, 30.0)], ANCHOR) is None


def test_ms_ssim_in_decibels_by_hand():
    assert [metrics.ms_ssim_db(level) for level in (0.0, 0.9, 0.99, 1.0)] == pytest.approx([0, 10, 20, np.inf])


def test_the_area_under_a_curve_by_hand():
    """From (0.5, 0.8) to (1, 0.9) to (1.5, 0.9): 0.5 * 0.85 + 0.5 * 0.9 = 0.875; cut at 0.75 and 1.25."""
    curve = [(0.5, 0.8), (1.0, 0.9), (1.5, 0.9)]
    assert metrics.area(curve, 0.5, 1.5) == pytest.approx(0.875)
    assert metrics.area(curve, 0.75, 1.25) == pytest.approx(0.25 * 0.875 + 0.25 * 0.9)


def test_a_curve_that_ends_early_goes_on_level_and_one_that_begins_late_has_no_area():
    curve = [(0.5, 0.8), (1.0, 0.9)]
    assert metrics.area(curve, 0.5, 2.0) == pytest.approx(0.425 + 0.9)
    assert metrics.area(curve, 0.495, 1.0) == pytest.approx(0.425 + 0.005 * 0.8)
    assert metrics.area(curve, 0.489, 1.0) is None


def test_googles_own_model_has_the_area_that_its_curve_says():
    """Trapezoids by hand, from the published points themselves."""
    from rgru_lab import comparing

    points = [(p["bpp"], p["ms_ssim"]) for p in comparing.published()["Residual GRU, Google 2016"]["curve"]]
    by_hand = sum((b - a) * (p + q) / 2 for (a, p), (b, q) in pairwise(points))
    assert metrics.area(points) == pytest.approx(by_hand)
