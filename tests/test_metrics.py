"""PSNR by hand, SSIM and MS-SSIM against second implementations written here from the papers' formulas."""

import io

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
    """Wang et al. 2003: contrast and structure at five scales, luminance at the last, each channel by itself."""
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
