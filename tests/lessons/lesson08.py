"""Right answers in other words, and mistakes, for the exercises of lesson 08."""

import bisect
import math

import numpy as np
import torch


def _with_scipy(p):
    from scipy.special import entr

    return (entr(p) + entr(1 - np.asarray(p))) / np.log(2)


def _in_a_list(p):
    def one(p):
        return 0.0 if p in (0, 1) else -sum(q * math.log2(q) for q in (p, 1 - p))

    return one(p) if np.isscalar(p) else [one(float(each)) for each in p]


def in_torch(p):
    p = torch.as_tensor(p).clamp(1e-6, 1 - 1e-6)
    return -p * p.log2() - (1 - p) * (1 - p).log2()


def _unclipped(p):
    p = np.asarray(p, float)
    return -p * np.log2(p) - (1 - p) * np.log2(1 - p)


def _clipped(entropy):
    return lambda p: entropy(np.clip(p, 1e-9, 1 - 1e-9))


def _changes(known, k, y, x):
    known[k, y, x] = 1
    return known[k, y, x - 1], known[k, y - 1, x]


def _loop(ends, budget):
    n = 0
    for end in ends:
        if end > budget:
            break
        n += 1
    return n


VARIANTS = {
    "08.1": [_with_scipy, _in_a_list, in_torch, _clipped(lambda p: -(np.log2(p) * p + np.log2(1 - p) * (1 - p)))],
    "08.2": [
        lambda b, k, y, x: f"{b[k, y, x - 1]} {b[k, y - 1, x]}",
        lambda b, k, y, x: int(b[k, y, x - 1]) + b[k, y - 1, x],
        lambda b, k, y, x: (int(b[k, y, x - 1]), int(b[k, y - 1, x]), int(b[k, y - 1, x + 1])),
        lambda b, k, y, x: (b[k, y, x - 1], b[k, y - 1, x], b[k - 1, y, x], b[k - 1, y + 1, x], b[k - 1, y, x + 1]),
        lambda b, k, y, x: (b[k, y, x - 1], b[k, y - 1, x], b[k, y - 1, x + 2]),
        lambda b, k, y, x: (b[k, y, x - 2], b[k, y, x - 1], b[k, y - 2, x], b[k, y - 1, x]),
        lambda b, k, y, x: 2 * int(b[k, y, x - 1] + b[k, y - 1, x]) + b[k, y - 1, x - 1] + b[k, y - 1, x + 1],
    ],
    "08.3": [
        _loop,
        lambda ends, budget: bisect.bisect_right(ends, budget),
        lambda ends, budget: int(np.searchsorted(ends, budget, side="right")),
        lambda ends, budget: max([i for i, end in enumerate(ends, 1) if end <= budget], default=0),
    ],
}

MISTAKES = {
    "08.1": [
        (lambda p: p, "unchanged"),
        (lambda p: -_unclipped(p), "sign"),
        (lambda p: _unclipped(p) * math.log(2), "natural"),
        (lambda p: -np.log2(p), "weigh it"),
        (lambda p: -p * np.log2(p), "outcomes is missing"),
        (lambda p: np.atleast_1d(_unclipped(p)), "one number gives one number"),
        (lambda p: 1 - p, "H(0.5) comes out as 0.5000"),
        (lambda p: -np.log2(p) - np.log2(1 - p), "counted fully"),
        (_unclipped, "certainty"),
        (lambda p: -p * math.log2(p) - (1 - p) * math.log2(1 - p), "single numbers"),
        (lambda p: float(np.mean(_unclipped(p))), "one entropy for each"),
    ],
    "08.2": [
        (lambda b, k, y, x: b, "ndarray"),
        (lambda b, k, y, x: [b[k, y, x - 1], b[k, y - 1, x]], "list"),
        (lambda b, k, y, x: (b[k, y, x - 1], b[k, y - 1, x : x + 2]), "tuple with a ndarray in it"),
        (lambda b, k, y, x: 0, "same context"),
        (lambda b, k, y, x: b[k, y, x], "not known yet"),
        (lambda b, k, y, x: (b[k, y, x + 1], b[k, y + 1, x]), "not known yet"),
        (lambda b, k, y, x: k, "channels or places apart"),
        (lambda b, k, y, x: (y, x), "channels or places apart"),
        (lambda b, k, y, x: b[k, y, x - 1], "left but not above"),
        (lambda b, k, y, x: b[k, y - 1, x], "above but not left"),
        (lambda b, k, y, x: b[k, y, x - 1] * b[k, y - 1, x], "does not tell the two apart"),
        (lambda b, k, y, x: (b[k, y, x - 1], b[k, y - 1, x : x + 3].tobytes(), k, y), "too many to learn from"),
        (lambda b, k, y, x: (b[k, y, x - 1] * b[k, y - 1, x], k), "does not tell the two apart"),
        (lambda b, k, y, x: (b[k, y, x - 1], b[k, y - 1, x], k) if k < 10 else 0, "something in it makes that worse"),
        (lambda b, k, y, x: (b[k, y, x - 1], b[k, y - 1, x + 3]), "past the edge"),
        (lambda b, k, y, x: (b[k, y, x - 1], b[k - 31, y - 1, x]), "left but not above"),
        (lambda b, k, y, x: (b[k, y, x - 1], b[k, y + 1, x]), "looks below"),
        (lambda b, k, y, x: b[y - 1, x], "each `known[k, y, x]`"),
        (lambda b, k, y, x: b[k, y - 1, x, 0], "three axes"),
        (_changes, "changes `known`"),
    ],
    "08.3": [
        (lambda ends, budget: ends, "tuple"),
        (lambda ends, budget: max(end for end in ends if end <= budget), "a size"),
        (lambda ends, budget: sum(end < budget for end in ends), "use <="),
        (lambda ends, budget: _loop(ends, budget) - 1, "counting begins at 1"),
        (lambda ends, budget: _loop(np.cumsum(ends), budget), "sums already"),
        (lambda ends, budget: max(1, _loop(ends, budget)), "no iteration fits"),
        (lambda ends, budget: [i for i, end in enumerate(ends, 1) if end <= budget][-1], "IndexError"),
        (lambda ends, budget: next(i for i, end in enumerate(ends) if end > budget), "all that there are"),
        (lambda ends, budget: len(ends), "three iterations fit"),
        (lambda ends, budget: min(3, _loop(ends, budget)), "all that there are"),
    ],
}
