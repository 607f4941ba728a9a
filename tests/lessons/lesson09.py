"""Right answers in other words, and mistakes, for the exercises of lesson 09."""

import operator
from itertools import pairwise

import numpy as np
import torch

from rgru_lab.lessons.exercises import lesson09


def _with_numpy(curve, target):
    sizes, qualities = np.array(curve).T
    last = int(qualities.argmax()) + 1
    if not qualities[0] <= target <= qualities[last - 1]:
        return None
    return np.interp(target, qualities[:last], sizes[:last])


def _between(value):
    """A walk along the curve that returns `value(share, size, next_size)`."""

    def size_at(curve, target):
        for (size, quality), (next_size, next_quality) in pairwise(curve):
            if quality <= target <= next_quality:
                return value((target - quality) / (next_quality - quality), size, next_size)
        return None

    return size_at


def _strict(first, second):
    """A walk along the curve with other comparisons."""

    def size_at(curve, target):
        found = (
            lesson09._size_at([a, b], target)
            for a, b in pairwise(curve)
            if first(a[1], target) and second(target, b[1])
        )
        return next(found, None)

    return size_at


def _clamped(curve, target):
    sizes, qualities = np.array(sorted(curve, key=lambda pair: pair[1])).T
    return float(np.interp(target, qualities, sizes))


def _last(curve, target):
    found = [lesson09._size_at([a, b], target) for a, b in pairwise(curve)]
    backwards = [lesson09._size_at([b, a], target) for a, b in pairwise(curve)]
    return next((x for x in reversed([y for pair in zip(found, backwards, strict=True) for y in pair]) if x), None)


def _names(wins, size=lesson09._size_from):
    """`wins(ours, theirs)` decides on the sizes, either of which may be None."""

    def jpeg_wins(pictures, target):
        return [name for name, both in pictures.items() if wins(*(size(curve, target) for curve in both))]

    return jpeg_wins


def _only_measured(pictures, target):
    """Theirs is not asked for its first file, which may be better already."""
    sizes = {name: (lesson09._size_from(a, target), lesson09._size_at(b, target)) for name, (a, b) in pictures.items()}
    return [name for name, (ours, theirs) in sizes.items() if _or_infinite(theirs) < _or_infinite(ours)]


def _or_infinite(x):
    return float("inf") if x is None else x


VARIANTS = {
    "09.1": [
        lambda ours, theirs: (theirs - ours) / theirs * 100,
        lambda ours, theirs: torch.tensor(100.0) - 100 * ours / theirs,
    ],
    "09.2": [_with_numpy, _between(lambda share, a, b: round((1 - share) * a + share * b, 4))],
    "09.3": [
        lambda pictures, target: set(lesson09._jpeg_wins(pictures, target)),
        lambda pictures, target: tuple(reversed(lesson09._jpeg_wins(pictures, target))),
        _names(lambda ours, theirs: _or_infinite(theirs) < _or_infinite(ours)),
    ],
}

MISTAKES = {
    "09.1": [
        (lambda ours, theirs: 100 * (ours / theirs - 1), "sign"),
        (lambda ours, theirs: 1 - ours / theirs, "multiply it by 100"),
        (lambda ours, theirs: 100 * ours / theirs, "what is left"),
        (lambda ours, theirs: 100 * (theirs / ours - 1), "divide by theirs"),
        (lambda ours, theirs: theirs - ours, "bytes"),
        (lambda ours, theirs: max(0, 100 * (1 - ours / theirs)), "negative"),
        (lambda ours, theirs: abs(100 * (1 - ours / theirs)), "no abs"),
        (lambda ours, theirs: 100 * (1 - theirs / ours), "exchanged"),
        (lambda ours, theirs: round(100 * (1 - ours / theirs), 1), "right, but rounded"),
        (lambda ours, theirs: round(100 * (1 - ours / theirs)), "right, but rounded"),
        (lambda ours, theirs: ours, "instead of"),
        (lambda ours, theirs: "25 %", "str"),
    ],
    "09.2": [
        (_between(lambda share, a, b: share), "share of the way"),
        (_between(lambda share, a, b: b - share * (b - a)), "wrong end"),
        (_between(lambda share, a, b: share * (b - a)), "add the first size"),
        (_between(lambda share, a, b: a), "point's own size"),
        (_between(lambda share, a, b: b), "point's own size"),
        (lambda curve, target: target, "that is a quality"),
        (lambda curve, target: curve, "list"),
        (_clamped, "return None"),
        (_strict(operator.lt, operator.lt), "exactly a point's quality, 0.95, gives None"),
        (_strict(operator.lt, operator.le), "exactly a point's quality, 0.8, gives None"),
        (_strict(operator.le, operator.lt), "exactly a point's quality, 0.97, gives None"),
        (_last, "first crossing"),
        (lambda curve, target: _between(lambda s, a, b: a + s * (b - a))(curve, target) or curve[0][0], "first point"),
        (lambda curve, target: np.nan, "instead of"),
        (lambda curve, target: lesson09._size_at(curve[:3], target), "gets there"),
    ],
    "09.3": [
        (lambda pictures, target: pictures, "unchanged"),
        (lambda pictures, target: 2, "number 2"),
        (lambda pictures, target: "jpeg is smaller", "one name"),
        (_names(lambda ours, theirs: _or_infinite(ours) < _or_infinite(theirs)), "turned round"),
        (_names(lambda ours, theirs: ours is None or (theirs is not None and theirs < ours)), "neither codec"),
        (_names(lambda ours, theirs: None not in (ours, theirs) and theirs < ours), "ours never does"),
        (_names(lambda ours, theirs: theirs < ours), "ask `is None` before comparing"),
        (lambda pictures, target: [*pictures].sort()[:1], "list.sort() and print(...) return nothing"),
        (_only_measured, "first file is better and smaller, JPEG wins"),
        (_names(lambda ours, theirs: theirs is not None and theirs <= _or_infinite(ours)), "both need the same"),
        (lambda *a: iter(lesson09._jpeg_wins(*a)), "return a list"),
        (
            _names(lambda ours, theirs: _or_infinite(theirs) < _or_infinite(ours), lesson09._size_at),
            "first file is better",
        ),
        (_names(lambda ours, theirs: ours is None and theirs is not None), "is missing"),
        (_names(lambda ours, theirs: theirs is None and ours is not None), "JPEG never"),
        (lambda pictures, target: lesson09._jpeg_wins(pictures, 0.95), "at 0.85"),
        (lambda pictures, target: lesson09._jpeg_wins(pictures, target) * 2, "twice"),
        (lambda pictures, target: [target], "no names"),
    ],
}
