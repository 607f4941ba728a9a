"""Formulas that work number by number, each as one piece of work where that pays.

A sum, a sigmoid, a product: each reads its operands from memory and writes its result back, and on a large GPU that
is what a recurrent cell's time goes into. `torch.compile` makes one kernel of the whole formula. It is slow to begin
with and wants a compiler, so only a long training asks for it.
"""

import contextlib
from collections.abc import Callable
from functools import wraps

import torch

_fused = False


def fusable(formula: Callable) -> Callable:
    """The formula, which runs as one kernel within `fusing` and step by step elsewhere; of any number of shapes."""
    compiled = torch.compile(formula, dynamic=True)

    @wraps(formula)
    def either(*args):
        return compiled(*args) if _fused else formula(*args)

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
