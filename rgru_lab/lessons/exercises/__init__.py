"""The exercises of the lessons: for each a reference and a test of properties that says what is wrong in words."""

import contextlib
import math
import numbers
from collections.abc import Iterator

import torch

from rgru_lab.lessons import Wrong

NOTHING = "a gap is open, or a way through it ends without `return` (print is not enough)"

SWAPPED = "the decoder returns the picture first, then its memory"


def given(got):
    """What a learner's function returned; `...` and None are no answer yet."""
    if got is ...:
        raise NotImplementedError
    if got is None:
        raise NotImplementedError(NOTHING)
    return got


def number(value) -> float:
    """What a learner's function returned, as a float; 0-d arrays and tensors are numbers too."""
    return float(real(value, "the answer"))


def near(value: float, expected: float) -> bool:
    """Equal to three digits: more than a learner's way of rounding can move."""
    return math.isclose(value, expected, rel_tol=1e-3, abs_tol=1e-3)


def real(got, what: str) -> float:
    """What a learner's function returned, which must be a number itself, or one in a tensor or an array.

    Args:
        got: the answer; None and `...` are no answer yet.
        what: what it should be, in words.
    """
    got = given(got)
    with contextlib.suppress(AttributeError, RuntimeError, ValueError):
        got = got.item()
    if isinstance(got, bool) or not isinstance(got, numbers.Real):
        raise Wrong(f"it returns a {type(got).__name__}; {what} is one number")
    return got


def pictures_of(got) -> list:
    """The pictures that a learner's function returned, which must not be gone after one look."""
    if isinstance(got, Iterator):
        raise Wrong("it is a generator; the lesson uses the pictures more than once: return a list")
    return list(got)


def untouched(handed: torch.Tensor, original: torch.Tensor):
    """Refuse an answer that wrote into what it was handed."""
    if not torch.equal(handed, original):
        raise Wrong("it changes its input; work on a copy")
