"""Adaptive bit rates: who stops sending when, that decoding repeats encoding, and files that are as small as asked."""

from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rgru_lab import adaptive, bitstream, codec, images, machine, metrics, model
from rgru_lab.bitmodel import Counts
from rgru_lab.config import InputError
from rgru_lab.photos import DATA
from rgru_lab.progression import Progression, decode


@pytest.fixture(scope="module")
def weights_path():
    """Weights that ship: with random ones more bits make no better pictures, so no position would send them."""
    return DATA / "models" / "small-4.safetensors"


@pytest.fixture(scope="module")
def weights(weights_path):
    return model.load(weights_path)


@pytest.fixture(scope="module")
def photo(sample):
    return sample("coffee", 170, 180)


@pytest.fixture(scope="module")
def curves(weights, photo):
    return np.stack(list(adaptive.unlikeness(weights.model, photo, 5)))


def test_a_position_that_stops_sends_zeros_from_then_on_and_the_others_send_all(weights, photo):
    sent = np.random.default_rng(0).integers(0, 4, images.grid_size(*photo.shape[:2]))
    planes = [plane for plane, _ in codec.encode(weights.model, photo, 3, sent)]
    for i, plane in enumerate(planes, start=1):
        assert np.array_equal(plane != 0, np.broadcast_to(sent >= i, plane.shape))
    whole = [plane for plane, _ in codec.encode(weights.model, photo, 3)]
    assert np.array_equal(planes[0][:, sent >= 1], whole[0][:, sent >= 1])  # the encoder has seen nothing else yet
    assert not np.array_equal(planes[1][:, sent >= 2], whole[1][:, sent >= 2])


