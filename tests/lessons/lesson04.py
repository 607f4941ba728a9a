"""Right answers in other words, and mistakes, for the exercises of lesson 04."""

import math

import numpy as np
import torch


class _Straight(torch.autograd.Function):
    @staticmethod
    def forward(context, y):
        return torch.where(y < 0, -1.0, 1.0)

    @staticmethod
    def backward(context, gradient):
        return gradient


def _writes(y):
    """Writes into what it was given."""
    b = y + (_step(y) - y).detach()
    y.zero_()
    return b


def _in_place(y):
    """Writes into a copy of what it was given."""
    b = y.detach().clone()
    b[b >= 0] = 1
    b[b < 0] = -1
    return y + (b - y).detach()


def _signed(y):
    b = torch.sign(y)
    return b + (b == 0).float() + (y - y.detach())


def _step(y):
    return torch.where(y >= 0, 1.0, -1.0)


def _bernoulli(y):
    return 2 * torch.bernoulli((1 + y) / 2) - 1


def _threshold(y):
    """As the kit has it, with a gradient."""
    b = torch.where(y >= 2 * torch.rand_like(y) - 1, 1.0, -1.0)
    return b + (y - y.detach())


def _seeded(y):
    torch.manual_seed(3)
    return _bernoulli(y)


def _noise(y):
    """The paper's way: y plus what is missing to a bit."""
    up = torch.rand(y.shape) < (y + 1) / 2
    return torch.where(up, torch.ones(()), -torch.ones(()))


VARIANTS = {
    "04.1": [
        lambda height, width, N=1, K=32: torch.tensor(math.ceil(height / 16) * math.ceil(width / 16)) * N * K,
        lambda height, width, N=1, K=32: float(np.ceil(height / 16) * np.ceil(width / 16) * N * K),
    ],
    "04.2": [_Straight.apply, _in_place, _signed, lambda y: y - (y - _step(y)).detach()],
    "04.3": [_bernoulli, _threshold, _noise],
}

MISTAKES = {
    "04.1": [
        (lambda h, w, N=1, K=32: h, "it is"),
        (lambda h, w, N=1, K=32: (h, w), "tuple"),
        (lambda h, w, N=1, K=32: N * K * (h // 16) * (w // 16), "round down"),
        (lambda h, w, N=1, K=32: N * K * h / 16 * w / 16, "parts of a position"),
        (lambda h, w, N=1, K=32: N * K * math.ceil(h * w / 256), "product"),
        (lambda h, w, N=1, K=32: N * K * (h // 16 + 1) * (w // 16 + 1), "no position more"),
        (lambda h, w, N=1, K=32: K * math.ceil(h / 16) * math.ceil(w / 16), "N is not in it"),
        (lambda h, w, N=1, K=32: N * math.ceil(h / 16) * math.ceil(w / 16), "each holds K bits"),
        (lambda h, w, N=1, K=32: N * 32 * math.ceil(h / 16) * math.ceil(w / 16), "you take 32"),
        (lambda h, w, N=1, K=32: N * K * math.ceil(h / 16) * math.ceil(w / 16) / 8, "bytes"),
        (lambda h, w, N=1, K=32: 3 * N * K * math.ceil(h / 16) * math.ceil(w / 16), "colours"),
        (lambda h, w, N=1, K=32: h * w * N * K, "for each pixel"),
        (lambda h, w: 32 * math.ceil(h / 16) * math.ceil(w / 16), "TypeError"),
    ],
    "04.2": [
        (lambda y: y, "y unchanged"),
        (lambda y: (y >= 0).float() + (y - y.detach()), "0/1"),
        (lambda y: _step(y).double() + (y - y.detach()), "y is float32"),
        (lambda y: y >= 0, "bool"),
        (lambda y: y.sign() + (y - y.detach()), "exactly 0"),
        (_step, "no gradient"),
        (lambda y: torch.sign(y) + (y == 0), "no gradient"),
        (lambda y: -_step(y) + (y - y.detach()), "turned round"),
        (lambda y: torch.where(y > 0, 1.0, -1.0) + (y - y.detach()), "y is 0"),
        (lambda y: _step(y) + (y.detach() - y), "wrong sign"),
        (lambda y: _step(y) + y, "nothing between"),
        (lambda y: _step(y) + y - y.detach(), "brackets"),
        (lambda y: _step(y) + 2 * (y - y.detach()), "twice"),
        (lambda y: _step(y) + (y**2 - (y**2).detach()), "gradient is not"),
        (lambda y: _step(y).tolist(), "list"),
        (_writes, "changes its input"),
        (lambda y: 1.0 if y >= 0 else -1.0, "torch.where"),
        (lambda y: _step(y).mean(), "shape"),
    ],
    "04.3": [
        (lambda y: y, "y unchanged"),
        (lambda y: (torch.rand_like(y) < (1 + y) / 2).float(), "0/1"),
        (_step, "no chance"),
        (lambda y: torch.where(torch.rand_like(y) < y, 1.0, -1.0), "with y"),
        (lambda y: torch.where(torch.rand_like(y) < (1 - y) / 2, 1.0, -1.0), "exchanged"),
        (lambda y: torch.where(torch.rand_like(y) < 0.5, 1.0, -1.0), "fair coin"),
        (lambda y: torch.where(torch.rand(len(y), 1) < (1 + y) / 2, 1.0, -1.0), "its own"),
        (lambda y: torch.where(torch.rand(()) < (1 + y) / 2, 1.0, -1.0), "drawn for all"),
        (lambda y: torch.where(torch.randn_like(y) < y, 1.0, -1.0), "mean of many draws"),
        (_seeded, "no seed inside"),
        (lambda y: y + torch.rand_like(y) - 0.5, "nothing between"),
    ],
}
