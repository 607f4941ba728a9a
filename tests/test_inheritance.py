"""Weights out of other weights: a model that grows or shrinks, and the mean of several."""

import math
from dataclasses import replace
from itertools import islice

import pytest
import torch

from rgru_lab.codec import unroll
from rgru_lab.config import ModelConfig, preset
from rgru_lab.inheritance import mean, take_over
from rgru_lab.model import WeightsError
from tests.teachers import TINY, same

# A model of another size

GROWN = ModelConfig(encoder=(10, 12, 8, 16), decoder=(5, 12, 8, 16, 12), bits=4, alpha_x=1.0)


@pytest.mark.parametrize("reconstruction", ["one-shot", "residual-scaled"])
@pytest.mark.parametrize("cell", ["residual-gru", "gru", "lstm"])
def test_a_grown_model_computes_what_the_small_one_computed(make_coder, cell, reconstruction):
    kind = {"cell": cell, "reconstruction": reconstruction}
    small, large = make_coder(replace(TINY, **kind), seed=1), make_coder(replace(GROWN, **kind), seed=2)
    x = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(3)) - 0.5

    def run(coder):
        with torch.no_grad():
            return list(islice(unroll(coder, x), 3))

    before, expected = run(large), run(small)
    take_over(small, large)
    for own, other, step in zip(run(large), before, expected, strict=True):
        assert torch.equal(own.bits, step.bits)
        torch.testing.assert_close(own.picture, step.picture, rtol=0, atol=1e-5)
        assert not torch.equal(other.picture, own.picture)


def test_a_grown_model_can_use_all_that_it_has_more(make_coder):
    """Its new channels are not zero, they read the old ones, and within two steps every weight moves."""
    small, large = make_coder(TINY, seed=1), make_coder(GROWN, seed=2)
    take_over(small, large)
    new = large.state_dict()["encoder.cell1.W.weight"].view(3, 12, 10, 3, 3)
    assert torch.equal(new[:, :8, :8], small.state_dict()["encoder.cell1.W.weight"].view(3, 8, 8, 3, 3))
    assert (new[:, :8, 8:] == 0).all()
    assert (new[:, 8:] != 0).all()
    optimiser = torch.optim.Adam(large.parameters(), lr=1e-3)
    before = {name: value.detach().clone() for name, value in large.named_parameters()}
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5
    for _ in range(3):
        optimiser.zero_grad()
        sum(step.residual.abs().mean() for step in islice(unroll(large, x), 2)).backward()
        optimiser.step()
    assert all((value != before[name]).float().mean() > 0.95 for name, value in large.named_parameters())


def test_the_kits_small_grows_into_its_base_from_any_memory_format(make_coder):
    small, base = make_coder(preset("small")).to(memory_format=torch.channels_last), make_coder(preset("base"), seed=2)
    take_over(small, base)
    with torch.no_grad():
        x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5
        ours, theirs = ([s.picture for s in islice(unroll(coder, x), 2)] for coder in (base, small))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_of_more_channels_the_first_stay_and_of_a_larger_hidden_kernel_the_sum(make_coder):
    """So a model into which another one grew gives it back, and on an even memory both kernels say the same."""
    small, large = make_coder(TINY, seed=1), make_coder(GROWN, seed=2)
    take_over(small, large)
    back = make_coder(TINY, seed=3)
    take_over(large, back)
    assert same(list(back.state_dict().values()), list(small.state_dict().values()))
    narrow, wide = (
        make_coder(replace(TINY, hidden_kernel=1), seed=4),
        make_coder(replace(TINY, hidden_kernel=3), seed=5),
    )
    take_over(small, narrow)
    cells = narrow.decoder.cell4, small.decoder.cell4
    even = torch.rand(1, small.config.decoder[4], 1, 1).expand(-1, -1, 8, 8)
    inside = [cell.U(even)[:, :, 1:-1, 1:-1] for cell in cells]
    torch.testing.assert_close(*inside)
    take_over(narrow, wide)  # which sees its middle only
    torch.testing.assert_close(wide.decoder.cell4.U(even), narrow.decoder.cell4.U(even))


@pytest.mark.parametrize("channels", [8, 12])
def test_an_associative_lstm_takes_its_own_shape_only(make_coder, channels):
    config = replace(TINY, cell="associative-lstm", decoder=(4, channels, channels, channels, channels))
    small, large = make_coder(config, seed=1), make_coder(config, seed=2)
    take_over(small, large)
    assert same(list(large.state_dict().values()), list(small.state_dict().values()))
    with pytest.raises(WeightsError, match="do not fit"):
        take_over(small, make_coder(replace(config, encoder=(8, 8, 8, 16))))


# The mean of several


def test_a_mean_of_weights_is_theirs_number_by_number_and_leaves_them_alone(make_coder):
    first, second = make_coder(seed=1), make_coder(seed=2)
    before = {key: value.clone() for key, value in first.state_dict().items()}
    averaged = mean([first, second], [3, 1])
    for key, value in averaged.state_dict().items():
        expected = 0.75 * before[key] + 0.25 * second.state_dict()[key]
        torch.testing.assert_close(value, expected, rtol=1e-6, atol=1e-8)
        assert torch.equal(first.state_dict()[key], before[key])


@pytest.mark.parametrize("shares", [[1.0], [0.5, 0.0], [0.5, -1.0], [1.0, math.inf], [1.0, math.nan], [1, 1, 1]])
def test_shares_that_make_no_mean_are_refused(make_coder, shares):
    with pytest.raises(WeightsError, match="give two or more, a share over 0 each"):
        mean([make_coder(), make_coder()], shares)


def test_weights_of_two_kinds_have_no_mean(make_coder):
    with pytest.raises(WeightsError, match="have no mean; give weights of one kind"):
        mean([make_coder(), make_coder(replace(preset("micro"), priming=1))], [1, 1])
