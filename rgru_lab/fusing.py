"""Formulas that work number by number, each as one piece of work where that pays.

A sum, a sigmoid, a product: each reads its operands from memory and writes its result back, which on a large GPU takes
longer than computing them. `torch.compile` makes one kernel of the whole formula. It is slow to begin with and wants a
compiler, so only a long training on a GPU asks for it (data/results/recipe.md has what it brings).
"""

import contextlib
from collections.abc import Callable
from functools import cache, wraps

import torch

_fused = False


def fusable(formula: Callable) -> Callable:
    """The formula, which runs as one kernel within `fusing` and step by step elsewhere; of any number of shapes."""
    compiled = cache(
        lambda: torch.compile(formula, dynamic=True)
    )  # when asked for: the compiler's import takes seconds

    @wraps(formula)
    def either(*args):
        return (compiled() if _fused else formula)(*args)

    return either


@contextlib.contextmanager
def fusing(wanted: bool = True):
    """Within this block every `fusable` formula is one kernel, if that is wanted."""
    global _fused
    former, _fused = _fused, wanted
    try:
        yield
    finally:
        _fused = former
