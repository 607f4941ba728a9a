"""The Residual GRU is held to its equations, to torch's own GRU where the two agree, and to closed forms."""

from math import exp, tanh

import numpy as np
import pytest
import torch

from rgru_lab.cells import ResidualGRUCell


def _sigmoid(value):
    return 1 / (1 + exp(-value))


def _convolve(x, weight, bias, stride):
    """x (C, H, W) by weight (O, C, k, k), zeros around x, one multiplication at a time."""
    outputs, channels, kernel, _ = weight.shape
    height, width = x.shape[1:]
    y = np.zeros((outputs, -(-height // stride), -(-width // stride)))
    for o, i, j in np.ndindex(y.shape):
        y[o, i, j] = bias[o]
        for c, a, b in np.ndindex(channels, kernel, kernel):
            row, column = stride * i + a - kernel // 2, stride * j + b - kernel // 2
            if 0 <= row < height and 0 <= column < width:
                y[o, i, j] += weight[o, c, a, b] * x[c, row, column]
    return y


def _by_hand(cell, stride, x, h):
    """(o, h') of one picture x (C, H, W) by the paper's equations, value by value."""
    n = cell.channels
    W, b, U_gates, U, W_h, W_ox = (
        p.detach().numpy()
        for p in (cell.W.weight, cell.W.bias, cell.U_gates.weight, cell.U.weight, cell.W_h.weight, cell.W_ox.weight)
    )
    none = np.zeros(n)
    Wz_x, Wr_x, W_x = (_convolve(x, W[k * n : (k + 1) * n], b[k * n : (k + 1) * n], stride) for k in range(3))
    h = np.zeros_like(W_x) if h is None else h
    Uz_h, Ur_h = (_convolve(h, U_gates[k * n : (k + 1) * n], none, 1) for k in range(2))
    r_h = np.zeros_like(h)
    for at in np.ndindex(h.shape):
        r_h[at] = _sigmoid(Wr_x[at] + Ur_h[at]) * h[at]
    U_rh, Wh_h, Wox_x = _convolve(r_h, U, none, 1), _convolve(h, W_h, none, 1), _convolve(x, W_ox, none, stride)
    memory, output = np.zeros_like(h), np.zeros_like(h)
    for at in np.ndindex(h.shape):
        z = _sigmoid(Wz_x[at] + Uz_h[at])
        memory[at] = (1 - z) * h[at] + z * tanh(W_x[at] + U_rh[at]) + cell.alpha_h * Wh_h[at]
        output[at] = memory[at] + cell.alpha_x * Wox_x[at]
    return output, memory


def _zeroed(cell):
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
    return cell


@pytest.mark.parametrize("given", [False, True], ids=["no memory", "memory"])
@pytest.mark.parametrize("hidden_kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_the_cell_computes_the_papers_equations(stride, hidden_kernel, given):
    torch.manual_seed(1)
    cell = ResidualGRUCell(2, 3, stride=stride, hidden_kernel=hidden_kernel, alpha_h=0.3, alpha_x=0.7).double()
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    h = torch.randn(2, 3, -(-5 // stride), 4 // stride, dtype=torch.float64) if given else None
    with torch.no_grad():
        output, memory = cell(x, h)
    for k in range(2):
        expected = _by_hand(cell, stride, x[k].numpy(), h[k].numpy() if given else None)
        np.testing.assert_allclose(output[k], expected[0], rtol=0, atol=1e-12)
        np.testing.assert_allclose(memory[k], expected[1], rtol=0, atol=1e-12)


def test_at_one_pixel_the_cell_is_torchs_gru_where_the_two_agree():
    """torch applies r after U, so U is diagonal here; its z is 1 - z of the paper, so z's weights change sign."""
    torch.manual_seed(2)
    n = 4
    gru = torch.nn.GRUCell(3, n).double()
    cell = ResidualGRUCell(3, n, alpha_h=0, alpha_x=0).double()
    with torch.no_grad():
        gru.bias_hh.zero_()
        gru.weight_hh[2 * n :] = torch.diag(torch.randn(n, dtype=torch.float64))
        (W_r, W_z, W), (b_r, b_z, b), (U_r, U_z, U) = (p.chunk(3) for p in (gru.weight_ih, gru.bias_ih, gru.weight_hh))
        cell.W.weight[:, :, 1, 1] = torch.cat([-W_z, W_r, W])
        cell.W.bias.copy_(torch.cat([-b_z, b_r, b]))
        cell.U_gates.weight[:, :, 0, 0] = torch.cat([-U_z, U_r])
        cell.U.weight[:, :, 0, 0] = U
        x, h = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, n, dtype=torch.float64)
        output, memory = cell(x[:, :, None, None], h[:, :, None, None])
        torch.testing.assert_close(memory[:, :, 0, 0], gru(x, h), rtol=0, atol=1e-12)
    assert torch.equal(output, memory)


def test_without_weights_half_of_the_memory_stays():
    cell = _zeroed(ResidualGRUCell(2, 3))
    h = torch.randn(1, 3, 4, 4)
    output, memory = cell(torch.randn(1, 2, 4, 4), h)
    assert torch.equal(memory, h / 2)
    assert torch.equal(output, h / 2)


def test_a_shut_update_gate_keeps_the_memory_exactly():
    torch.manual_seed(3)
    cell = ResidualGRUCell(2, 3, alpha_h=0)
    with torch.no_grad():
        cell.W.bias[:3] = -1000
    h = torch.randn(1, 3, 4, 4)
    assert torch.equal(cell(torch.randn(1, 2, 4, 4), h)[1], h)


def test_an_open_update_gate_replaces_the_memory_by_the_candidate():
    cell = _zeroed(ResidualGRUCell(2, 3))
    with torch.no_grad():
        cell.W.bias[:3] = 1000  # z
        cell.W.bias[6:] = torch.tensor([-0.5, 0.0, 2.0])  # the candidate
    _, memory = cell(torch.randn(1, 2, 4, 4), torch.randn(1, 3, 4, 4))
    expected = torch.tanh(torch.tensor([-0.5, 0.0, 2.0]))
    torch.testing.assert_close(memory, expected[None, :, None, None].expand(1, 3, 4, 4), rtol=0, atol=1e-7)


def test_a_shut_reset_gate_hides_the_memory_from_the_candidate():
    cell = _zeroed(ResidualGRUCell(1, 2))
    with torch.no_grad():
        cell.U.weight.fill_(1)
        cell.W.bias[2:4] = -1000  # r
    h = torch.randn(1, 2, 3, 3)
    assert torch.equal(cell(torch.randn(1, 1, 3, 3), h)[1], h / 2)


def test_alpha_h_leads_from_the_old_memory_to_the_new_one():
    cell = _zeroed(ResidualGRUCell(1, 1, alpha_h=0.5, alpha_x=0.25))
    with torch.no_grad():
        cell.W_h.weight.fill_(3)
    h = torch.randn(1, 1, 3, 3)
    torch.testing.assert_close(cell(torch.randn(1, 1, 3, 3), h)[1], h / 2 + 0.5 * 3 * h)


def test_alpha_x_leads_from_the_input_past_the_memory_to_the_output():
    cell = _zeroed(ResidualGRUCell(2, 1, stride=2, alpha_h=0.5, alpha_x=0.25))
    with torch.no_grad():
        cell.W_ox.weight[0, :, 0, 0] = torch.tensor([2.0, -4.0])
    x = torch.randn(1, 2, 6, 4)
    output, memory = cell(x)
    assert torch.equal(memory, torch.zeros(1, 1, 3, 2))
    torch.testing.assert_close(output[:, 0], 0.5 * x[:, 0, ::2, ::2] - x[:, 1, ::2, ::2])
