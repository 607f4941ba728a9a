"""Exercises of lesson 08, bits are not all equal."""

from functools import cache

import numpy as np

from rgru_lab import codec, model, photos
from rgru_lab.lessons import Wrong, exercise
from rgru_lab.lessons.exercises import given

FRAME = 2
"""Rows and columns of zeros around the bits that a context may look at."""

ENOUGH = 300
"""So many contexts can still be learned from the plane: left, above and channel make 288."""


def _entropy():
    def entropy(p):
        p = np.clip(p, 1e-9, 1 - 1e-9)
        return -p * np.log2(p) - (1 - p) * np.log2(1 - p)

    return entropy


@exercise("08.1", "entropy", _entropy)
def entropy(answer):
    p = np.array([0.1, 0.5, 0.9, 0.999, 0.3])
    one = given(answer(0.9))
    if np.ndim(one):
        raise Wrong(f"for the number 0.9 it returns the shape {tuple(np.shape(one))}; one number gives one number")
    try:
        got = np.asarray(answer(p.copy()), dtype=float)
    except TypeError:
        raise Wrong(
            "it takes single numbers only; ours come in arrays: np.log2 takes both, math.log2 does not"
        ) from None
    expected = _entropy()(p)
    if got.shape != p.shape:
        raise Wrong(f"for {p.size} probabilities it returns the shape {got.shape}; give one entropy for each")
    if np.allclose(got, p):
        raise Wrong("it returns p unchanged")
    if np.allclose(got, -expected, atol=1e-4):
        raise Wrong("the sign is turned round: logarithms of probabilities are negative, an entropy is not")
    if np.allclose(got, expected * np.log(2), atol=1e-4):
        raise Wrong("these are natural logarithms; bits need the logarithm to the base 2: a fair coin is worth 1")
    if np.allclose(got, -np.log2(p), atol=1e-4):
        raise Wrong("this is what one +1 is worth; weigh it by its probability p and add the other outcome")
    if np.allclose(got, -p * np.log2(p), atol=1e-4) or np.allclose(got, -(1 - p) * np.log2(1 - p), atol=1e-4):
        raise Wrong("one of two outcomes is missing: +1 comes with p, and -1 with 1 - p")
    if np.allclose(got, -np.log2(p) - np.log2(1 - p), atol=1e-4):
        raise Wrong("both outcomes are counted fully; each counts as often as it comes, p and 1 - p of the time")
    if not np.allclose(got, expected, atol=1e-4):
        j = np.abs(got - expected).argmax()
        raise Wrong(f"H({p[j]}) comes out as {got[j]:.4f} where {expected[j]:.4f} belongs; compare with the equation")
    with np.errstate(all="ignore"):
        sure = np.asarray(answer(np.array([0.0, 1.0])), dtype=float)
    if not np.allclose(sure, 0, atol=1e-3):
        raise Wrong(
            f"for p = 0 and p = 1 it gives {sure[0]:.3g} and {sure[1]:.3g}; certainty is worth 0: keep the clip"
        )


def _context():
    def context(known, k, y, x):
        return known[k, y, x - 1], known[k, y - 1, x]

    return context


@cache
def _plane():
    """B[1] of the lesson's photo, (32, 18, 28)."""
    photo = photos.sample("astronaut")[:288, 32:480]
    return next(codec.encode(model.load("small").model, photo, 1))[0]


def _cost(plane, context):
    """Bits per bit, and how many contexts there were."""
    bits, h, w = plane.shape
    known = np.zeros((bits, h + 2 * FRAME, w + 2 * FRAME), np.int8)
    counts, cost = {}, 0.0
    for k, y, x in np.ndindex(plane.shape):
        seen = counts.setdefault(context(known, k, y + FRAME, x + FRAME), [0.5, 0.5])
        bit = int(plane[k, y, x] > 0)
        cost -= np.log2(seen[bit] / sum(seen))
        seen[bit] += 1
        known[k, y + FRAME, x + FRAME] = plane[k, y, x]
    return cost / plane.size, len(counts)


def _sees(answer, known, *places):
    """Whether a context changes when the bits do that stand so many rows down and columns right of the one to come."""
    for k, y, x in np.ndindex(3, 4, 4):
        other = known.copy()
        for rows, columns in places:
            other[k, y + 6 + rows, x + 6 + columns] *= -1
        if answer(known, k, y + 6, x + 6) != answer(other, k, y + 6, x + 6):
            return True
    return False


