"""The encoder's search for better bits: what it improves, what it leaves alone, and that any decoder reads it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rgru_lab import bitfloats, bitstream, bittraining, codec, images, losses, machine, model, progression, search
from rgru_lab.bitmodel import Counts
from rgru_lab.config import RECONSTRUCTIONS, InputError, preset
from rgru_lab.progression import Progression


@pytest.fixture(scope="module")
def photo(sample):
    return sample("coffee", 170, 180)


def _first(weights, photo, searching):
    """B[1] and log D of P[1], as `searching` makes them."""
    plane, _ = next(codec.encode(searching or weights.model, photo, 1))
    x = images.pad_to_grid(images.to_tensor(photo)) - 0.5
    with torch.no_grad():
        picture = weights.model.decode(torch.from_numpy(plane)[None].float())[0]
        return plane, float(torch.log(1 - _likeness(x, picture)))


def _likeness(x, picture):
    """MS-SSIM, the mean of the grid's two places."""
    moved = [torch.cat([each, each[:, :, -1:]], 2)[:, :, 1:] for each in (x, picture)]
    moved = [torch.cat([each, each[:, :, :, -1:]], 3)[:, :, :, 1:] for each in moved]
    return (losses.Similarity(x).ms_ssim(picture) + losses.Similarity(moved[0]).ms_ssim(moved[1])) / 2


@pytest.mark.parametrize("trained", [False, True], ids=["random weights", "trained"])
def test_more_steps_find_bits_whose_picture_is_more_like_the_original(weights, photo, trained, monkeypatch):
    if trained:
        weights = model.load()
    else:  # all its y are near 0
        monkeypatch.setattr(search, "STEP", 0.01)
    found = [_first(weights, photo, steps and search.Searching(weights.model, steps)) for steps in (0, 3, 12)]
    unlike = [each for _, each in found]
    assert unlike[0] > unlike[1] > unlike[2]
    changed = (found[0][0] != found[2][0]).mean()
    assert 0 < changed < 0.2  # only bits that stood on the edge


def test_steps_that_lead_astray_leave_the_best_bits_so_far(photo, monkeypatch):
    """Steps so long that nearly every bit turns: the encoder's first idea is better than all that is tried."""
    monkeypatch.setattr(search, "STEP", 50.0)
    weights = model.load()
    (plain, unlike), (sent, found) = (
        _first(weights, photo, steps and search.Searching(weights.model, steps)) for steps in (0, 2)
    )
    assert found <= unlike
    assert (sent != plain).mean() < 0.2


def test_only_bits_turn_that_stood_on_the_edge(photo):
    weights, heard, steps = model.load(), [], 12
    handle = weights.model.binarizer.conv.register_forward_hook(lambda conv, features, sums: heard.append(sums))
    plain, _ = _first(weights, photo, 0)
    handle.remove()
    changed = plain != _first(weights, photo, search.Searching(weights.model, steps))[0]
    way = sum(search.STEP * (1 - step / (steps + 1)) for step in range(steps))  # of y, step by step no further
    far = torch.tanh(heard[0].float())[0].abs().numpy() > way
    assert changed.any()
    assert far.mean() > 0.2
    assert not changed[far].any()


def test_a_model_of_the_bits_has_its_say(weights, photo, make_learned, monkeypatch):
    learned = make_learned(weights.fingerprint)

    def found(bit_model):
        plane, unlike = _first(weights, photo, search.Searching(weights.model, 12, bit_model))
        rate = bittraining.bits_per_bit(learned, [plane[None]])[0]
        return rate, unlike

    (free_rate, free_unlike), (rate, _) = found(Counts()), found(learned)
    assert rate < free_rate
    monkeypatch.setattr(search, "RATE", 1e6)
    assert found(learned)[0] < rate
    assert found(learned)[1] > free_unlike


