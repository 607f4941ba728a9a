"""The losses are what they say: likeness as others compute it, a weighting by unlikeness, and plain mean |R|."""

import math

import numpy as np
import pytest
import pytorch_msssim
import torch
from scipy import ndimage
from skimage.metrics import structural_similarity

from rgru_lab import images, losses, metrics
from rgru_lab.losses import SCALE_WEIGHTS, Loss, Similarity, _gaussian


@pytest.fixture
def pair(sample):
    """pair(side): an original and a picture with noise, both (2, 3, side, side) in [-0.5, 0.5]."""

    def make(side):
        x = torch.cat([images.to_tensor(sample(name, side, side)) for name in ("astronaut", "coffee")]) - 0.5
        noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1))
        return x, (x + 0.08 * noise).clamp(-0.5, 0.5)

    return make


def _written_out(x, y, side):
    """MS-SSIM of two square photos (H, H, 3) in [0, 1] in float64, with a window of so many pixels."""
    window = np.exp(-((np.arange(side) - side // 2) ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def mean(a):
        rows = ndimage.correlate1d(a, window, axis=0)
        inner = slice(side // 2, -(side // 2))
        return ndimage.correlate1d(rows, window, axis=1)[inner, inner]

    similarity = 1.0
    for weight in SCALE_WEIGHTS:
        mx, my = mean(x), mean(y)
        value = (2 * (mean(x * y) - mx * my) + 0.03**2) / (mean(x * x) - mx**2 + mean(y * y) - my**2 + 0.03**2)
        last = weight == SCALE_WEIGHTS[-1] or len(x) // 2 < side
        if last:
            value = value * (2 * mx * my + 0.01**2) / (mx**2 + my**2 + 0.01**2)
        similarity = similarity * value.mean((0, 1)) ** weight
        if last:
            break
        x, y = (a.reshape(len(a) // 2, 2, -1, 2, 3).mean((1, 3)) for a in (x, y))
    return similarity.mean()


@pytest.mark.parametrize(("side", "window"), [(176, 11), (160, 7), (112, 7)])
def test_the_similarity_and_its_gradient_are_those_of_pytorch_msssim(pair, side, window):
    x, y = pair(side)
    y.requires_grad_()
    ours = Similarity(x).ms_ssim(y)
    (gradient,) = torch.autograd.grad(ours, y)
    theirs = pytorch_msssim.ms_ssim(y + 0.5, x + 0.5, data_range=1, win_size=window)
    (expected,) = torch.autograd.grad(theirs, y)
    ours, theirs = float(ours.detach()), float(theirs.detach())
    assert ours == pytest.approx(theirs, abs=2e-6)
    assert 0.5 < ours < 0.99
    assert expected.abs().max() > 0
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_what_hides_from_one_place_of_the_grid_is_seen_from_both(pair):
    """An error of + - - + along a line: in squares from the corner it cancels, in those one pixel on it does not."""
    x, _ = pair(192)
    y = x + 0.1 * torch.tensor([1.0, -1.0, -1.0, 1.0]).repeat(48)
    places = losses.at_both_places(x)
    assert torch.equal(places[: len(x)], x)
    assert torch.equal(places[len(x) :, :, :-1, :-1], x[:, :, 1:, 1:])
    assert torch.equal(places[len(x) :, :, -1, -1], x[:, :, -1, -1])
    hidden = 1 - Similarity(x).ms_ssim(y)
    seen = 1 - Similarity(places).ms_ssim(losses.at_both_places(y))
    assert seen > 2 * hidden > 0


@pytest.mark.parametrize(("side", "window"), [(16, 7), (32, 7), (64, 7), (128, 7), (176, 11)])
def test_small_patches_have_a_smaller_window_and_fewer_scales(pair, side, window):
    x, y = pair(side)
    photos = ((a.permute(0, 2, 3, 1).double() + 0.5).numpy() for a in (x, y))
    expected = np.mean([_written_out(*two, window) for two in zip(*photos, strict=True)])
    assert float(Similarity(x).ms_ssim(y)) == pytest.approx(expected, abs=1e-5)


def test_the_similarity_of_photos_is_the_metric(sample):
    photo = sample("coffee", 192, 208)
    other = np.clip(photo.astype(int) + np.random.default_rng(0).integers(-30, 31, photo.shape), 0, 255)
    x, y = (images.to_tensor(p.astype(np.uint8)) - 0.5 for p in (photo, other))
    assert float(Similarity(x).ms_ssim(y)) == pytest.approx(metrics.ms_ssim(photo, other.astype(np.uint8)), abs=2e-6)


def test_the_map_is_scikit_images_and_its_border_repeats_the_nearest_whole_window(pair):
    x, y = pair(176)
    ours = Similarity(x).ssim_map(y)
    assert ours.shape == x.shape
    photos = [(a[0].permute(1, 2, 0).double() + 0.5).numpy() for a in (x, y)]
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    _, theirs = structural_similarity(*photos, channel_axis=2, full=True, **settings)
    inner = theirs[5:-5, 5:-5].transpose(2, 0, 1)
    assert np.abs(ours[0, :, 5:-5, 5:-5].numpy() - inner).max() < 1e-3
    assert torch.equal(ours[0, :, :5, :5], ours[0, :, 5:6, 5:6].expand(3, 5, 5))


@pytest.mark.parametrize("side", [16, 64, 176])
def test_equal_pictures_are_wholly_alike(pair, side):
    x, _ = pair(side)
    similarity = Similarity(x)
    assert float(similarity.ms_ssim(x)) == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(similarity.ssim_map(x), torch.ones_like(x), rtol=0, atol=1e-3)


def test_bfloat16_around_it_changes_nothing(pair):
    """A variance is a small difference of large numbers: in bfloat16 the map would lie in -10 to 10."""
    x, y = pair(64)
    expected = Similarity(x).ms_ssim(y), Similarity(x).ssim_map(y)
    with torch.autocast("cpu", torch.bfloat16):
        assert (x @ x).dtype == torch.bfloat16  # autocast is at work
        under = Similarity(x).ms_ssim(y), Similarity(x).ssim_map(y)
    assert all(map(torch.equal, under, expected))


def test_pictures_without_any_likeness_still_have_a_finite_gradient(pair):
    x, _ = pair(64)
    for picture in (-x, torch.zeros_like(x), torch.full_like(x, 0.5), 3 * torch.randn_like(x)):
        picture = picture.clone().requires_grad_()
        value = Similarity(x).ms_ssim(picture)
        value.backward()
        assert 0 <= float(value.detach()) < 0.6
        assert picture.grad.isfinite().all()


def test_what_was_measured_in_inference_can_be_trained_on(pair):
    x, y = pair(48)
    _gaussian.cache_clear()
    with torch.inference_mode():
        Similarity(x).ms_ssim(y)
    y.requires_grad_()
    Similarity(x).ms_ssim(y).backward()
    assert y.grad.abs().max() > 0


def test_l1_is_the_mean_of_the_residuals_sizes():
    residual = torch.tensor([0.5, -0.25, 0.0, 0.25]).view(1, 1, 2, 2)
    assert float(Loss("l1", 0.84, 0.0, residual)(residual, residual)) == 0.25


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_ms_ssim_mixes_by_its_share(pair, share):
    x, y = pair(64)
    y.requires_grad_()
    loss = Loss("ms-ssim", share, 0.0, x)(y, x - y)
    unlike = 1 - Similarity(x).ms_ssim(y)
    expected = (1 - share) * (x - y).abs().mean() + share * unlike
    assert float(loss.detach()) == pytest.approx(float(expected.detach()), abs=1e-6)
    (gradient,) = torch.autograd.grad(loss, y, retain_graph=True)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, y)[0])
    assert 0.05 < float(unlike.detach()) < 0.9


def test_ssim_l1_weighs_a_residual_by_the_unlikeness_around_it_over_its_mean(pair):
    x, y = pair(32)
    unlike = 1 - Similarity(x).ssim_map(y)
    assert float(unlike.max() / unlike.min()) > 2
    loss = Loss("ssim-l1", 0.84, 0.0, x)
    for place in ((0, 0, 3, 4), (1, 2, 20, 31), (0, 1, 16, 16)):
        residual = torch.zeros_like(x)
        residual[place] = -0.75
        expected = 0.75 * float(unlike[place]) / float(unlike.sum())  # mean of |R| times weight, 1 / n drops out
        assert float(loss(y, residual)) == pytest.approx(expected, rel=1e-4)
    assert float(loss(y, torch.ones_like(x))) == pytest.approx(1, abs=1e-5)  # the weights' mean


def test_ssim_l1_has_no_gradient_through_its_weights(pair):
    x, y = pair(32)
    y.requires_grad_()
    loss = Loss("ssim-l1", 0.84, 0.0, x)
    assert not loss(y, torch.ones_like(x)).requires_grad
    (gradient,) = torch.autograd.grad(loss(y, x - y), y)
    unlike = 1 - Similarity(x).ssim_map(y.detach())
    torch.testing.assert_close(gradient, -(x - y).sign() * unlike / unlike.sum(), rtol=1e-4, atol=1e-9)


def test_a_perfect_picture_costs_nothing_and_breaks_nothing(pair):
    x, _ = pair(32)
    for name in ("l1", "ssim-l1", "ms-ssim"):
        picture = x.clone().requires_grad_()
        loss = Loss(name, 0.84, 0.0, x)(picture, x - picture)
        loss.backward()
        assert abs(float(loss.detach())) < 1e-5
        assert picture.grad.isfinite().all()


def test_the_weights_of_the_scales_are_those_of_the_paper_and_sum_to_one():
    assert math.isclose(sum(SCALE_WEIGHTS), 1, abs_tol=2e-4)
    assert SCALE_WEIGHTS == (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


@pytest.mark.parametrize("name", ["l1", "ssim-l1", "ms-ssim"])
def test_colour_adds_the_mean_error_of_each_patch_and_channel(name):
    x = torch.rand(2, 3, 128, 128) - 0.5
    picture = x + 0.01 * torch.randn(2, 3, 128, 128)
    picture[0, 0] += 0.2
    picture[1, 0] -= 0.1  # the two do not cancel
    plain = Loss(name, 0.84, 0.0, x)(picture, x - picture)
    weighed = Loss(name, 0.84, 2.0, x)(picture, x - picture)
    assert float(weighed - plain) == pytest.approx(2 * 0.3 / 6, abs=5e-4)


@pytest.mark.parametrize("side", [64, 192])
def test_a_picture_that_lost_all_contrast_is_unlike_by_nearly_one_at_any_number_of_scales(side):
    """A small picture has fewer scales, whose weights do not add up to 1 by themselves."""
    random = torch.Generator().manual_seed(0)
    sides = [torch.rand(1, 3, side // k, side // k, generator=random).round() for k in (1, 4, 16)]
    x = sum(torch.nn.functional.interpolate(part, size=(side, side)) for part in sides) / 3 - 0.5
    unlike = losses.Similarity(x).local_unlikeness(torch.zeros_like(x))
    assert 0.85 < float(unlike.mean()) <= 1.0
