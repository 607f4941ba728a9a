"""The exercises of the lessons: for each a reference and a test of properties that says what is wrong in words."""

import math

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
