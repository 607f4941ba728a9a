"""The exercises of the lessons: for each a reference and a test of properties that says what is wrong in words."""

import contextlib
import math
import numbers

from rgru_lab.lessons import Wrong


def number(value) -> float:
    """What a learner's function returned, as a float; 0-d arrays and tensors are numbers too."""
    if value is None or value is ...:
        raise NotImplementedError
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Wrong(f"it returns a {type(value).__name__}; one number is expected") from None


def near(value: float, expected: float) -> bool:
    """Equal to three digits: more than a learner's way of rounding can move."""
    return math.isclose(value, expected, rel_tol=1e-3, abs_tol=1e-3)


def real(got, what: str) -> float:
    """What a learner's function returned, which must be a number itself, or one in a tensor or an array.

    Args:
        got: the answer; None and `...` are no answer yet.
        what: what it should be, in words.
    """
    if got is None or got is ...:
        raise NotImplementedError
    with contextlib.suppress(AttributeError, RuntimeError, ValueError):
        got = got.item()
    if isinstance(got, bool) or not isinstance(got, numbers.Real):
        raise Wrong(f"it returns a {type(got).__name__}; {what} is one number")
    return got
