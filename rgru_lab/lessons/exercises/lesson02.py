"""Exercises of lesson 02, a memory for images."""

import math

import torch
from torch import nn

from rgru_lab.lessons import Wrong, exercise
from rgru_lab.lessons.exercises import given, real, untouched


def _gru_step():
    def gru_step(x, h, W, U):
        z = torch.sigmoid(x @ W[0] + h @ U[0])
        r = torch.sigmoid(x @ W[1] + h @ U[1])
        return (1 - z) * h + z * torch.tanh(x @ W[2] + (r * h) @ U[2])

    return gru_step


@exercise("02.1", "one step of a GRU", _gru_step)
def gru_step(answer):
    x, h = torch.randn(3, 5), torch.randn(3, 4)
    W, U = torch.randn(3, 5, 4), torch.randn(3, 4, 4)
    expected = _gru_step()(x, h, W, U)
    handed = h.clone()
    got = given(answer(x.clone(), handed, W.clone(), U.clone()))
    if not isinstance(got, torch.Tensor):
        raise Wrong(f"it returns a {type(got).__name__}; the new memory is a tensor of h's shape")
    if got.shape != h.shape:
        raise Wrong(f"it returns the shape {tuple(got.shape)}; the new memory has h's, {tuple(h.shape)}")
    untouched(handed, h)
    if torch.allclose(got, h):
        raise Wrong("it returns the memory unchanged; the candidate has to come in")
    if torch.allclose(got, expected, atol=1e-5):
        return
    z = torch.sigmoid(x @ W[0] + h @ U[0])
    r = torch.sigmoid(x @ W[1] + h @ U[1])
    after = torch.tanh(x @ W[2] + r * (h @ U[2]))
    if torch.allclose(got, (1 - z) * h + z * after, atol=1e-5):
        raise Wrong("r multiplies after U, as in torch.nn.GRUCell; here r multiplies h first, then U sees it")
    candidate = torch.tanh(x @ W[2] + (r * h) @ U[2])
    if torch.allclose(got, z * h + (1 - z) * candidate, atol=1e-5):
        raise Wrong("z is turned round: here z = 0 keeps the memory and z = 1 replaces it")
    if torch.allclose(got, z * h + (1 - z) * after, atol=1e-5):
        raise Wrong("this is torch.nn.GRUCell's way: z turned round, r after U; here z = 1 replaces, r is before U")
    if torch.allclose(got, (1 - z) * h + z * torch.tanh(x @ W[2] + h @ U[2]), atol=1e-5):
        raise Wrong("r is not in the candidate; it multiplies h before U sees it")
    if torch.allclose(got, (1 - z) * h + z * torch.sigmoid(x @ W[2] + (r * h) @ U[2]), atol=1e-5):
        raise Wrong("the candidate is a tanh; σ is for the two gates")
    if torch.allclose(got, candidate, atol=1e-5):
        raise Wrong("it returns the candidate alone; z has to mix it with the old memory")
    raise Wrong("the shape is right, the numbers are not; compare each line with its equation")


def _short_cuts():
    def short_cuts(x, h, updated, W_h, W_ox, alpha_h, alpha_x):
        h = updated + alpha_h * W_h(h)
        return h + alpha_x * W_ox(x), h

    return short_cuts


@exercise("02.2", "two short cuts", _short_cuts)
def short_cuts(answer):
    W_h, W_ox = nn.Conv2d(4, 4, 1, bias=False), nn.Conv2d(3, 4, 1, 2, bias=False)
    x, h, updated = torch.randn(2, 3, 8, 8), torch.randn(2, 4, 4, 4), torch.randn(2, 4, 4, 4)
    with torch.no_grad():
        got = given(answer(x.clone(), h.clone(), updated.clone(), W_h, W_ox, 0.3, 0.7))
        if not (isinstance(got, (tuple, list)) and len(got) == 2):
            raise Wrong("it should return two things: the output and the new memory")
        output, memory = (given(part) for part in got)
        o, h_new = _short_cuts()(x, h, updated, W_h, W_ox, 0.3, 0.7)
        if torch.equal(memory, updated):
            raise Wrong("the memory is the GRU's unchanged; alpha_h W_h h has to be added")
        if torch.allclose(memory, o, atol=1e-5) and torch.allclose(output, h_new, atol=1e-5):
            raise Wrong("output and memory are exchanged; return the output first")
        if torch.allclose(memory, o, atol=1e-5):
            raise Wrong("the input's short cut got into the memory; it belongs to the output alone")
        if torch.allclose(memory, updated + W_h(h), atol=1e-5):
            raise Wrong("the short cut comes in with weight 1; multiply it by alpha_h")
        if not torch.allclose(memory, h_new, atol=1e-5):
            raise Wrong("the new memory is not updated + alpha_h W_h(h)")
        if torch.allclose(output, updated + 0.7 * W_ox(x), atol=1e-5):
            raise Wrong("the output builds on the GRU's memory; it should build on the new one, with its short cut")
        if not torch.allclose(output, o, atol=1e-5):
            raise Wrong("the memory is right; the output is not the new memory + alpha_x W_ox(x)")


@exercise("02.3", "a cell that keeps", lambda: -6.0)
def kept(answer):
    if isinstance(answer, str):
        raise Wrong(f"{answer!r} is no number; give the bias as one, -1.5 for one")
    bias = real(answer, "the bias")
    if math.isnan(bias):
        raise Wrong("nan is no number; give the bias as one, -1.5 for one")
    z = 1 / (1 + math.exp(-bias)) if bias > -700 else 0.0
    if 0.95 <= bias <= 1:
        raise Wrong("this looks like the share that is left; asked is the bias, the number that goes into σ")
    left = (1 - z) ** 16
    if left < 0.95 - 1e-5:
        raise Wrong(f"with this bias z is {z:.4f}, and {left:.2%} of the memory is left after 16 iterations")
