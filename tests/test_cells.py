"""Each cell is held to its equations, to torch's own where the two agree, and to closed forms."""

from math import exp, tanh

import numpy as np
import pytest
import torch

from rgru_lab.cells import CELLS, AssociativeLSTMCell, GRUCell, LSTMCell, LSTMState, ResidualGRUCell
from rgru_lab.config import CELL_NAMES, InputError

GRUS = pytest.mark.parametrize("Cell", [GRUCell, ResidualGRUCell])
ALL = pytest.mark.parametrize("Cell", CELLS.values(), ids=CELLS)


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


def _apply(conv, x, stride=1):
    """What a convolution of the cell makes of x (C, H, W)."""
    weight = conv.weight.detach().numpy()
    return _convolve(x, weight, np.zeros(len(weight)) if conv.bias is None else conv.bias.detach().numpy(), stride)


def _gru(cell, stride, x, h=None):
    """(o, h') of one picture x (C, H, W) by the equations, value by value."""
    Wz_x, Wr_x, W_x = np.split(_apply(cell.W, x, stride), 3)
    h = np.zeros_like(W_x) if h is None else h
    Uz_h, Ur_h = np.split(_apply(cell.U_gates, h), 2)
    r_h = np.zeros_like(h)
    for at in np.ndindex(h.shape):
        r_h[at] = _sigmoid(Wr_x[at] + Ur_h[at]) * h[at]
    U_rh = _apply(cell.U, r_h)
    memory = np.zeros_like(h)
    for at in np.ndindex(h.shape):
        z = _sigmoid(Wz_x[at] + Uz_h[at])
        memory[at] = (1 - z) * h[at] + z * tanh(W_x[at] + U_rh[at])
    return memory, memory


def _residual_gru(cell, stride, x, h=None):
    """(o, h')."""
    memory, _ = _gru(cell, stride, x, h)
    if h is not None:
        memory = memory + cell.alpha_h * _apply(cell.W_h, h)
    return memory + cell.alpha_x * _apply(cell.W_ox, x, stride), memory


def _lstm(cell, stride, x, h=None, c=None):
    """(o, h', c')."""
    W_x = _apply(cell.W, x, stride)
    h, c = (np.zeros_like(W_x[: cell.channels]) if v is None else v for v in (h, c))
    F, I, O, J = np.split(W_x + _apply(cell.U, h), 4)  # noqa: E741
    output, memory = np.zeros_like(c), np.zeros_like(c)
    for at in np.ndindex(c.shape):
        memory[at] = _sigmoid(F[at]) * c[at] + _sigmoid(I[at]) * tanh(J[at])
        output[at] = _sigmoid(O[at]) * tanh(memory[at])
    return output, output, memory


def _bnd(z):
    return z if abs(z) <= 1 else z / abs(z)