def test_a_shift_of_the_whole_picture_has_its_price(photo, monkeypatch):
    weights = model.load()

    def shift():
        _, picture = next(codec.encode(search.Searching(weights.model, 12), photo, 1))
        return np.abs((photo.astype(float) - picture).mean((0, 1))).mean()  # in 8-bit levels

    assert shift() < 1
    monkeypatch.setattr(search, "COLOUR", 0.0)
    assert shift() > 1


@pytest.mark.parametrize("iteration", [1, 2, 4])
def test_the_network_in_floating_point_expects_what_the_file_takes(make_learned, small_planes, iteration):
    learned = make_learned()
    planes = np.stack(small_planes(iteration, 32, 9, 7))
    with torch.no_grad():
        expected = bitfloats.network(learned)(torch.from_numpy(planes[-3:]).float()[None], iteration)
    assert float(expected) == pytest.approx(bittraining.bits_per_bit(learned, [planes])[-1], rel=2e-3)


@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
def test_what_is_looked_at_is_the_picture_that_follows(make_coder, photo, reconstruction, monkeypatch):
    coder = make_coder(replace(preset("micro"), reconstruction=reconstruction)).eval()
    likeness, seen = losses.Similarity.ms_ssim, []
    monkeypatch.setattr(
        losses.Similarity, "ms_ssim", lambda self, picture: seen.append(likeness(self, picture)) or seen[-1]
    )
    x = images.pad_to_grid(images.to_tensor(photo)) - 0.5
    with torch.inference_mode():
        for steps, step in zip((4, 3, 3, 2), codec.unroll(search.Searching(coder, 4), x), strict=False):
            assert len(seen) == 1 + steps  # steps / √i, rounded up, and what the last one led to
            most = max(map(float, seen))
            assert float(_likeness(x, step.picture)) == pytest.approx(most, abs=1e-6)
            seen.clear()


def test_a_file_decodes_to_what_the_search_ended_with(weights, weights_path, photo, make_learned):
    counts = np.random.default_rng(0).integers(1, 4, images.grid_size(*photo.shape[:2]))
    for sent in (None, counts):
        found = Progression(weights, photo, None, sent, search=2)
        *_, (_, decoded) = found.run(3)
        file = bitstream.parse(found.file(3))
        *_, frame = progression.decode(file, 3, weights_path)
        assert np.array_equal(frame, decoded.photo)
        planes = bitstream.decode(file).planes
        assert all((plane.any(axis=0) == (counts >= i)).all() for i, plane in enumerate(planes, 1) if sent is not None)
        plain = Progression(weights, photo, None, sent)
        for _ in plain.run(3):
            pass
        assert plain.file(3) != found.file(3)


def test_the_same_search_finds_the_same_bits(weights, photo, make_learned):
    searching = search.Searching(weights.model, 3, make_learned(weights.fingerprint))
    first, again = ([plane for plane, _ in codec.encode(searching, photo, 2)] for _ in "ab")
    assert np.array_equal(first, again)


def test_a_position_that_goes_on_keeps_the_bits_of_the_network(weights, photo):
    """Of those that send three iterations the last may turn; those that send two or one are searched in each."""
    shape = images.grid_size(*photo.shape[:2])
    counts = np.where(np.arange(shape[1]) < 6, 3, 1) * np.ones(shape, int)
    plain, searched = (
        [plane for plane, _ in codec.encode(sending, photo, 3, counts)]
        for sending in (weights.model, search.Searching(weights.model, 8, counts=counts))
    )
    turned = [(a != b).any(0) for a, b in zip(plain, searched, strict=True)]
    assert not turned[0][:, :6].any()
    assert turned[0][:, 6:].any()
    assert turned[2][:, :6].any()
    few = search.Searching(weights.model, 8, counts=np.full(shape, 2))
    first = next(codec.encode(few, photo, 2, np.full(shape, 2)))[0]
    assert (first != plain[0]).any(0)[:, :6].any()


