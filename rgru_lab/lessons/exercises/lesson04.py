"""Exercises of lesson 04, the binarizer."""

import torch

from rgru_lab.images import grid_size
from rgru_lab.lessons import Wrong, exercise
from rgru_lab.lessons.exercises import given, real, untouched


def _count_bits():
    def count_bits(height, width, N=1, K=32):
        h, w = grid_size(height, width)
        return N * K * h * w

    return count_bits


SLIPS_OF_COUNTS = (
    (lambda h, w, N, K: N * K * (h // 16) * (w // 16), "you round down; a partly filled position counts in full"),
    (lambda h, w, N, K: N * K * h * w / 256, "you count parts of a position; round each side up before you multiply"),
    (
        lambda h, w, N, K: N * K * -(-h * w // 256),
        "you round the product up; round height / 16 and width / 16 up first",
    ),
    (
        lambda h, w, N, K: N * K * (h // 16 + 1) * (w // 16 + 1),
        "a side that is a multiple of 16 needs no position more",
    ),
    (lambda h, w, N, K: K * -(-h // 16) * -(-w // 16), "N is not in it: each iteration costs the same again"),
    (lambda h, w, N, K: N * -(-h // 16) * -(-w // 16), "these are positions; each holds K bits"),
    (lambda h, w, N, K: 32 * N * -(-h // 16) * -(-w // 16), "K is given; you take 32 whatever it is"),
    (lambda h, w, N, K: N * K * -(-h // 16) * -(-w // 16) / 8, "these are bytes; asked are bits"),
    (
        lambda h, w, N, K: N * K * -(-h // 16) * -(-w // 16) * 3,
        "colours do not count: a position's bits hold all three",
    ),
    (lambda h, w, N, K: N * K * h * w, "you count K bits for each pixel; a position is 16 x 16 pixels"),
)


@exercise("04.1", "how many bits", _count_bits)
def count_bits(answer):
    cases = [(288, 448, 1, 32), (17, 17, 1, 32), (300, 451, 4, 32), (512, 30, 3, 8), (1, 1, 16, 5)]
    found = [real(answer(*case[: 2 if case[2:] == (1, 32) else 4]), "the count") for case in cases]
    expected = [_count_bits()(*case) for case in cases]
    if found == expected:
        return
    for slip, words in SLIPS_OF_COUNTS:
        if all(abs(got - slip(*case)) < 1e-6 for got, case in zip(found, cases, strict=True)):
            raise Wrong(words)
    j = [got == right for got, right in zip(found, expected, strict=True)].index(False)
    height, width, N, K = cases[j]
    raise Wrong(f"for {height} x {width}, N = {N} and K = {K} it says {found[j]:,}; it is {expected[j]:,}")


def _check_bits(got, y):
    """Raise unless `got` is a tensor like y with nothing but -1 and +1 in it."""
    if not isinstance(given(got), torch.Tensor):
        raise Wrong(f"it returns a {type(got).__name__}; the bits are a tensor of y's shape")
    if got.shape != y.shape:
        raise Wrong(f"it returns the shape {tuple(got.shape)}; each number of y, {tuple(y.shape)}, becomes one bit")
    if not got.is_floating_point():
        raise Wrong(f"your bits are {str(got.dtype)[6:]}; the decoder expects floats, -1.0 and +1.0")
    if got.dtype != y.dtype:
        raise Wrong(f"your bits are {str(got.dtype)[6:]}, and y is {str(y.dtype)[6:]}; a layer takes one kind only")
    values = got.detach()
    if torch.equal(values, y.detach()):
        raise Wrong("it returns y unchanged; each number has to become -1 or +1")
    if torch.isin(values, torch.tensor([0.0, 1.0])).all():
        raise Wrong("your bits are 0/1; the decoder expects -1/+1")
    others = values[(values != 1) & (values != -1)]
    if len(others) and (others == 0).all():
        raise Wrong("where y is exactly 0 your bit is 0, as torch.sign has it; 0 is no bit: take +1 there")
    if len(others) and torch.allclose(others.abs(), torch.ones(()), atol=1e-5):
        raise Wrong(
            f"it returns {others[0].item():.7f}: y was added and taken away, with a rounding between; keep the "
            "brackets: b + (y - y.detach()) adds exactly 0"
        )
    if len(others):
        raise Wrong(f"it returns {others[0].item():.7g} somewhere; a bit is -1 or +1 and nothing between")


def _binarize():
    def binarize(y):
        b = torch.where(y >= 0, 1.0, -1.0)
        return b + (y - y.detach())

    return binarize


@exercise("04.2", "a bit with a gradient", _binarize)
def binarize(answer):
    start = torch.cat([torch.linspace(-0.95, 0.95, 39), torch.rand(9) - 0.5]).view(1, 3, 4, 4)
    start[0, 1, 1, 1] = 0.0
    leaf = start.clone().requires_grad_()
    y = leaf.clone()  # what a layer before would give; not a leaf, so that torch lets an answer write into it
    got = answer(y)
    _check_bits(got, start)
    untouched(y, start)
    b = torch.where(start >= 0, 1.0, -1.0)
    if torch.equal(got.detach(), -b):
        raise Wrong("the signs are turned round: -1 where y is below 0, +1 elsewhere")
    if not torch.equal(got.detach(), b):
        off = start[got.detach() != b]
        raise Wrong(f"where y is {off[0].item():.3g} the bit is wrong: -1 where y is below 0, +1 elsewhere")
    weight = torch.linspace(-2, 3, start.numel()).view_as(start)
    none = "the values are right, but no gradient comes through: a step has none; add (y - y.detach())"
    if not got.requires_grad:
        raise Wrong(none)
    (gradient,) = torch.autograd.grad((weight * got).sum(), leaf, allow_unused=True)
    if gradient is None or not gradient.any():
        raise Wrong(none)
    if torch.allclose(gradient, weight, atol=1e-5):
        return
    if torch.allclose(gradient, -weight, atol=1e-5):
        raise Wrong("the gradient has the wrong sign: add y - y.detach(), not y.detach() - y")
    if torch.allclose(gradient, 2 * weight, atol=1e-5):
        raise Wrong("the gradient comes through twice; one (y - y.detach()) is enough")
    raise Wrong("the values are right, the gradient is not: it should be that of y itself, 1 for each element")


def _draw():
    def draw(y):
        return torch.where(torch.rand_like(y) < (1 + y) / 2, 1.0, -1.0)

    return draw


FOUR_SIGMA = 0.04
"""Four standard deviations of the mean of 10,000 bits whose mean is 0; with any other mean it is more than four."""


@exercise("04.3", "draw the bits", _draw)
def draw(answer):
    y = torch.tensor([-0.9, -0.5, 0.0, 0.2, 0.8]).repeat(10_000, 1)
    got = answer(y.clone())
    _check_bits(got, y)
    values = got.detach()
    if (values == values[0]).all():
        if any(not torch.equal(answer(y[:1].clone()).detach(), values[:1]) for _ in range(20)):
            raise Wrong("one number is drawn for all elements; each draws its own: torch.rand_like(y)")
        raise Wrong(
            "there is no chance in it: the same y gives the same bit each time; compare with torch.rand_like(y)"
        )
    if (values[:, :1] <= values).all() and (values[:, 1:] >= values[:, :-1]).all():
        raise Wrong("one number is drawn for many elements; each draws its own: torch.rand_like(y)")
    if torch.equal(*(answer(y[:100].clone()).detach() for _ in range(2))):
        raise Wrong("two calls draw the same bits; no seed inside")
    mean = values.mean(dim=0)
    for wrong, words in (
        (2 * y[0].clamp(0, 1) - 1, "you compare the random number with y; the chance of +1 is (1 + y) / 2"),
        (-y[0], "the chances are exchanged: +1 with probability (1 + y) / 2"),
        (0 * y[0], "all bits are a fair coin's; the chance of +1 has to depend on y"),
    ):
        if torch.allclose(mean, wrong, atol=FOUR_SIGMA):
            raise Wrong(words)
    if not torch.allclose(mean, y[0], atol=FOUR_SIGMA):
        raise Wrong(
            f"for y = {y[0, 4]:.1f} the mean of many draws is {mean[4]:.2f}, for {y[0, 0]:.1f} it is "
            f"{mean[0]:.2f}; it should be y"
        )