def _associative_lstm(cell, stride, x, h=None, c=None):
    """(o, h', c') with Python's complex numbers; c is (N, 2, n, H, W)."""
    n, copies = cell.channels // 2, cell.copies
    W_x = _apply(cell.W, x, stride)
    h = np.zeros((2 * n, *W_x.shape[1:])) if h is None else h
    c = np.zeros((copies, 2, n, *W_x.shape[1:])) if c is None else c
    parts = np.split(W_x + _apply(cell.U, h), 9)
    F, I, O = parts[:3]  # noqa: E741
    J, R_i, R_o = (parts[k] + 1j * parts[k + 1] for k in (3, 5, 7))
    old, new, output = c[:, 0] + 1j * c[:, 1], np.zeros_like(c[:, 0], complex), np.zeros_like(F, complex)
    for k, m, row, column in np.ndindex(old.shape):
        at, key = (m, row, column), ((m - k * n // copies) % n, row, column)  # r's channel that copy k has moved to m
        written = _bnd(R_i[key]) * _sigmoid(I[at]) * _bnd(J[at])
        new[k][at] = _sigmoid(F[at]) * old[k][at] + written
        output[at] += _sigmoid(O[at]) * _bnd(_bnd(R_o[key]) * new[k][at]) / copies
    output = np.concatenate([output.real, output.imag])
    return output, output, np.stack([new.real, new.imag], axis=1)


def _parts(state):
    """The tensors of a state."""
    return state if isinstance(state, LSTMState) else (state,)


BY_HAND = {"residual-gru": _residual_gru, "gru": _gru, "lstm": _lstm, "associative-lstm": _associative_lstm}


def _zeroed(cell):
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
    return cell


def test_the_cells_are_those_that_a_config_can_name():
    assert tuple(CELLS) == CELL_NAMES


@pytest.mark.parametrize("given", [False, True], ids=["no memory", "memory"])
@pytest.mark.parametrize("hidden_kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("name", "by_hand"), BY_HAND.items(), ids=BY_HAND)
def test_the_cell_computes_its_equations(name, by_hand, stride, hidden_kernel, given):
    torch.manual_seed(1)
    cell = CELLS[name](2, 6, stride=stride, hidden_kernel=hidden_kernel, alpha_h=0.3, alpha_x=0.7).double()
    cell.copies = 2  # the associative LSTM's; as many as pictures, so that a mix-up of the two would fit
    x = torch.randn(2, 2, 5, 4, dtype=torch.float64)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(3)  # complex numbers come to lie on both sides of the unit circle
        _, state = cell(torch.randn_like(x))
        output, after = cell(x, state if given else None)
    for k in range(2):
        memory = [v[k].numpy() for v in _parts(state)] if given else []
        got = [output[k], *(v[k] for v in _parts(after))]
        for value, expected in zip(got, by_hand(cell, stride, x[k].numpy(), *memory), strict=True):
            np.testing.assert_allclose(value, expected, rtol=0, atol=1e-12)


@ALL
def test_no_memory_is_a_memory_of_zeros(Cell):
    torch.manual_seed(2)
    cell, x = Cell(2, 4, stride=2), torch.randn(2, 2, 6, 4)
    with torch.no_grad():
        output, state = cell(x)
        zeros = LSTMState(*map(torch.zeros_like, state)) if isinstance(state, LSTMState) else torch.zeros_like(state)
        again, after = cell(x, zeros)
    assert output.shape == (2, 4, 3, 2)
    assert output.abs().min() > 0
    torch.testing.assert_close(again, output)
    for one, other in zip(_parts(after), _parts(state), strict=True):
        torch.testing.assert_close(one, other)


@ALL
def test_every_parameter_learns_once_there_is_a_memory(Cell):
    """And no gradient is NaN where a complex number is exactly 0, as the first memory is."""
    torch.manual_seed(2)
    cell, x = Cell(2, 4), torch.randn(1, 2, 3, 3)
    _, state = cell(x)
    cell(x, state)[0].sum().backward()
    for parameter in cell.parameters():
        assert parameter.grad.isfinite().all()
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("Cell", "blocks"),
    [(GRUCell, 3), (LSTMCell, 4), (AssociativeLSTMCell, 4.5)],
)
def test_a_cell_has_its_number_of_blocks_of_parameters(Cell, blocks):
    """Each of 3 x 3 x 6 input weights, a bias and 3 x 3 x 8 memory weights per channel."""
    cell = Cell(6, 8, hidden_kernel=3)
    assert sum(p.numel() for p in cell.parameters()) == blocks * 8 * (9 * 6 + 1 + 9 * 8)


@GRUS
def test_at_one_pixel_a_gru_is_torchs_where_the_two_agree(Cell):
    """torch applies r after U, so U is diagonal here; its z is 1 - z of the paper, so z's weights change sign."""
    torch.manual_seed(2)
    n = 4
    gru = torch.nn.GRUCell(3, n).double()
    cell = Cell(3, n, alpha_h=0, alpha_x=0).double()
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


@GRUS
def test_without_weights_half_of_the_memory_stays(Cell):
    cell = _zeroed(Cell(2, 3))
    h = torch.randn(1, 3, 4, 4)
    output, memory = cell(torch.randn(1, 2, 4, 4), h)
    assert torch.equal(memory, h / 2)
    assert torch.equal(output, h / 2)


@GRUS
def test_a_shut_update_gate_keeps_the_memory_exactly(Cell):
    torch.manual_seed(3)
    cell = Cell(2, 3, alpha_h=0)
    with torch.no_grad():
        cell.W.bias[:3] = -1000
    h = torch.randn(1, 3, 4, 4)
    assert torch.equal(cell(torch.randn(1, 2, 4, 4), h)[1], h)


@GRUS
def test_an_open_update_gate_replaces_the_memory_by_the_candidate(Cell):
    cell = _zeroed(Cell(2, 3))
    with torch.no_grad():
        cell.W.bias[:3] = 1000  # z
        cell.W.bias[6:] = torch.tensor([-0.5, 0.0, 2.0])  # the candidate
    _, memory = cell(torch.randn(1, 2, 4, 4), torch.randn(1, 3, 4, 4))
    expected = torch.tanh(torch.tensor([-0.5, 0.0, 2.0]))
    torch.testing.assert_close(memory, expected[None, :, None, None].expand(1, 3, 4, 4), rtol=0, atol=1e-7)


@GRUS
def test_a_shut_reset_gate_hides_the_memory_from_the_candidate(Cell):
    cell = _zeroed(Cell(1, 2))
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


def test_at_one_pixel_the_lstm_is_torchs():
    """torch has the gates in the order i, f, j, o, and two biases."""
    torch.manual_seed(2)
    lstm = torch.nn.LSTMCell(3, 4).double()
    cell = LSTMCell(3, 4).double()
    with torch.no_grad():
        W, b, U = (
            torch.cat([p.chunk(4)[k] for k in (1, 0, 3, 2)])
            for p in (lstm.weight_ih, lstm.bias_ih + lstm.bias_hh, lstm.weight_hh)
        )
        cell.W.weight[:, :, 1, 1] = W
        cell.W.bias.copy_(b)
        cell.U.weight[:, :, 0, 0] = U
        x, h, c = torch.randn(5, 3).double(), torch.randn(5, 4).double(), torch.randn(5, 4).double()
        output, state = cell(x[:, :, None, None], LSTMState(h[:, :, None, None], c[:, :, None, None]))
        expected_h, expected_c = lstm(x, (h, c))
    torch.testing.assert_close(state.h[:, :, 0, 0], expected_h, rtol=0, atol=1e-12)
    torch.testing.assert_close(state.c[:, :, 0, 0], expected_c, rtol=0, atol=1e-12)
    assert torch.equal(output, state.h)


def _with_gates(cell, f, i, o):
    """The cell with its three gates held open (True) or shut (False), whatever it reads."""
    size = cell.channels if isinstance(cell, LSTMCell) else cell.channels // 2
    with torch.no_grad():
        for k, is_open in enumerate((f, i, o)):
            cell.W.bias[k * size : (k + 1) * size] = 1000 if is_open else -1000
    return cell


LSTMS = pytest.mark.parametrize("Cell", [LSTMCell, AssociativeLSTMCell])


@LSTMS
def test_a_shut_forget_gate_forgets_and_a_shut_input_gate_writes_nothing(Cell):
    torch.manual_seed(3)
    cell, x = Cell(2, 4), torch.randn(1, 2, 3, 3)
    with torch.no_grad():
        _, (h, c) = cell(x)
        _with_gates(cell, f=False, i=True, o=True)
        assert torch.equal(cell(x, LSTMState(h, c))[1].c, cell(x, LSTMState(h, 0 * c))[1].c)
        _with_gates(cell, f=True, i=False, o=True)
        assert torch.equal(cell(x, LSTMState(h, c))[1].c, c)


@LSTMS
def test_a_shut_output_gate_shows_nothing_and_keeps_all(Cell):
    torch.manual_seed(3)
    cell, x = Cell(2, 4), torch.randn(1, 2, 3, 3)
    with torch.no_grad():
        _, state = _with_gates(cell, f=True, i=True, o=True)(x)
        output, hidden = _with_gates(cell, f=True, i=True, o=False)(x)
    assert torch.equal(output, torch.zeros_like(output))
    assert torch.equal(hidden.c, state.c)
    assert state.c.abs().min() > 0


def _polar(modulus, angle):
    """n complex numbers as the 2 n real ones that a cell holds."""
    return torch.cat([modulus * angle.cos(), modulus * angle.sin()])


def _angles(n):
    return 6.2831853 * torch.rand(n)


@pytest.mark.parametrize(
    ("j", "expected"),
    [
        ((0.3, -0.4), (0.3, -0.4)),
        ((0.0, 0.0), (0.0, 0.0)),
        ((0.0, 1.0), (0.0, 1.0)),
        ((3.0, -4.0), (0.6, -0.8)),
        ((0.0, -1.5), (0.0, -1.0)),
    ],
    ids=["inside", "zero", "on", "outside", "outside on an axis"],
)
def test_bnd_leaves_the_unit_circle_alone_and_draws_what_is_outside_onto_it(j, expected):
    """Seen through a cell that writes j under the key 1 and reads it with the key 1."""
    cell = _with_gates(_zeroed(AssociativeLSTMCell(1, 2)), f=False, i=True, o=True)
    with torch.no_grad():
        cell.W.bias[3:5] = torch.tensor(j)
        cell.W.bias[5:] = torch.tensor([1.0, 0.0, 1.0, 0.0])
        output, state = cell(torch.zeros(1, 1, 1, 1))
    torch.testing.assert_close(output.ravel(), torch.tensor(expected))
    torch.testing.assert_close(state.c[0, 0].ravel(), torch.tensor(expected))


def test_the_memory_may_grow_past_the_unit_circle_but_what_is_read_may_not():
    cell = _with_gates(_zeroed(AssociativeLSTMCell(1, 2)), f=True, i=True, o=True)
    with torch.no_grad():
        cell.W.bias[3:] = torch.tensor([0.36, 0.48, 1.0, 0.0, 1.0, 0.0])
        state = None
        for k in (1, 2, 3):
            output, state = cell(torch.zeros(1, 1, 1, 1), state)
            torch.testing.assert_close(state.c[0, 0].ravel(), k * torch.tensor([0.36, 0.48]))
            expected = torch.tensor([0.36, 0.48] if k == 1 else [0.6, 0.8])
            torch.testing.assert_close(output.ravel(), expected)


def test_what_is_stored_under_a_key_comes_back_with_its_conjugate_and_not_with_another():
    torch.manual_seed(4)
    n = 6
    cell = _with_gates(_zeroed(AssociativeLSTMCell(1, 2 * n)), f=False, i=True, o=True)
    angle, value = _angles(n), _polar(torch.rand(n), _angles(n))
    with torch.no_grad():
        cell.W.bias[3 * n : 7 * n] = torch.cat([value, _polar(1, angle)])
        for read, same in ((-angle, True), (angle, False)):
            cell.W.bias[7 * n :] = _polar(1, read)
            output, _ = cell(torch.zeros(1, 1, 1, 1))
            assert torch.allclose(output.ravel(), value, atol=1e-6) is same


def test_before_training_an_associative_lstm_reads_what_it_writes():
    torch.manual_seed(4)
    n = 6
    cell = _with_gates(AssociativeLSTMCell(1, 2 * n), f=False, i=True, o=True)
    value = _polar(torch.rand(n), _angles(n))
    with torch.no_grad():
        cell.W.bias[3 * n : 5 * n] = value
        output, state = cell(torch.zeros(1, 1, 1, 1))
    torch.testing.assert_close(output.ravel(), value)
    assert not torch.allclose(state.c[0, 0].ravel(), value, atol=0.1)  # there are keys


def test_the_copies_are_bound_apart_and_averaged():
    cell = _with_gates(_zeroed(AssociativeLSTMCell(1, 2, copies=2)), f=True, i=False, o=True)
    with torch.no_grad():
        cell.W.bias[7] = 1  # r_o = 1
        c = torch.tensor([[3.0, -4.0], [0.1, 0.2]]).reshape(1, 2, 2, 1, 1, 1)
        output, _ = cell(torch.zeros(1, 1, 1, 1), LSTMState(torch.zeros(1, 2, 1, 1), c))
    torch.testing.assert_close(output.ravel(), torch.tensor([(0.6 + 0.1) / 2, (-0.8 + 0.2) / 2]))


def test_more_copies_bring_proportionally_less_noise_from_what_lies_under_other_keys():
    """The mean of N copies, each with another key in the same channel, has 1/N of one copy's mean squared noise."""
    torch.manual_seed(5)
    n = 512
    a, b = _angles(n), _angles(n)
    value, other = _polar(0.4, _angles(n)), _polar(0.4, _angles(n))
    noise = {}
    for copies in (1, 4):
        cell = _with_gates(_zeroed(AssociativeLSTMCell(3, 2 * n, kernel=1, copies=copies)), f=True, i=True, o=True)
        with torch.no_grad():
            cell.W.weight[3 * n :, 0, 0, 0] = torch.cat([value, _polar(1, a), torch.zeros(2 * n)])  # write under a
            cell.W.weight[3 * n :, 1, 0, 0] = torch.cat([other, _polar(1, b), torch.zeros(2 * n)])  # write under b
            cell.W.weight[7 * n :, 2, 0, 0] = _polar(1, -a)  # read what is under a
            state = None
            for step in torch.eye(3):
                output, state = cell(step[None, :, None, None], state)
        noise[copies] = (output.ravel() - value).square().mean().item()
    assert noise[1] == pytest.approx(0.4**2 / 2, rel=0.01)
    assert noise[4] == pytest.approx(noise[1] / 4, rel=0.2)


def test_an_associative_lstm_refuses_an_odd_number_of_channels():
    with pytest.raises(InputError, match="has 5 channels"):
        AssociativeLSTMCell(2, 5)
