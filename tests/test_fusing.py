"""Fused formulas: on only where it is wanted, and the same numbers and gradients as step by step."""

import contextlib
from functools import partial

import pytest
import torch

from rgru_lab import cells, fusing, losses, training
from rgru_lab.config import TrainConfig, preset

FORMULAS = {cells._gates: (1, 1, 1, 1, 1), cells._replaced: (1,) * 4, cells._added: (1, 0.5, 1)} | {
    losses._compared: (1,) * 5
}


@pytest.fixture
def compiled(monkeypatch):
    """Stands for the compiler, and keeps what was compiled."""
    found = []
    monkeypatch.setattr(fusing.torch, "compile", lambda formula, **options: found.append(formula) or (lambda x: -x))
    return found


def test_a_formula_is_compiled_once_and_only_where_that_is_wanted(compiled):
    def formula(x):
        return x + 1

    fused = fusing.fusable(formula)
    assert fused(1) == 2
    with fusing.fusing(False):
        assert fused(1) == 2
    assert not compiled
    with contextlib.suppress(ZeroDivisionError), fusing.fusing():
        assert fused(1) == fused(1) == -1
        raise ZeroDivisionError
    assert fused(1) == 2
    assert compiled == [formula]


@pytest.mark.parametrize("formula", FORMULAS, ids=lambda formula: formula.__name__)
def test_what_is_compiled_gives_the_same_numbers_and_gradients_at_every_size(formula):
    together = torch.compile(formula.__wrapped__, dynamic=True, backend="aot_eager")
    for shape in ((2, 3, 4, 6), (1, 5, 8, 8)):
        torch.manual_seed(0)
        args = [torch.rand(shape, requires_grad=True) if arg == 1 else arg for arg in FORMULAS[formula]]
        for ours, theirs in zip(*(_with_gradients(f, args) for f in (together, formula)), strict=True):
            torch.testing.assert_close(ours, theirs)


def _with_gradients(formula, args):
    results = formula(*args)
    results = results if isinstance(results, tuple) else (results,)
    tensors = [arg for arg in args if torch.is_tensor(arg)]
    return *results, *torch.autograd.grad(sum(result.square().sum() for result in results), tensors)


@pytest.mark.parametrize("wanted", [False, True])
def test_a_trainer_fuses_where_it_was_asked_to_and_nothing_else_does(wanted, sample, monkeypatch):
    seen = set()
    formula = cells._gates.__wrapped__
    monkeypatch.setattr(cells, "_gates", lambda *args: seen.add(fusing._fused) or formula(*args))
    monkeypatch.setattr(losses, "_compared", losses._compared.__wrapped__)
    for name in ("_replaced", "_added"):
        monkeypatch.setattr(cells, name, getattr(cells, name).__wrapped__)
    recipe = TrainConfig(curriculum=((1, 2, 32, 2),), loss="ms-ssim", bf16=False)
    trainer = partial(training.Trainer, preset("micro"), recipe, [sample("chelsea", 64, 64)], steps=1)
    trainer(compile=wanted).step()
    assert seen == {wanted}
    assert not fusing._fused
