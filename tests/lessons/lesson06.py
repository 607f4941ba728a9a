"""Right answers in other words, and mistakes, for the exercises of lesson 06."""

import bisect

import numpy as np
import torch

from rgru_lab.codec import unroll
from rgru_lab.lessons.exercises.lesson06 import _loop


def _by_the_kit(coder, x, n):
    return [step.picture for _, step in zip(range(n), unroll(coder, x), strict=False)]


def _residuals(coder, x, n):
    return [step.residual for _, step in zip(range(n), unroll(coder, x), strict=False)]


def _bits(coder, x, n):
    return [step.bits for _, step in zip(range(n), unroll(coder, x), strict=False)]


def _states_mixed_up(coder, x, n):
    bits, state = coder.encode(x, None)
    return coder.decode(bits, state)


def _swapped(coder, x, n):
    bits, _ = coder.encode(x, None)
    _, output = coder.decode(bits, None)
    return [coder.reconstruct(output, None, 1.0)] * n


def _first_gap_open(coder, x, n):
    output, decoder_state = ...
    return output, decoder_state


def _without_reconstruct(coder, x, n):
    encoder_state = decoder_state = picture = None
    r, pictures = x, []
    for _ in range(n):
        bits, encoder_state = coder.encode(coder.gain(picture) * r, encoder_state)
        picture, decoder_state = coder.decode(bits, decoder_state)
        r = x - picture
        pictures.append(picture)
    return pictures


def _additive(combine):
    return lambda output, previous, gain: output / gain if previous is None else combine(output, previous, gain)


def _first(curve, target, *, start=1, hit=lambda value, target: value >= target, never=None):
    for n, value in enumerate(curve, start=start):
        if hit(value, target):
            return n
    return never


def _counted_down(curve, target):
    hits = [n for n in range(len(curve), 0, -1) if curve[n - 1] >= target]
    return hits[-1] if hits else None


VARIANTS = {
    "06.1": [_by_the_kit, lambda *a: torch.stack(_by_the_kit(*a))],
    "06.2": [
        lambda output, previous, gain: (0 if previous is None else previous) + output / gain,
        _additive(lambda output, previous, gain: (gain * previous + output) / gain),
    ],
    "06.3": [
        _counted_down,
        lambda curve, target: (
            int(np.argmax(np.array(curve) >= target)) + 1 if (np.array(curve) >= target).any() else None
        ),
        lambda curve, target: np.int64(_first(curve, target)) if max(curve) >= target else None,
    ],
}

MISTAKES = {
    "06.1": [
        (lambda coder, x, n: coder, "codec itself"),
        (lambda coder, x, n: [x] * n, "P[1] is the first"),
        (lambda *a: _by_the_kit(*a)[-1], "one picture"),
        (lambda *a: _by_the_kit(*a)[1:], "3 things"),
        (_bits, "list holds"),
        (_residuals, "returns the residuals"),
        (_loop(lambda x, p, r, g: r), "never changes"),
        (_loop(lambda x, p, r, g: p - x), "wrong sign"),
        (_loop(lambda x, p, r, g: r - p), "old one"),
        (_loop(gain=False), "gain is missing"),
        (_loop(encoder=False), "encoder begins"),
        (_loop(decoder=False), "decoder begins"),
        (_loop(lambda x, p, r, g: (x - p) / 2), "P[2] is the first"),
        (_loop(lambda x, p, r, g: g * (x - p)), "multiplied by g twice"),
        (_loop(lambda x, p, r, g: 3 * (x - p)), "the next pass's g"),
        (_loop(lambda x, p, r, g: ...), "a gap is still `...`; fill both"),
        (_first_gap_open, "a gap is still `...`; fill both"),
        (_states_mixed_up, "other half's memory"),
        (_loop(whole=False), "decoder's output"),
        (_without_reconstruct, "added up"),
        (lambda *a: (p for p in _by_the_kit(*a)), "return a list"),
        (lambda coder, x, n: unroll(coder, x), "return a list"),
        (lambda coder, x, n: coder.decoder(coder.encode(x)[0]), "instead of coder.decoder"),
        (lambda coder, x, n: coder.encoder(x), "instead of coder.encoder"),
        (_swapped, "picture first"),
    ],
    "06.2": [
        (lambda output, previous, gain: output, "unchanged"),
        (lambda output, previous, gain: previous, "not P[i-1]"),
        (lambda output, previous, gain: output / gain, "not in it"),
        (lambda output, previous, gain: previous + output / gain, "stops in iteration 1"),
        (_additive(lambda output, previous, gain: previous + output), "not undone"),
        (_additive(lambda output, previous, gain: previous + gain * output), "once more"),
        (_additive(lambda output, previous, gain: previous - output / gain), "sign"),
        (_additive(lambda output, previous, gain: (previous + output) / gain), "whole sum"),
        (
            lambda output, previous, gain: 0 * output if previous is None else previous + output / gain,
            "later iterations",
        ),
        (lambda output, previous, gain: output.mean(), "shape"),
        (_additive(lambda output, previous, gain: previous.add_(output / gain)), "changes its input"),
    ],
    "06.3": [
        (lambda curve, target: curve, "list"),
        (lambda curve, target: np.where(np.array(curve) >= target)[0] + 1, "a ndarray; wanted is one number"),
        (lambda curve, target: torch.tensor([_first(curve, target) or 0]), "a Tensor; wanted is one number"),
        (lambda curve, target: _first(curve, target, start=0), "from 0"),
        (lambda curve, target: _first(curve, target, hit=lambda v, t: v > t), ">="),
        (lambda curve, target: _first(curve, target, never=len(curve)), "None"),
        (lambda curve, target: next(v for v in curve if v >= target), "a quality"),
        (lambda curve, target: [v >= target for v in curve].index(True) + 1, "ValueError"),
        (lambda curve, target: len(curve), "and 0.1 it says 4; right is 1"),
        (lambda curve, target: max((n for n, v in enumerate(curve, 1) if v >= target), default=None), "right is"),
        (lambda curve, target: bisect.bisect_left(sorted(curve), target) + 1, "first hit"),
    ],
}
