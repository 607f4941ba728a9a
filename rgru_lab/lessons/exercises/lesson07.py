"""Exercises of lesson 07, training."""

import math

import numpy as np

from rgru_lab.lessons import Wrong, exercise
from rgru_lab.lessons.exercises import given, number
from rgru_lab.patches import png_bytes


def _hard_corners():
    def hard_corners(photo, size, share):
        height, width = photo.shape[:2]
        corners = [(y, x) for y in range(0, height - size + 1, size) for x in range(0, width - size + 1, size)]
        corners.sort(key=lambda at: png_bytes(photo[at[0] : at[0] + size, at[1] : at[1] + size]), reverse=True)
        return corners[: max(1, round(share * len(corners)))]

    return hard_corners


@exercise("07.1", "choose the hard tiles", _hard_corners)
def hard_corners(answer):
    size, rows, columns = 16, 4, 5
    noise = np.random.default_rng(0)
    photo = np.empty((rows * size + 5, columns * size + 7, 3), np.uint8)  # what is left over is not a tile
    photo[:, ::2], photo[:, 1::2] = 0, 255  # stripes: much contrast and few bytes
    hard = noise.permutation(rows * columns)
    for strength, tile in enumerate(hard):  # the later, the more of its pixels are noise: no two tiles are alike
        y, x = size * (tile // columns), size * (tile % columns)
        noisy = size * size * strength // (rows * columns)
        pixels = photo[y : y + size, x : x + size].reshape(-1, 3).copy()
        pixels[:noisy] = noise.integers(0, 256, (noisy, 3))
        photo[y : y + size, x : x + size] = pixels.reshape(size, size, 3)
    expected = _hard_corners()(photo, size, 1.0)
    for share, count in ((0.25, 5), (0.001, 1), (1.0, 20)):
        try:
            got = given(answer(photo.copy(), size, share))
        except KeyError:
            raise Wrong("it looks into a dictionary of another photo; cut each tile out of `photo`") from None
        try:
            got = [(int(top), int(left)) for top, left in got]
        except (TypeError, ValueError):
            raise Wrong("it should return a list of corners, each a pair (top, left)") from None
        if got and set(got) <= {(x, y) for y, x in expected} and not set(got) <= set(expected):
            raise Wrong("left and top are exchanged; a corner is (top, left)")
        if not set(got) <= set(expected):
            raise Wrong(
                "some corners are no tile's; use those of this `photo`: side by side from (0, 0), whole ones only"
            )
        if len(got) != count:
            raise Wrong(f"with a share of {share} of {len(expected)} tiles it returns {len(got)}; it should be {count}")
        if count < 20 and set(got) == set(expected[-count:]):
            raise Wrong("it returns the easiest tiles; the hardest are those with the most bytes")
        if set(got) != set(expected[:count]):
            raise Wrong("these are not the tiles with the most PNG bytes")


def _learning_rate():
    def learning_rate(step, progress, peak, warmup_steps):
        cosine = 0.5 * (1 + math.cos(math.pi * progress))
        return peak * min(1.0, (step + 1) / warmup_steps) * (0.01 + 0.99 * cosine)

    return learning_rate


@exercise("07.2", "the learning rate over time", _learning_rate)
def learning_rate(answer):
    def rate(step, progress, peak=2e-3, warmup_steps=50):
        return number(answer(step, progress, peak, warmup_steps))

    if math.isclose(rate(0, 0.0), 0.0, abs_tol=1e-9):
        raise Wrong(
            "step 0 has a rate of 0, so nothing is learned from it; it should have 1 / warmup_steps of the peak"
        )
    if not math.isclose(rate(49, 0.0), 2e-3, rel_tol=1e-6):
        raise Wrong(
            f"at the end of the warm-up, step 49 of 50, progress 0, it is {rate(49, 0.0):g} instead of the peak, 0.002"
        )
    if rate(400, 0.0) > 2e-3 * 1.001:
        raise Wrong("after the warm-up it goes on rising; min(1, ...) stops it")
    if rate(50, 0.0) > 2e-3 * 1.001:
        raise Wrong("at step warmup_steps the warm-up is over 1; it stays at 1 from step warmup_steps - 1 on")
    if rate(50, 0.0) == 0:
        raise Wrong("after the warm-up it is 0; the warm-up stays at 1")
    if not math.isclose(rate(0, 0.0), 2e-3 / 50, rel_tol=1e-6):
        raise Wrong(f"step 0 has {rate(0, 0.0):g}; with 50 steps of warm-up it should be {2e-3 / 50:g}")
    if math.isclose(rate(900, 1.0), 0.0, abs_tol=1e-9):
        raise Wrong("it ends at 0; it should end at one hundredth of the peak")
    if math.isclose(rate(900, 1.0), 2e-3 * (0.01 + 0.99 * (1 + math.cos(180)) / 2), rel_tol=1e-4):
        raise Wrong("half a turn is π and not 180: cos takes radians")
    if not math.isclose(rate(900, 1.0), 2e-5, rel_tol=1e-4):
        raise Wrong(f"at progress 1 it is {rate(900, 1.0):g}; one hundredth of the peak is {2e-5:g}")
    for step, progress in ((10, 0.2), (300, 0.3), (500, 0.5), (800, 0.8)):
        expected = _learning_rate()(step, progress, 2e-3, 50)
        if not math.isclose(rate(step, progress), expected, rel_tol=1e-4):
            raise Wrong(
                f"at step {step} and progress {progress} it is {rate(step, progress):g} instead of {expected:g}"
            )


def _winner():
    def winner(first, second):
        if min(first) > max(second):
            return "first"
        return "second" if min(second) > max(first) else "tie"

    return winner


@exercise("07.3", "who has won?", _winner)
def winner(answer):
    cases = [
        ([0.65, 0.66], [0.60, 0.61], "first"),
        ([0.60, 0.61], [0.65, 0.66], "second"),
        ([0.65, 0.50], [0.55, 0.54], "tie"),
        ([0.7, 0.7, 0.61], [0.6, 0.62, 0.5], "tie"),
        ([0.5, 0.5], [0.5, 0.5], "tie"),
        ([0.9], [0.1, 0.2, 0.3], "first"),
    ]
    for first, second, expected in cases:
        got = answer(list(first), list(second))
        if got is None and first is not cases[0][0]:
            raise Wrong(f"for {first} against {second} it returns None; that way through it ends without `return`")
        got = given(got)
        if got not in ("first", "second", "tie"):
            raise Wrong(f'it returns {str(got)[:40]!r}; it should return "first", "second" or "tie"')
        if got == expected:
            continue
        if expected == "tie":
            raise Wrong(f'{first} against {second} is called "{got}", but the seeds overlap: that is a tie')
        raise Wrong(f'{first} against {second} is called "{got}"; every seed of the {expected} is better')
