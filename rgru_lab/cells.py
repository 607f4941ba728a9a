"""The recurrent cell: a gated memory that is an image.

A cell remembers from one iteration of the codec to the next. Here is the paper's own, the Residual GRU.
"""

import torch
from torch import Tensor, nn


class ResidualGRUCell(nn.Module):
    """A convolutional GRU with two residual connections (Toderici et al. 2017).

    With `*` a convolution and `(.)` the elementwise product, the paper's equations are

        z  = sigmoid(W_z * x + U_z * h)                     how much of the memory is replaced
        r  = sigmoid(W_r * x + U_r * h)                     how much of the memory the candidate sees
        h' = (1 - z) (.) h + z (.) tanh(W * x + U * (r (.) h)) + alpha_h W_h * h
        o  = h' + alpha_x W_ox * x

    Gate convention: z = 0 keeps the memory, z = 1 replaces it (`torch.nn.GRUCell` has it the other way round, and
    applies r after U instead of before). W_z, W_r and W are one convolution here, as are U_z and U_r: the same
    numbers in fewer, larger steps. The W carry a bias each.

    Args:
        in_channels: channels of the input x.
        channels: channels of the memory h and of the output o.
        stride: 2 halves height and width, as every cell of the encoder does.
        kernel: side of the input convolutions W (odd).
        hidden_kernel: side of the memory's convolutions U (odd). W_h and W_ox are 1 x 1.
        alpha_h, alpha_x: weights of the two residual connections; both 0.1 in the paper.

    Shape:
        x: (B, in_channels, H, W)
        h: (B, channels, H / stride, W / stride), or None for a memory of zeros
        returns (o, h'), both of h's shape
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
        self.alpha_h = alpha_h
        self.alpha_x = alpha_x
        self.W = nn.Conv2d(in_channels, 3 * channels, kernel, stride, kernel // 2)
        self.U_gates = nn.Conv2d(channels, 2 * channels, hidden_kernel, padding=hidden_kernel // 2, bias=False)
        self.U = nn.Conv2d(channels, channels, hidden_kernel, padding=hidden_kernel // 2, bias=False)
        self.W_h = nn.Conv2d(channels, channels, 1, bias=False)
        self.W_ox = nn.Conv2d(in_channels, channels, 1, stride, bias=False)

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        Wz_x, Wr_x, W_x = self.W(x).chunk(3, dim=1)
        if h is None:
            h = torch.zeros_like(W_x)
        Uz_h, Ur_h = self.U_gates(h).chunk(2, dim=1)
        z = torch.sigmoid(Wz_x + Uz_h)
        r = torch.sigmoid(Wr_x + Ur_h)
        candidate = torch.tanh(W_x + self.U(r * h))
        h = (1 - z) * h + z * candidate + self.alpha_h * self.W_h(h)
        return h + self.alpha_x * self.W_ox(x), h
