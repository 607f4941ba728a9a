"""The network in floating point says what the whole numbers say, and its recipe is checked."""

import numpy as np
import pytest
import torch

from rgru_lab import bitfloats, bittraining
from rgru_lab.bitmodel import ONE
from rgru_lab.bitnet import Learned
from rgru_lab.config import InputError


def test_what_is_not_sent_counts_as_unknown(make_net, smooth):
    """The floating-point model says what the whole numbers say, and unsent bits cost nothing."""
    net = make_net()
    learned = Learned(bitfloats.integers(net), bytes(8), {})
    planes = smooth(3, (32, 6, 7))
    sent = np.random.default_rng(0).random((6, 7)) < 0.5
    planes[1:] *= sent
    cost = 0.0
    flat = planes[-1].ravel() > 0

    def tell(where, probabilities):
        nonlocal cost
        told = flat[where]
        cost -= np.log2(np.where(told, probabilities, ONE - probabilities) / ONE).sum()
        return told.astype(np.int32)

    learned.walk(planes[:2], (32, 6, 7), tell, sent)
    with torch.no_grad():
        needed = float(net(torch.from_numpy(planes)[None].float(), 3))
    assert needed == pytest.approx(cost / (32 * sent.sum()), rel=1e-3)


@pytest.mark.parametrize("i", [1, 2, 3, 16])
def test_what_training_measures_is_what_the_integers_need(make_net, i, smooth):
    net = make_net()
    learned = Learned(bitfloats.integers(net), bytes(8), {})
    planes = smooth(i, (32, 7, 9))
    with torch.no_grad():
        needed = net(torch.from_numpy(planes[max(0, i - 3) :])[None].float(), i).item()
    assert bittraining.bits_per_bit(learned, [planes])[i - 1] == pytest.approx(needed, rel=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"learning_rate": float("inf")}, "learning_rate is inf; give a finite"),
        ({"hidden": 2.5}, "hidden is 2.5; give a whole"),
    ],
)
def test_a_recipe_for_bits_holds_finite_and_whole_numbers(changes, said):
    with pytest.raises(InputError, match=said):
        bitfloats.BitTrainConfig(**changes)


@pytest.mark.parametrize(
    ("field", "value"), [("ema", 1.0), ("ema", -0.1), ("seed", 2**63), ("seed", -1), ("groups", 0), ("adaptive", 1.5)]
)
def test_a_recipe_out_of_range_is_refused_and_named(field, value):
    with pytest.raises(InputError, match=f"{field} is {value}"):
        bitfloats.BitTrainConfig(**{field: value})
