"""Right answers in other words, and mistakes, for the exercises of lesson 07."""

import math

import numpy as np
import torch

from rgru_lab.patches import png_bytes


def _corners(photo, size):
    height, width = photo.shape[:2]
    return [(y, x) for y in range(0, height - size + 1, size) for x in range(0, width - size + 1, size)]


def _chooser(*, hardest=True, flip=False, least=1, step=1.0):
    def hard_corners(photo, size, share):
        corners = _corners(photo, int(size * step))
        bytes_of = {(y, x): png_bytes(photo[y : y + size, x : x + size]) for y, x in corners}
        ordered = sorted(corners, key=bytes_of.get, reverse=hardest)[: max(least, round(share * len(corners)))]
        return [(x, y) for y, x in ordered] if flip else ordered

    return hard_corners


def _by_contrast(photo, size, share):
    corners = _corners(photo, size)
    corners.sort(key=lambda at: photo[at[0] : at[0] + size, at[1] : at[1] + size].std(), reverse=True)
    return corners[: max(1, round(share * len(corners)))]


def _by_numpy(photo, size, share):
    corners = np.array(_corners(photo, size))
    sizes = np.array([png_bytes(photo[y : y + size, x : x + size]) for y, x in corners])
    return corners[np.argsort(-sizes, kind="stable")[: max(1, int(share * len(corners) + 0.5))]]


def _rate(warmup=lambda step, n: min(1, (step + 1) / n), floor=0.01, turn=math.pi):
    def learning_rate(step, progress, peak, warmup_steps):
        cosine = floor + (1 - floor) * (1 + math.cos(turn * progress)) / 2
        return peak * warmup(step, warmup_steps) * cosine

    return learning_rate


VARIANTS = {
    "07.1": [
        _by_numpy,
        lambda *a: [list(corner) for corner in _chooser()(*a)],
        lambda *a: [torch.tensor(corner) for corner in _chooser()(*a)],
    ],
    "07.2": [lambda s, p, peak, n: peak * (1 if s >= n else (s + 1) / n) * (0.505 + 0.495 * math.cos(math.pi * p))],
    "07.3": [lambda a, b: "first" if min(a) > max(b) else "second" if max(a) < min(b) else "tie"],
}

MISTAKES = {
    "07.1": [
        (_chooser(hardest=False), "easiest"),
        (_by_contrast, "easiest"),
        (_chooser(flip=True), "exchanged"),
        (_chooser(least=0), "returns 0"),
        (_chooser(step=0.5), "no tile's"),
        (lambda photo, size, share: photo, "pair"),
        (lambda photo, size, share: _corners(photo, size).sort()[:1], "list.sort() and print(...) return nothing"),
        (lambda photo, size, share: {}[0, size], "another photo"),
        (lambda photo, size, share: _corners(photo, size)[: max(1, round(share * 20))], "most PNG bytes"),
    ],
    "07.2": [
        (_rate(warmup=lambda step, n: min(1, step / n)), "step 0 has a rate of 0"),
        (_rate(warmup=lambda step, n: (step + 1) / n), "goes on rising"),
        (_rate(warmup=lambda step, n: (step + 1) / n if step <= n else 1), "is over 1"),
        (_rate(warmup=lambda step, n: (step + 1) / n if step < n else 0), "after the warm-up it is 0"),
        (_rate(warmup=lambda step, n: 1), "step 0 has"),
        (_rate(floor=0.0), "ends at 0"),
        (_rate(turn=180), "radians"),
        (lambda *a: a[2] * _rate()(*a), "instead of the peak, 0.002"),
        (lambda *a: [_rate()(*a)], "one number"),
        (lambda s, p, peak, n: peak * min(1, (s + 1) / n) * (1 - 0.99 * p), "at step"),
        (lambda s, p, peak, n: peak * min(1, (s + 1) / n), "at progress 1"),
    ],
    "07.3": [
        (lambda a, b: "first" if sum(a) / len(a) > sum(b) / len(b) else "second", "overlap"),
        (lambda a, b: "tie", "every seed of the first"),
        (lambda a, b: a, "should return"),
        (lambda a, b: "first" if min(a) > max(b) else None, "ends without `return`"),
        (lambda a, b: "second" if min(a) > max(b) else "first" if min(b) > max(a) else "tie", "every seed"),
    ],
}