def test_all_going_on_is_the_same_as_no_counts(weights, photo):
    sent = np.full(images.grid_size(*photo.shape[:2]), 3)
    plain, all_of_it = ([*codec.encode(weights.model, photo, 3, each)] for each in (None, sent))
    for (a, p), (b, q) in zip(plain, all_of_it, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(p, q)


def test_counts_of_another_grid_are_refused(weights, photo):
    with pytest.raises(InputError, match=r"counts has shape \(3, 3\); this picture needs \(11, 12\)"):
        codec.encode(weights.model, photo, 3, np.ones((3, 3), int))


def test_the_networks_learn_through_what_is_sent_and_only_through_that(make_coder):
    sending, x = codec.Sending(make_coder().train()), torch.rand(1, 3, 32, 32) - 0.5
    sending.going_on = torch.tensor([[[True, False], [False, False]]])
    first, second = islice(codec.unroll(sending, x), 2)
    second.picture.abs().mean().backward()
    assert first.bits[0, :, 0, 0].abs().min() == 1
    assert first.bits.abs().sum() == first.bits.shape[1]
    assert sending.model.binarizer.conv.weight.grad.abs().max() > 0


def test_the_unlikeness_of_a_position_is_its_part_of_the_mean_over_all(weights, photo, curves):
    """Of photos, at five scales; what is like has none, and it falls where a part of the picture gets better."""
    frames = [frame for _, frame in codec.encode(weights.model, photo, 5)]
    assert curves.shape == (5, 11, 12)
    assert curves.min() > 0
    near = frames[4].copy()
    near[:96, :96] = photo[:96, :96]
    x, a, b = (images.centred(each) for each in (photo, frames[4], near))
    similarity = adaptive.Similarity(x)
    before, after = similarity.local_unlikeness(a)[0], similarity.local_unlikeness(b)[0]
    both = [adaptive.at_both_places(each) for each in (x, a)]
    moved = adaptive.Similarity(both[0][1:]).local_unlikeness(both[1][1:])[0]
    np.testing.assert_allclose((before + moved) / 2, curves[4], atol=1e-6)
    assert (after[:5, :5] < 0.6 * before[:5, :5]).all()
    fallen = before - after  # at the coarsest scale a window spans the whole of so small a photo
    assert fallen[:5, :5].min() > 4 * fallen[8:, 8:].abs().max()
    assert similarity.local_unlikeness(x).abs().max() < 1e-6


def test_looking_at_every_position_is_refused_where_only_the_codec_alone_would_fit(weights, photo, monkeypatch):
    needed = machine.memory_bytes(weights.model.config, *photo.shape[:2])
    monkeypatch.setattr(machine, "free_bytes", lambda: int(1.2 * needed))
    next(codec.encode(weights.model, photo, 1))
    with pytest.raises(InputError, match="MB are free"):
        next(adaptive.unlikeness(weights.model, photo, 1))


def test_nobody_goes_on_where_the_photo_as_a_whole_gets_worse():
    curves = np.array([[[0.4, 0.4]], [[0.1, 0.2]], [[0.3, 0.1]]])  # the mean is least after iteration 2
    assert adaptive.counts(curves, 0.0).tolist() == [[2, 2]]
    curves[2, 0, 1] = -0.1  # now after iteration 3
    assert adaptive.counts(curves, 0.0).tolist() == [[2, 3]]


def test_all_can_go_on_to_the_iteration_that_is_best_for_the_whole_photo():
    curves = np.array([[[0.4, 0.4]], [[0.1, 0.2]], [[0.05, 0.2]], [[0.9, 0.0]]])
    assert adaptive.counts(curves, 0.0).tolist() == [[3, 2]]
    assert adaptive.counts(curves, adaptive.ALL).tolist() == [[3, 3]]
    assert adaptive.SLOPES[0] == adaptive.SHOWN[-1] == adaptive.ALL


def test_each_position_sends_the_number_of_iterations_with_the_least_cost(curves):
    slope = float(np.median(np.abs(np.diff(curves, axis=0))))
    sent = adaptive.counts(curves, slope)
    assert len(np.unique(sent)) > 1
    for y, x in np.ndindex(sent.shape):
        costs = [curves[n - 1, y, x] + slope * n for n in range(1, 6)]
        assert sent[y, x] == 1 + int(np.argmin(costs))
    assert (adaptive.counts(curves, 10.0) == 1).all()


def test_a_smooth_part_sends_less_than_one_with_detail(make_coder):
    falls = np.array([0.5, 0.25, 0.125, 0.0625])[:, None, None]
    curves = np.concatenate([0.1 * falls, falls], axis=2)
    assert adaptive.counts(curves, 0.05).tolist() == [[1, 4]]


@pytest.mark.parametrize("learned", [False, True])
def test_an_adaptive_file_decodes_to_what_encoding_showed(weights, weights_path, photo, curves, make_learned, learned):
    bit_model = make_learned(weights.fingerprint) if learned else Counts()
    sent = adaptive.counts(curves, 0.003)
    progression = Progression(weights, photo, bit_model, sent)
    shown = [decoded.photo for _, decoded in progression.run(16)]
    file = bitstream.parse(progression.file(len(progression)))
    assert file.header.adaptive
    assert file.iterations == sent.max() > sent.min()
    codes = bitstream.decode(file, bit_model)
    assert np.array_equal(sum((plane != 0).all(axis=0) for plane in codes.planes), sent)
    for ours, theirs in zip(codec.decode(weights.model, codes), shown, strict=True):
        assert np.array_equal(ours, theirs)
    if not learned:
        assert np.array_equal([*decode(file, file.iterations, str(weights_path))][-1], shown[-1])


def test_it_takes_fewer_bytes_than_the_whole_planes(weights, photo, curves):
    sent = adaptive.counts(curves, 0.003)
    sizes = []
    for each in (sent, None):
        progression = Progression(weights, photo, Counts(), each)
        sizes += [decoded.size_bytes for _, decoded in islice(progression.run(int(sent.max())), int(sent.max()))][-1:]
    share = sent.mean() / sent.max()
    assert sizes[0] < (share + 0.1) * sizes[1]


@pytest.fixture(scope="module")
def ladder(weights, photo):
    """Bytes of raw adaptive files at a few slopes."""
    curves = np.stack(list(adaptive.unlikeness(weights.model, photo, 6)))
    found = []
    for slope in adaptive.SLOPES[::40]:
        sent = adaptive.counts(curves, slope)
        *_, (_, last) = Progression(weights, photo, None, sent).run(int(sent.max()))
        found.append(last.size_bytes)
    return found


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_the_file_that_fits_is_within_the_limit_and_near_it(weights, photo, ladder, share):
    limit = min(ladder) + share * (max(ladder) - min(ladder))
    calls = []
    found = adaptive.fitting(
        weights, photo, limit, None, iterations=6, progress=lambda steps, total: calls.append(total) or steps
    )
    assert 0.97 * limit < len(found.file(len(found))) <= limit
    assert calls[0] == 6
    assert len(calls) <= 1 + adaptive.TRIES


def test_what_is_too_little_for_any_file_and_what_is_enough_for_all(weights, photo, ladder):
    for limit in (1, min(ladder) - 1, min(ladder)):
        least = adaptive.fitting(weights, photo, limit, None, iterations=6)
        assert least.counts.max() == 1
        assert len(least.file(len(least))) == min(ladder)
    largest = adaptive.fitting(weights, photo, 10**6, None, iterations=6)
    assert len(largest.file(len(largest))) == max(ladder)


@pytest.mark.parametrize("tries", [1, 2])
def test_the_last_try_is_the_surest(weights, photo, ladder, monkeypatch, tries):
    """The headers and flags that no forecast counts lead the first tries beyond the limit."""
    monkeypatch.setattr(adaptive, "TRIES", tries)
    for limit in range(min(ladder), max(ladder), (max(ladder) - min(ladder)) // 5):
        found = adaptive.fitting(weights, photo, limit, None, iterations=6)
        assert len(found.file(len(found))) <= limit


def test_the_slope_is_found_as_soon_as_all_but_a_hundredth_of_the_bytes_is_used(weights, photo, monkeypatch):
    """Files take 0.98 of the bits that are sent, so the first try leaves 2 % of the limit and the second hardly any."""
    curves = 0.5 ** np.arange(16)[:, None, None] * np.geomspace(0.1, 1.0, 1600).reshape(40, 40)
    tried = []

    class Found(dict):
        def __init__(self, weights, photo, bit_model, sent, search):
            tried.append(0.98 * sent.sum() * weights.model.config.bits / 8)
            self[1] = SimpleNamespace(size_bytes=tried[-1])

        def run(self, iterations):
            return iter(())

    monkeypatch.setattr(adaptive, "unlikeness", lambda *given: iter(curves))
    monkeypatch.setattr(adaptive, "Progression", Found)
    found = adaptive.fitting(weights, photo, 40_000)
    assert tried == [pytest.approx(0.98 * 40_000, rel=0.005), pytest.approx(0.995 * 40_000, rel=0.005)]
    assert found[1].size_bytes == tried[1]


@pytest.mark.parametrize(("limit", "steps"), [(min, 4), (max, 0)], ids=["large slope", "small slope"])
def test_better_bits_are_searched_for_where_the_slope_is_large(weights, photo, ladder, monkeypatch, limit, steps):
    asked = []

    def listening(weights, photo, bit_model, counts, search):
        asked.append(search)
        return Progression(weights, photo, bit_model, counts)

    monkeypatch.setattr(adaptive, "Progression", listening)
    assert adaptive.fitting(weights, photo, limit(ladder), None, iterations=6, search=4)
    assert asked[-1] == steps


@pytest.mark.parametrize("wanted", [0.9, 0.95])
def test_the_file_that_reaches_a_quality_reaches_it_and_is_not_much_better(weights, photo, wanted):
    found = adaptive.reaching(weights, photo, wanted, iterations=6)
    codes = bitstream.decode(bitstream.parse(found.file(len(found))), found.bit_model)
    assert wanted <= metrics.ms_ssim(photo, [*codec.decode(weights.model, codes)][-1]) < wanted + 0.1 * (1 - wanted)
    best = adaptive.reaching(weights, photo, 0.9999, iterations=2)
    *_, (_, all_bits) = Progression(weights, photo).run(2)
    assert 0.95 * all_bits.ms_ssim < best[len(best)].ms_ssim < 0.9999
    plain = Progression(weights, photo)
    size = next(decoded.size_bytes for _, decoded in plain.run(6) if decoded.ms_ssim >= wanted)
    assert len(found.file(len(found))) < 0.95 * size


def test_where_predictions_are_off_a_line_between_two_tries_finds_the_slope(sample, monkeypatch):
    """Of this photo the forecasts lead to one side and the other in turn: putting them right alone takes all tries."""
    runs = []
    run = Progression.run
    monkeypatch.setattr(Progression, "run", lambda progression, n: runs.append(n) or run(progression, n))
    monkeypatch.setenv(machine.BF16_VARIABLE, "0")
    progression = adaptive.reaching(model.load("best-3"), sample("chelsea", 176, 176), 0.98, iterations=10)
    reached = progression[len(progression)].ms_ssim
    assert 0.98 <= reached < 0.98 + 0.02 * adaptive.NEAR
    assert len(runs) < adaptive.TRIES


def test_a_photo_too_small_for_ms_ssim_is_refused_before_the_work(weights, photo, monkeypatch):
    monkeypatch.setattr(metrics, "ms_ssim", lambda a, b: pytest.fail("its size was enough to know"))
    monkeypatch.setattr(adaptive, "unlikeness", lambda *_: pytest.fail("this is the work"))
    with pytest.raises(metrics.MetricError, match="sides of 161 px"):
        adaptive.reaching(weights, photo[:100], 0.9)
