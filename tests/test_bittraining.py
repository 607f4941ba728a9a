"""Training of a model of the bits learns, stops before it breaks anything, and begins and goes on where it is told."""

import numpy as np
import pytest
import torch

from rgru_lab import bitfloats, bittraining
from rgru_lab.bitmodel import Counts
from rgru_lab.bitnet import Learned
from rgru_lab.commands.bits import TRAIN_BITS
from rgru_lab.config import TrainingError


@pytest.fixture(scope="module")
def learned(make_learned):
    return make_learned()


def test_training_learns_what_counting_cannot():
    """Each channel is a neighbour's bit times -1: no vote of its own channel tells it."""
    rng = np.random.default_rng(0)
    codes = []
    for _ in range(24):
        planes = rng.choice([-1, 1], (2, 32, 16, 16)).astype(np.int8)
        for channel in range(8, 32):
            planes[:, channel] = -planes[:, channel - 8]
        planes[1, :8] = planes[0, :8]
        codes.append(planes)
    config = bitfloats.BitTrainConfig(hidden=16, middle=8, batch=2, forget=0.0, learning_rate=0.03, ema=0.9)
    trainer = bittraining.BitTrainer(codes[:-4], config, steps=150)
    while not trainer.finished:
        trainer.step()
    learned = Learned(bitfloats.integers(trainer.averaged_net()), bytes(8), {})
    counts = bittraining.bits_per_bit(Counts(), codes[-4:])
    needed = bittraining.bits_per_bit(learned, codes[-4:])
    assert min(counts) > 0.99
    assert max(needed) < 0.8


def test_known_bits_are_forgotten_in_the_first_half_of_the_training_alone(monkeypatch, smooth):
    forget, shares = bitfloats.BitNet._forget, []

    def listening(net, known):
        kept = forget(net, known)
        shares.append(float((kept == 0).float().mean()))
        return kept

    monkeypatch.setattr(bitfloats.BitNet, "_forget", listening)
    config = bitfloats.BitTrainConfig(hidden=4, middle=4, batch=1, forget=0.3)
    trainer = bittraining.BitTrainer([smooth(1, (32, 8, 8))], config, steps=6)
    while not trainer.finished:
        trainer.step()
    assert shares == [*[pytest.approx(0.3, abs=0.05)] * 3, 0, 0, 0]


def test_a_training_of_bits_that_is_not_finite_stops_and_spares_the_average(smooth):
    config = bitfloats.BitTrainConfig(hidden=4, middle=4, batch=1)
    trainer = bittraining.BitTrainer([smooth(1, (32, 8, 8))], config, steps=6)
    trainer.step()
    with torch.no_grad():
        next(trainer.net.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingError, match=r"diverged at step 1 .*start anew with a learning rate under 0\.006"):
        trainer.step()
    assert all(value.isfinite().all() for value in trainer.average.values())


def test_the_time_is_shared_out_as_the_help_says():
    assert "Two fifths of the time make bits" in TRAIN_BITS
    assert "half of it trains" in TRAIN_BITS
    assert (bittraining.COLLECTING, bittraining.LEARNING) == (2 / 5, 1 / 2)


def test_training_begins_where_another_model_ended_number_for_number(learned, smooth):
    codes = [smooth(3, (32, 16, 16)) for _ in range(2)]
    config = bitfloats.BitTrainConfig(hidden=24, middle=12)
    trainer = bittraining.BitTrainer(codes, config, steps=1)
    trainer.start_from(learned)
    again = bitfloats.integers(trainer.averaged_net())
    assert set(again) == set(learned.tensors)
    assert all(np.array_equal(again[name], value) for name, value in learned.tensors.items())
    assert bittraining.papers(trainer, "none")["started_from"] == learned.fingerprint.hex()


@pytest.mark.parametrize(("groups", "theirs"), [(8, 8), (8, 4), (16, 4), (32, 8), (4, 1)])
def test_more_groups_begin_as_the_one_that_they_lie_in(make_learned, small_planes, groups, theirs):
    learned = make_learned(groups=theirs)
    net = bitfloats.BitNet(32, bitfloats.BitTrainConfig(groups=groups, hidden=24, middle=12))
    net.begin_with(learned)
    begun = Learned(bitfloats.integers(net), learned.codec, {})
    assert begun.groups == groups
    for i in (1, 2, 3, 7):  # a single position: what they know of it beside theirs begins at weight 0
        planes = small_planes(i, 32, 1, 1)
        assert bittraining.bits_per_bit(begun, [planes]) == pytest.approx(bittraining.bits_per_bit(learned, [planes]))
    last = [each.tensors[f"2.{each.groups - 1}.near"].reshape(25, 32, 24) for each in (begun, learned)]
    assert np.array_equal(*np.delete(last, 12, axis=1))  # around it the last one sees what theirs saw


def test_a_checkpoint_from_before_groups_could_be_chosen_goes_on(smooth):
    recipe = bitfloats.BitTrainConfig(**bitfloats.BEFORE)
    codes = [smooth(3, (32, 16, 16))]
    state = bittraining.BitTrainer(codes, recipe, steps=2).state_dict()
    state["config"] = {name: value for name, value in state["config"].items() if name not in ("groups", "adaptive")}
    trainer = bittraining.BitTrainer(codes, recipe, steps=2)
    trainer.load_state_dict(state)
    assert trainer.step().step == 1
    with pytest.raises(TrainingError, match="made with"):
        bittraining.BitTrainer(codes, bitfloats.BitTrainConfig(), steps=2).load_state_dict(state)


def test_a_model_of_other_sizes_is_no_beginning(learned, smooth):
    trainer = bittraining.BitTrainer([smooth(3, (32, 16, 16))], bitfloats.BitTrainConfig(hidden=5), steps=1)
    with pytest.raises(TrainingError, match="32 bits in 8 groups cannot begin one of 32 in 8 with 5 and 32 units"):
        trainer.start_from(learned)
    across = bittraining.BitTrainer([smooth(3, (32, 16, 16))], bitfloats.BitTrainConfig(6, 24, 12), steps=1)
    with pytest.raises(TrainingError, match="32 bits in 8 groups cannot begin one of 32 in 6 with 24 and 12 units"):
        across.start_from(learned)
