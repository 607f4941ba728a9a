"""The recurrent cells: gated memories that are images.

A cell remembers from one iteration of the codec to the next. Here are the paper's four (Toderici et al. 2017,
section 3.1), by name in `CELLS`. All are made and called alike, so that each fits wherever another does:

    cell = Cell(in_channels, channels, stride=1, kernel=3, hidden_kernel=1, alpha_h=0.1, alpha_x=0.1)
    output, state = cell(x, state)

Args:
    in_channels: channels of the input x.
    channels: channels of the memory and of the output. For the same number the cells cost different numbers of
        parameters: a GRU has three blocks of convolutions, the Residual GRU two 1 x 1 more, the LSTM four, the
        associative LSTM four and a half.
    stride: 2 halves height and width, as every cell of the encoder does.
    kernel: side of the input convolutions W (odd).
    hidden_kernel: side of the memory's convolutions U (odd).
    alpha_h, alpha_x: weights of the Residual GRU's two residual connections; both 0.1 in the paper. The other cells
        have no such connections and take the two only to be made alike.

Shape:
    x: (B, in_channels, H, W)
    state: what the last call returned, or None for a memory of zeros; see each cell
    output: (B, channels, H / stride, W / stride)

In the equations `*` is a convolution and `(.)` the elementwise product. Convolutions that read the same thing are
fused into one: the same numbers in fewer, larger steps. Each W carries a bias, no U does.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from rgru_lab.config import InputError


class LSTMState(NamedTuple):
    """The memory of an LSTM."""

    h: Tensor
    """The last output: (B, channels, H', W')."""
    c: Tensor
    """What no gate has filtered; see each cell for its shape."""


State = Tensor | LSTMState
"""What a cell remembers: h for the GRUs, h and c for the LSTMs."""


class GRUCell(nn.Module):
    """A convolutional GRU.

        z  = sigmoid(W_z * x + U_z * h)                     how much of the memory is replaced
        r  = sigmoid(W_r * x + U_r * h)                     how much of the memory the candidate sees
        h' = (1 - z) (.) h + z (.) tanh(W * x + U * (r (.) h))
        o  = h'

    Gate convention: z = 0 keeps the memory, z = 1 replaces it (`torch.nn.GRUCell` has it the other way round, and
    applies r after U instead of before). W_z, W_r and W are one convolution here, as are U_z and U_r.

    The state is h. For the arguments and shapes see the module.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        kernel: int = 3,
        hidden_kernel: int = 1,
        alpha_h: float = 0.1,
        alpha_x: float = 0.1,
    ):
        super().__init__()
        self.channels = channels
        self.W = nn.Conv2d(in_channels, 3 * channels, kernel, stride, kernel // 2)
        self.U_gates = nn.Conv2d(channels, 2 * channels, hidden_kernel, padding=hidden_kernel // 2, bias=False)
        self.U = nn.Conv2d(channels, channels, hidden_kernel, padding=hidden_kernel // 2, bias=False)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        Wz_x, Wr_x, W_x = self.W(x).chunk(3, dim=1)
        if h is None:  # a memory of zeros: all that U makes of it is 0
            h = torch.sigmoid(Wz_x) * torch.tanh(W_x)
            return h, h
        Uz_h, Ur_h = self.U_gates(h).chunk(2, dim=1)
        z = torch.sigmoid(Wz_x + Uz_h)
        r = torch.sigmoid(Wr_x + Ur_h)
        candidate = torch.tanh(W_x + self.U(r * h))
        h = torch.lerp(h, candidate, z)  # (1 - z) h + z candidate
        return h, h


class ResidualGRUCell(GRUCell):
    """The paper's own: a GRU with two residual connections, around its memory and from its input to its output.

        h' = the GRU's h' + alpha_h W_h * h
        o  = h' + alpha_x W_ox * x

    W_h and W_ox are 1 x 1, without bias. W_ox reads the places that the stride leaves; they are picked out beforehand,
    for where oneDNN learns a strided 1 x 1 convolution of under 16 channels it writes past its memory (its issue 6035).

    The state is h. For the arguments and shapes see the module.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        kernel: int = 3,
        hidden_kernel: int = 1,
        alpha_h: float = 0.1,
        alpha_x: float = 0.1,
    ):
        super().__init__(in_channels, channels, stride=stride, kernel=kernel, hidden_kernel=hidden_kernel)
        self.stride = stride
        self.alpha_h = alpha_h
        self.alpha_x = alpha_x
        self.W_h = nn.Conv2d(channels, channels, 1, bias=False)
        self.W_ox = nn.Conv2d(in_channels, channels, 1, bias=False)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        _, updated = super().forward(x, h)
        if h is not None:
            updated = updated + self.alpha_h * self.W_h(h)
        seen = x[..., :: self.stride, :: self.stride]
        return updated + self.alpha_x * self.W_ox(seen), updated


class LSTMCell(nn.Module):
    """A convolutional LSTM.

        f, i, o = sigmoid(W_{f,i,o} * x + U_{f,i,o} * h)    what is kept, what is written, what is shown
        j  = tanh(W_j * x + U_j * h)                        what there is to write
        c' = f (.) c + i (.) j
        h' = o (.) tanh(c')                                 the output, too

    W and U hold f, i, o, j in this order (`torch.nn.LSTMCell`: i, f, j, o).

    The state is `LSTMState`, c of h's shape. For the arguments and shapes see the module.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        kernel: int = 3,
        hidden_kernel: int = 1,
        alpha_h: float = 0.1,
        alpha_x: float = 0.1,
    ):
        super().__init__()
        self.channels = channels
        self.W = nn.Conv2d(in_channels, 4 * channels, kernel, stride, kernel // 2)
        self.U = nn.Conv2d(channels, 4 * channels, hidden_kernel, padding=hidden_kernel // 2, bias=False)

    def forward(self, x: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        W_x = self.W(x)
        if state is None:
            zeros = torch.zeros_like(W_x[:, : self.channels])
            state = LSTMState(zeros, zeros)
        h, c = state
        f, i, o, j = (W_x + self.U(h)).chunk(4, dim=1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(j)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, LSTMState(h, c)


class AssociativeLSTMCell(nn.Module):
    """A convolutional LSTM whose memory stores under keys, as a hologram does; the paper has it in the decoder only.

        f, i, o      = sigmoid(W_{f,i,o} * x + U_{f,i,o} * h)           real
        j, r_i, r_o  = bnd(W_{j,r_i,r_o} * x + U_{j,r_i,r_o} * h)       complex; r_i: key to write, r_o: key to read
        c^(k)' = f (.) c^(k) + r_i^(k) (.) (i (.) j)                    for each of the N copies, k = 0..N-1
        h'     = 1/N sum over k of o (.) bnd(r_o^(k) (.) c^(k)')        the output, too

    with bnd(z) = z where |z| <= 1, else z / |z|. What was written under a key r of modulus 1 is read with its
    conjugate; what lies there under other keys comes along as noise. Each copy meets the keys with their channels
    permuted, so that the noise differs from copy to copy and their mean has less of it. Copy k has them rotated: its
    key in channel (m + floor(k n / N)) mod n, with n complex channels, is r's in channel m. So the permutations
    follow from k and n alone, and for n >= N no channel meets the same key twice. N costs no parameters, but memory.

    The biases of r_i begin on the unit circle at random phases, those of r_o at their conjugates: an untrained cell
    reads what it wrote. With biases near 0, j times two small keys would leave next to nothing of x.

    h, j, r_i, r_o have n = channels / 2 complex channels, stored as channels real numbers: first all real parts,
    then all imaginary ones. f, i, o have n channels and scale both parts alike. W and U hold f, i, o, j, r_i, r_o in
    this order.

    The state is `LSTMState`, c of shape (B, N, 2, n, H', W') with real and imaginary parts along the third axis. For
    the other arguments and shapes see the module.

    Args:
        copies: N.

    Raises:
        InputError: channels is odd.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        kernel: int = 3,
        hidden_kernel: int = 1,
        alpha_h: float = 0.1,
        alpha_x: float = 0.1,
        copies: int = 4,
    ):
        super().__init__()
        if channels % 2:
            raise InputError(f"an associative LSTM has {channels} channels; complex numbers need an even number")
        self.channels = channels
        self.copies = copies
        outputs = 9 * channels // 2
        self.W = nn.Conv2d(in_channels, outputs, kernel, stride, kernel // 2)
        self.U = nn.Conv2d(channels, outputs, hidden_kernel, padding=hidden_kernel // 2, bias=False)
        n = channels // 2
        phase = torch.empty(n).uniform_(0, 2 * torch.pi)
        with torch.no_grad():
            self.W.bias[5 * n :] = torch.cat([phase.cos(), phase.sin(), phase.cos(), -phase.sin()])

    def forward(self, x: Tensor, state: LSTMState | None = None) -> tuple[Tensor, LSTMState]:
        n = self.channels // 2
        W_x = self.W(x)
        if state is None:
            zeros = torch.zeros_like(W_x[:, : self.channels])
            state = LSTMState(zeros, zeros.unflatten(1, (1, 2, n)))  # the copies are alike
        h, c = state
        gates, vectors = (W_x + self.U(h)).split([3 * n, 6 * n], dim=1)
        f, i, o = torch.sigmoid(gates).unflatten(1, (3, 1, 1, n)).unbind(1)  # (B, 1, 1, n, H', W')
        j, r_i, r_o = _bnd(vectors.unflatten(1, (3, 1, 2, n))).unbind(1)  # (B, 1, 2, n, H', W')
        c = f * c + _times(self._keys(r_i), i * j)  # (B, N, 2, n, H', W')
        h = (o * _bnd(_times(self._keys(r_o), c))).mean(1).flatten(1, 2)
        return h, LSTMState(h, c)

    def _keys(self, r: Tensor) -> Tensor:
        """r (B, 1, 2, n, H', W') to the r^(k) of all copies (B, N, 2, n, H', W')."""
        n = r.shape[-3]
        return torch.cat([r.roll(k * n // self.copies, dims=-3) for k in range(self.copies)], dim=1)


def _bnd(z: Tensor) -> Tensor:
    """z where |z| <= 1, else z / |z|; z complex, (..., 2, n, H, W)."""
    return z / z.square().sum(-4, keepdim=True).clamp(min=1).sqrt()


def _times(a: Tensor, b: Tensor) -> Tensor:
    """The product of two arrays of complex numbers, (..., 2, n, H, W) each."""
    (a_re, a_im), (b_re, b_im) = a.unbind(-4), b.unbind(-4)
    return torch.stack([a_re * b_re - a_im * b_im, a_re * b_im + a_im * b_re], dim=-4)


CELLS = {"residual-gru": ResidualGRUCell, "gru": GRUCell, "lstm": LSTMCell, "associative-lstm": AssociativeLSTMCell}
"""The cells by the name that a config gives them."""
