"""Right answers in other words, and mistakes, for the exercises of lesson 03."""

import math

import numpy as np
import torch

from rgru_lab.cells import ResidualGRUCell


def _by_convolution(height, width):
    """Sizes as PyTorch finds them."""
    x = torch.zeros(1, 1, math.ceil(height / 16) * 16, math.ceil(width / 16) * 16)
    found = []
    for _ in range(4):
        x = torch.nn.functional.conv2d(x, torch.zeros(1, 1, 3, 3), stride=2, padding=1)
        found.append(x.shape[2:])
    return found


def _as_array(height, width):
    sides = np.array([height + -height % 16, width + -width % 16])
    return sides / 2 ** np.arange(1, 5)[:, None]


def _sizes(size):
    return lambda height, width: [(size(height, k), size(width, k)) for k in (1, 2, 3, 4)]


def _padded(n, grid=16):
    return n + -n % grid


def _by_pytorch(in_channels, channels, kernel, hidden_kernel):
    cell = ResidualGRUCell(in_channels, channels, kernel=kernel, hidden_kernel=hidden_kernel)
    return torch.tensor(sum(p.numel() for p in cell.parameters()))


def _backwards(kernels, strides):
    side = 1
    for kernel, stride in list(zip(kernels, strides, strict=True))[::-1]:
        side = (side - 1) * stride + kernel
    return side


def _by_gradient(kernels, strides):
    pixels = torch.zeros(1, 1, 400, requires_grad=True)
    x = pixels
    for kernel, stride in zip(kernels, strides, strict=True):
        x = torch.nn.functional.conv1d(x, torch.ones(1, 1, kernel), stride=stride)
    (gradient,) = torch.autograd.grad(x[0, 0, x.shape[2] // 2], pixels)
    return (gradient > 0).sum()


def _steps_first(kernels, strides):
    side, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        step *= stride
        side += (kernel - 1) * step
    return side


VARIANTS = {
    "03.1": [_by_convolution, _as_array, lambda h, w: tuple([_padded(h) >> k, _padded(w) >> k] for k in range(1, 5))],
    "03.2": [_by_pytorch, lambda i, c, k, h: float(c * (3 * (i * k * k + 1 + c * h * h) + c + i))],
    "03.3": [_backwards, _by_gradient, lambda k, s: 1 + sum((k[j] - 1) * np.prod(s[:j]) for j in range(len(k)))],
}

MISTAKES = {
    "03.1": [
        (lambda h, w: (h, w), "four pairs"),
        (lambda h, w: _sizes(lambda n, k: _padded(n) // 2**k)(h, w)[-1:], "four layers"),
        (_sizes(lambda n, k: n // 2**k), "round down"),
        (_sizes(lambda n, k: math.ceil(n / 2**k)), "round up at each layer"),
        (_sizes(lambda n, k: n / 2**k), "whole rows"),
        (_sizes(lambda n, k: _padded(n, 32) // 2**k), "multiples of 32"),
        (_sizes(lambda n, k: (n + 16 - n % 16) // 2**k), "already"),
        (_sizes(lambda n, k: _padded(n) // 2 ** (k - 1)), "first layer halves"),
        (_sizes(lambda n, k: _padded(n)), "each layer halves"),
        (lambda h, w: _sizes(lambda n, k: _padded(n) // 2**k)(w, h), "exchanged"),
        (lambda h, w: [(1, 1)] * 4, "halve it four times"),
    ],
    "03.2": [
        (lambda i, c, k, h: i, "PyTorch counts"),
        (lambda i, c, k, h: (i, c), "tuple"),
        (lambda i, c, k, h: 3 * i * c * k**2 + 3 * c * c * h**2 + c * c + i * c, "biases"),
        (lambda i, c, k, h: 3 * i * c * k**2 + c + 3 * c * c * h**2 + c * c + i * c, "that many biases"),
        (lambda i, c, k, h: 3 * i * c * k**2 + 6 * c + 3 * c * c * h**2 + c * c + i * c, "only W has"),
        (lambda i, c, k, h: 3 * i * c * k**2 + 8 * c + 3 * c * c * h**2 + c * c + i * c, "all five"),
        (lambda i, c, k, h: 3 * c * (i * k**2 + 1 + c * h) + c * c + i * c, "comes squared"),
        (lambda i, c, k, h: 3 * c * (i * k**2 + 1 + c * h**2), "plain GRU"),
        (lambda i, c, k, h: 3 * c * (i * k**2 + 1 + c * h**2) + c * c, "W_ox is missing"),
        (lambda i, c, k, h: 3 * c * (i * k**2 + 1 + c * h**2) + i * c, "W_h is missing"),
        (lambda i, c, k, h: 3 * c * (i * k**2 + 1) + 2 * c * c * h**2 + c * c + i * c, "together"),
        (lambda i, c, k, h: 3 * c * (i * k**2 + 1) + c * c * h**2 + c * c + i * c, "U_gates is missing"),
        (lambda i, c, k, h: 3 * c * (i * k**2 + 1) + (2 * i + c) * c * h**2 + c * c + i * c, "reads the memory"),
        (lambda i, c, k, h: 3 * c * (i * k**2 + 1), "W alone"),
        (lambda i, c, k, h: i * c * k**2 + 3 * c + 3 * c * c * h**2 + c * c + i * c, "z, r and the candidate"),
        (lambda i, c, k, h: 3 * c * (i * k**2 + 1 + c) + c * c + i * c, "hidden_kernel x hidden_kernel"),
        (lambda i, c, k, h: 3 * c * (i * k + 1 + c * h) + c * c + i * c, "square"),
    ],
    "03.3": [
        (lambda k, s: k, "list"),
        (_steps_first, "own stride"),
        (lambda k, s: _backwards(k[::-1], s[::-1]), "last to the first"),
        (lambda k, s: 1 + sum(k) - len(k), "strides are not in it"),
        (lambda k, s: _backwards(k, [2] * len(k)), "every stride to be 2"),
        (lambda k, s: math.prod(s), "stands for"),
        (lambda k, s: math.prod(k), "do not multiply"),
        (lambda k, s: _backwards(k, s) - 1, "one pixel too few"),
        (lambda k, s: 1 + sum((n - 1) * t for n, t in zip(k, [1, *s], strict=False)), "strides multiply"),
        (lambda k, s: 1 + sum(n * math.prod(s[:j]) for j, n in enumerate(k)), "two steps"),
        (lambda k, s: 31, "by gradient"),
    ],
}