@pytest.mark.parametrize(
    ("stopping", "looks"), [(132, 11), (33, 6), (1, 2), (0, 0)], ids=["all", "a quarter", "one of 132", "none"]
)
def test_fewer_positions_are_searched_in_fewer_steps(weights, photo, monkeypatch, stopping, looks):
    """√(s / 3) of 16 steps, rounded up, and a look at what the last one led to."""
    counts = np.full(images.grid_size(*photo.shape[:2]), 4)
    counts.flat[:stopping] = 3
    likeness, seen = losses.Similarity.ms_ssim, []
    monkeypatch.setattr(losses.Similarity, "ms_ssim", lambda *each: seen.append(each) or likeness(*each))
    list(codec.encode(search.Searching(weights.model, 16, counts=counts), photo, 3, counts))
    assert len(seen) == looks
    monkeypatch.setattr(search, "TOO_FEW", 0.01)  # more than one of 132
    seen.clear()
    list(codec.encode(search.Searching(weights.model, 16, counts=counts), photo, 3, counts))
    assert len(seen) == (looks if stopping > 1 else 0)


def test_what_is_not_searched_still_counts_in_the_bits_so_far(weights, photo, make_learned, monkeypatch):
    """The more bits there are, the less a few more of them weigh: where B[1] and B[2] cost nothing, B[3] takes less."""
    learned = make_learned(weights.fingerprint)
    counts = np.full(images.grid_size(*photo.shape[:2]), 3)

    def third(price):
        net, rates = bitfloats.network(learned), []

        def priced(net, given, rate):
            rates.append(rate.item())
            return rate * price if given[1] < 3 else rate

        net.register_forward_hook(priced)
        monkeypatch.setattr(search, "network", lambda bit_model: net)
        searching = search.Searching(weights.model, 6, learned, counts)
        planes = np.stack([plane for plane, _ in codec.encode(searching, photo, 3, counts)])
        expected = bittraining.bits_per_bit(learned, [planes])
        assert rates[:2] == pytest.approx(expected[:2], rel=2e-3)
        return expected[2]

    assert third(0) < third(1)


def test_a_search_forgets_its_photo_for_the_next_one(weights, photo, sample):
    searching, other = search.Searching(weights.model, 4), sample("chelsea", 170, 180)
    ours, theirs = (_first(weights, each, search.Searching(weights.model, 4))[0] for each in (photo, other))
    for picture, plane in ((photo, ours), (other, theirs), (photo, ours)):
        assert np.array_equal(_first(weights, picture, searching)[0], plane)


def test_bits_that_are_fixed_in_a_smaller_first_step_stay_so(make_coder, photo):
    coder = make_coder(replace(preset("micro"), first_bits=8)).eval()
    (first, _), (second, _) = codec.encode(search.Searching(coder, 4), photo, 2)
    plain = next(codec.encode(coder, photo, 1))[0]
    assert (first[8:] == 1).all()
    assert (first[:8] != plain[:8]).any()
    assert (second[8:] == -1).any()


def test_the_weights_are_left_as_they_were_and_nothing_is_learned(weights, photo):
    before = {name: value.clone() for name, value in weights.model.state_dict().items()}
    _first(weights, photo, search.Searching(weights.model, 2))
    assert all(torch.equal(value, before[name]) for name, value in weights.model.state_dict().items())
    assert all(value.grad is None for value in weights.model.parameters())
    assert not weights.model.binarizer.conv._forward_hooks


@pytest.mark.parametrize("steps", [-1, 1001])
def test_steps_out_of_range_are_refused(weights, photo, steps):
    with pytest.raises(InputError, match=f"the search is to have {steps} steps; choose 1 to 1000"):
        Progression(weights, photo, search=steps)


def test_what_a_search_takes_in_memory_is_asked_for_beforehand(weights, photo, monkeypatch):
    monkeypatch.setattr(machine, "free_bytes", lambda: 2 * machine.memory_bytes(weights.model.config, *photo.shape[:2]))
    codec.encode(weights.model, photo, 1)
    with pytest.raises(InputError, match="are free"):
        codec.encode(search.Searching(weights.model, 1), photo, 1)
