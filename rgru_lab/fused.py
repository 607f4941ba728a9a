"""The Residual GRU once more, for compressing and decompressing: the same numbers in fewer, larger steps.

`cells` says what a Residual GRU is, and is what learns. Much of the time there goes into small operations between the
convolutions, which do little more than read and write memory. Here are fewer of them: one convolution reads x and h
where it can, and α_h and α_x have become part of the weights. Nor is r computed while there is no memory to see. What
comes out differs in the last digits.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rgru_lab.cells import ResidualGRUCell
from rgru_lab.model import ResidualCoder


class FusedResidualGRUCell(nn.Module):
    """A Residual GRU for inference, called as `cells.ResidualGRUCell` is; see there for equations and shapes.

    Args:
        cell: whose weights are taken; they are copied.
        dtype: of the weights, and of all that is computed.
    """

    def __init__(self, cell: ResidualGRUCell, dtype: torch.dtype):
        super().__init__()
        n, self.stride, self.kernel = cell.channels, cell.stride, cell.W.kernel_size[0]
        self.together = cell.stride == 1 and cell.W.kernel_size == cell.U.kernel_size
        W, b, gates, candidate = cell.W.weight, cell.W.bias, cell.U_gates.weight, cell.U.weight
        weights = {"W_first": torch.cat([W[:n], W[2 * n :]])}  # of z and the candidate
        if self.together:
            gates, candidate = torch.cat([W[: 2 * n], gates], 1), torch.cat([W[2 * n :], candidate], 1)
        else:
            weights |= {"W": W}
        weights |= {"gates": gates, "candidate": candidate}
        weights |= {"W_h": cell.alpha_h * cell.W_h.weight, "W_ox": cell.alpha_x * cell.W_ox.weight}
        for name, weight in weights.items():
            self.register_buffer(name, weight.detach().to(dtype, memory_format=torch.channels_last, copy=True))
        for name, bias in {"b_first": torch.cat([b[:n], b[2 * n :]]), "b": b}.items():
            self.register_buffer(name, bias.detach().to(dtype, copy=True))

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = x.to(self.b.dtype)
        if h is None:  # a memory of zeros
            z, candidate = self._of_x(x, self.W_first, self.b_first).chunk(2, dim=1)
            updated = torch.sigmoid(z) * torch.tanh(candidate)
        else:
            z, candidate = self._gated(x, h)
            updated = torch.lerp(h, candidate, z).add_(F.conv2d(h, self.W_h))
        seen = x[..., :: self.stride, :: self.stride]
        return F.conv2d(seen, self.W_ox).add_(updated), updated

    def _gated(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """z and the candidate."""
        if self.together:
            b_gates, b_candidate = self.b.split([len(self.gates), len(self.candidate)])
            sums = F.conv2d(torch.cat([x, h], 1), self.gates, b_gates, padding="same")
            z, r = sums.sigmoid_().chunk(2, dim=1)
            sums = F.conv2d(torch.cat([x, r * h], 1), self.candidate, b_candidate, padding="same")
            return z, sums.tanh_()
        gates_x, candidate_x = self._of_x(x, self.W, self.b).split([len(self.gates), len(self.candidate)], dim=1)
        z, r = F.conv2d(h, self.gates, padding="same").add_(gates_x).sigmoid_().chunk(2, dim=1)
        return z, F.conv2d(r * h, self.candidate, padding="same").add_(candidate_x).tanh_()

    def _of_x(self, x: Tensor, W: Tensor, b: Tensor) -> Tensor:
        return F.conv2d(x, W, b, self.stride, self.kernel // 2)


def fused(model: ResidualCoder, dtype: torch.dtype | None = None) -> ResidualCoder:
    """A model that computes what this one does, with fused cells in place of its Residual GRUs.

    Args:
        model: stays as it is, and shares all other weights; what changes in its cells later is not seen.
        dtype: of the fused cells; their own if left out.
    """
    cells = {module for module in model.modules() if isinstance(module, ResidualGRUCell)}
    made = {id(cell): FusedResidualGRUCell(cell, dtype or cell.W.weight.dtype) for cell in cells}
    # What deepcopy finds in its memo it takes for copied already.
    shared = {id(value): value for value in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared | made)
