"""Right answers in other words, and mistakes, for the exercises of lesson 02."""

import math

import torch


def _einsum(x, h, W, U):
    def gate(k, memory):
        return torch.einsum("bi,io->bo", x, W[k]) + torch.einsum("bi,io->bo", memory, U[k])

    z, r = gate(0, h).sigmoid(), gate(1, h).sigmoid()
    return torch.lerp(h, gate(2, r * h).tanh(), z)


def _gru(mix, *, late=False, gates=(0, 1)):
    def step(x, h, W, U):
        z, r = (torch.sigmoid(x @ W[k] + h @ U[k]) for k in gates)
        seen = r * (h @ U[2]) if late else (r * h) @ U[2]
        return mix(z, h, torch.tanh(x @ W[2] + seen))

    return step


def _without_reset(x, h, W, U):
    z = torch.sigmoid(x @ W[0] + h @ U[0])
    return (1 - z) * h + z * torch.tanh(x @ W[2] + h @ U[2])


def _into_the_memory(x, h, W, U):
    new = _einsum(x, h, W, U)
    return h.copy_(new)


def _right_mix(z, h, candidate):
    return (1 - z) * h + z * candidate


def _cuts(memory, output):
    def short_cuts(x, h, updated, W_h, W_ox, alpha_h, alpha_x):
        new = memory(h, updated, W_h, alpha_h)
        return output(new, x, updated, W_ox, alpha_x), new

    return short_cuts


def _memory(h, updated, W_h, alpha_h):
    return updated + alpha_h * W_h(h)


def _output(new, x, updated, W_ox, alpha_x):
    return new + alpha_x * W_ox(x)


Z = 1 - 0.95 ** (1 / 16)
LARGEST = math.log(Z / (1 - Z))  # the bias with which 95 % are left


VARIANTS = {
    "02.1": [_einsum],
    "02.2": [
        lambda x, h, updated, W_h, W_ox, a, b: (W_h(h) * a + updated + W_ox(x) * b, updated + W_h(a * h)),
        lambda *arguments: [*_cuts(_memory, _output)(*arguments)],
    ],
    "02.3": [-7, -5.8, torch.tensor(-20.0), -1000, LARGEST + 1e-4],
}

MISTAKES = {
    "02.1": [
        (lambda x, h, W, U: h, "unchanged"),
        (lambda x, h, W, U: x, "shape"),
        (_gru(_right_mix, late=True), "after U"),
        (_gru(lambda z, h, c: z * h + (1 - z) * c), "turned round"),
        (_gru(lambda z, h, c: z * h + (1 - z) * c, late=True), "GRUCell's way"),
        (_without_reset, "r is not in the candidate"),
        (_into_the_memory, "changes its input"),
        (_gru(lambda z, h, c: c), "candidate alone"),
        (_gru(lambda z, h, c: (1 - z) * h + z * torch.sigmoid(torch.atanh(c))), "is a tanh"),
        (_gru(_right_mix, gates=(1, 0)), "numbers are not"),
        (lambda x, h, W, U: undefined, "NameError"),  # noqa: F821
        (lambda x, h, W, U: [], "list"),
        (lambda x, h, W, U: _einsum(x, h, W, U).double(), "float64"),
        (lambda x, h, W, U: x @ W[0].double(), "float64"),
    ],
    "02.2": [
        (lambda x, h, updated, *rest: updated, "two things"),
        (_cuts(lambda h, updated, W_h, a: updated, _output), "unchanged"),
        (_cuts(lambda h, updated, W_h, a: updated + W_h(h), _output), "alpha_h"),
        (_cuts(_memory, lambda new, x, updated, W_ox, a: updated + a * W_ox(x)), "builds on the GRU"),
        (_cuts(_memory, lambda new, x, updated, W_ox, a: new + W_ox(x)), "output is not"),
        (lambda *a: _cuts(_memory, _output)(*a)[::-1], "exchanged"),
    ],
    "02.3": [
        (0.0, "0.00%"),
        (LARGEST + 0.003, "94.99%"),
        (-3, "left after"),
        (0.95, "share"),
        ("-6", "no number"),
        (6, "0.00%"),
        (float("nan"), "no number"),
        ([-7], "list"),
    ],
}