@exercise("08.2", "design a context", _context)
def context(answer):
    plane = _plane()
    known = np.pad(plane, ((0, 0), (FRAME, FRAME), (FRAME, FRAME)))
    before = known.copy()
    try:
        first = given(answer(known, 2, 5, 7))
    except IndexError:
        raise Wrong("`known` has three axes: channel, row, column; [k, y, x] is the bit to come") from None
    parts = first if isinstance(first, tuple) else ()
    if any(part is ... for part in parts):
        raise NotImplementedError
    try:
        hash(first)
    except TypeError:
        inside = [f" with a {type(part).__name__} in it" for part in parts if type(part).__hash__ is None]
        kind = type(first).__name__ + "".join(inside[:1])
        raise Wrong(f"no dictionary can look up a {kind}; return a tuple of bits, each `known[k, y, x]`") from None
    if not np.array_equal(known, before):
        raise Wrong("it changes `known`, which belongs to the coder; only read it")
    try:
        cost, contexts = _cost(plane, answer)
    except IndexError:
        raise Wrong(
            "it looks past the edge of `known`, which has a frame of two zeros; look at most two rows or columns away, "
            "and at channels before k"
        ) from None
    goal = _cost(plane, _context())[0]
    if cost <= 1.02 * goal:
        return
    said = f"B[1] takes {cost:.3f} bits per bit, with left and above {goal:.3f}"
    unknown = [place for place in ((0, 0), (0, 1), (1, 0)) if _sees(answer, known, place)]
    if contexts == 1 and unknown:
        raise Wrong(
            "what it looks at is not known yet when a bit is coded, and so always 0; look left, at x - 1, and above, "
            "at y - 1"
        )
    if contexts == 1:
        raise Wrong(f"every bit gets the same context, and so the same probability: {said}; look at neighbours")
    left, above, below = (_sees(answer, known, place) for place in ((0, -1), (-1, 0), (1, 0)))
    if below and not above:
        raise Wrong("it looks below, at y + 1, where nothing is known yet; rows count from the top, so above is y - 1")
    if not left and not above:
        raise Wrong(f"it tells channels or places apart, or looks elsewhere: {said}; look left and above")
    if not left or not above:
        one, other = ("left", "above") if left else ("above", "left")
        raise Wrong(f"it looks {one} but not {other}: {said}; do you look at both?")
    if not _sees(answer, known, (0, -1), (-1, 0)):
        raise Wrong(f"it looks left and above, but does not tell the two apart: {said}; return both, in a tuple")
    if contexts > ENOUGH:
        raise Wrong(f"{contexts:,} contexts are too many to learn from {plane.size:,} bits; use fewer: {said}")
    raise Wrong(f"it looks left and above, and something in it makes that worse: {said}; leave out the rest")


def _iterations_for():
    def iterations_for(ends_bytes, budget_bytes):
        return sum(end <= budget_bytes for end in ends_bytes)

    return iterations_for


@exercise("08.3", "a budget of bytes", _iterations_for)
def iterations_for(answer):
    ends = (300, 800, 1500, 2400)
    got = given(answer(ends, 1600))
    if isinstance(got, (tuple, list, str)) or np.ndim(got):
        raise Wrong(f"it returns a {type(got).__name__}; return one whole number")
    if got in ends:
        raise Wrong(f"it returns a size, {got} bytes; asked is the number of iterations")
    if got == 2:
        raise Wrong(
            "of iterations that end at 300, 800, 1,500 and 2,400 bytes three fit into 1,600 bytes, and it says 2; "
            "these are sums already, and counting begins at 1"
        )
    if got != 3:
        raise Wrong(f"for sizes 300, 800, 1,500, 2,400 and 1,600 bytes it gives {got!r}; three iterations fit")
    if answer(ends, 1500) != 3:
        raise Wrong("a file of exactly 1,500 bytes fits into 1,500 bytes: use <=")
    try:
        none = answer(ends, 299)
    except (IndexError, ValueError) as error:
        raise Wrong(
            f"for 299 bytes, less than iteration 1 takes, it stops with {type(error).__name__}; return 0"
        ) from None
    if none != 0 or isinstance(none, bool):
        raise Wrong(f"for 299 bytes, less than iteration 1 takes, it gives {none!r}; no iteration fits: 0")
    try:
        most = answer(ends, 10**6)
    except StopIteration:
        most = None
    if most != 4:
        raise Wrong("for a million bytes it does not give 4, all that there are")
    random = np.random.default_rng(0)
    for _ in range(50):
        sizes = np.cumsum(random.integers(1, 50, random.integers(1, 17))).tolist()
        budget = int(random.integers(0, 500))
        if answer(sizes, budget) != _iterations_for()(sizes, budget):
            raise Wrong(f"for the sizes {sizes} and {budget} bytes it gives {answer(sizes, budget)!r}")
