"""The fused cells: the numbers of the taught ones, gradients too; what else a model is stays shared and unchanged."""

from dataclasses import replace
from itertools import islice

import pytest
import torch

from rgru_lab import codec
from rgru_lab.cells import CELLS, ResidualGRUCell
from rgru_lab.config import preset
from rgru_lab.fused import FusedResidualGRUCell, fused


@pytest.mark.parametrize(("stride", "hidden_kernel"), [(1, 1), (2, 1), (1, 3)])
def test_a_fused_cell_computes_what_the_taught_one_does(stride, hidden_kernel):
    torch.manual_seed(3)
    cell = ResidualGRUCell(3, 5, stride=stride, hidden_kernel=hidden_kernel, alpha_h=0.7, alpha_x=0.4).double()
    ours = FusedResidualGRUCell(cell, torch.float64)
    assert ours.together == (hidden_kernel == 3)
    state = fused_state = None
    for _ in range(4):
        x = torch.randn(2, 3, 8, 6, dtype=torch.float64, requires_grad=True)
        output, state = cell(x, state)
        (gradient,) = torch.autograd.grad(output.square().sum(), x, retain_graph=True)
        fused_output, fused_state = ours(x, fused_state)
        (fused_gradient,) = torch.autograd.grad(fused_output.square().sum(), x, retain_graph=True)
        torch.testing.assert_close(fused_output, output, rtol=0, atol=1e-12)
        torch.testing.assert_close(fused_state, state, rtol=0, atol=1e-12)
        torch.testing.assert_close(fused_gradient, gradient, rtol=0, atol=1e-12)


def test_a_fused_model_has_no_taught_cell_and_leaves_the_model_as_it_was(make_coder):
    coder = make_coder(preset("micro"))
    before = {name: value.clone() for name, value in coder.state_dict().items()}
    modules = {name: type(module) for name, module in coder.named_modules()}
    quick = fused(coder, torch.bfloat16)
    assert sum(isinstance(module, FusedResidualGRUCell) for module in quick.modules()) == 7
    assert not any(isinstance(module, ResidualGRUCell) for module in quick.modules())
    assert {value.dtype for value in quick.decoder.cell1.buffers()} == {torch.bfloat16}
    with torch.no_grad():
        quick.decoder.cell1.W.zero_()
        quick.decoder.cell1.W_h.zero_()
    assert {name: type(module) for name, module in coder.named_modules()} == modules
    assert all(torch.equal(value, before[name]) for name, value in coder.state_dict().items())


def test_a_fused_model_shares_all_other_weights(make_coder):
    coder = make_coder(preset("micro"))
    quick = fused(coder)
    theirs = {name: value.data_ptr() for name, value in coder.named_parameters() if ".cell" not in name}
    assert {name: value.data_ptr() for name, value in quick.named_parameters()} == theirs
    assert quick.config == coder.config


@pytest.mark.parametrize("kind", [kind for kind in CELLS if kind != "residual-gru"])
def test_other_cells_stay_what_they_are(make_coder, kind):
    coder = make_coder(replace(preset("micro"), cell=kind))
    x = torch.rand(1, 3, 32, 48) - 0.5
    with torch.inference_mode():
        for ours, theirs in islice(zip(codec.unroll(fused(coder), x), codec.unroll(coder, x), strict=True), 2):
            assert torch.equal(ours.picture, theirs.picture)


def test_compressing_and_decompressing_use_fused_cells(make_coder, noise, monkeypatch):
    coder = make_coder(preset("micro"))
    monkeypatch.setattr(ResidualGRUCell, "forward", lambda *_: pytest.fail("a taught cell was called"))
    planes, frames = zip(*codec.encode(coder, noise(32, 48), 2), strict=True)
    assert len(list(codec.decode(coder, codec.Codes(32, 48, planes)))) == len(frames) == 2
