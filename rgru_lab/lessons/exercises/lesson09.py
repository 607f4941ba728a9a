"""Exercises of lesson 09, against JPEG."""

import re
from collections.abc import Iterator
from itertools import pairwise

from rgru_lab.lessons import Wrong, exercise
from rgru_lab.lessons.exercises import NOTHING, given, near, number


@exercise("09.1", "per cent saved", lambda: lambda ours, theirs: 100 * (1 - ours / theirs))
def saved_percent(answer):
    for ours, theirs in ((750, 1000), (2100, 1700), (64, 80), (500, 500)):
        got, right = number(answer(ours, theirs)), 100 * (1 - ours / theirs)
        if near(got, right):
            continue
        case = f"for {ours} against {theirs} bytes it gives {got:.4g}"
        if near(got, -right) and right > 0:
            raise Wrong(f"{case}: the sign is turned round; positive means that ours is smaller")
        if near(got, right / 100):
            raise Wrong(f"{case}: a share, not per cent; multiply it by 100")
        if near(got, 100 * ours / theirs):
            raise Wrong(f"{case}: that is what is left; what is saved is the rest of 100")
        if near(got, 100 * (theirs / ours - 1)):
            raise Wrong(f"{case}: relative to ours, that is how much larger theirs is; divide by theirs")
        if near(got, theirs - ours):
            raise Wrong(f"{case}: these are bytes; divide them by theirs for a share")
        if near(got, 100 * (1 - theirs / ours)):
            raise Wrong(f"{case}: ours and theirs are exchanged")
        if any(near(got, round(right, digits)) for digits in (0, 1)):
            raise Wrong(f"{case}: right, but rounded; return it as it is")
        if right < 0 and got >= 0:
            slip = "no abs" if near(got, -right) else "do not cut it off"
            raise Wrong(f"{case}: ours is larger there, so the answer is negative; {slip}")
        raise Wrong(f"{case} instead of {right:.4g}")


def _size_at(curve, target):
    for (size, quality), (next_size, next_quality) in pairwise(curve):
        if quality <= target <= next_quality:
            return size + (target - quality) / (next_quality - quality) * (next_size - size)
    return None


RISING = [(100, 0.80), (200, 0.90), (500, 0.95), (900, 0.97)]
FALLING = [*RISING, (1300, 0.96), (1700, 0.93)]


@exercise("09.2", "the size at a quality", lambda: _size_at)
def size_at(answer):
    if answer([*RISING], 0.92) is ...:
        raise NotImplementedError
    if all(answer([*RISING], t) is None for t in (0.82, 0.92, 0.96)):
        raise NotImplementedError(NOTHING)
    for target in (0.82, 0.92, 0.96):
        got, right = answer([*RISING], target), _size_at(RISING, target)
        if got is None:
            raise Wrong(f"at {target} it returns None, although the curve gets there, between two of its points")
        got = number(got)
        if near(got, right):
            continue
        below, above = next((a, b) for a, b in pairwise(RISING) if b[1] >= target)
        share = (target - below[1]) / (above[1] - below[1])
        case = f"at {target} between {below} and {above} it gives {got:.4g}"
        if near(got, share):
            raise Wrong(f"{case}: that is the share of the way; go this share from the first size to the second")
        if near(got, above[0] - share * (above[0] - below[0])):
            raise Wrong(f"{case}: the share is counted from the wrong end")
        if near(got, share * (above[0] - below[0])):
            raise Wrong(f"{case}: that is the way from the first size; add the first size")
        if got in (below[0], above[0]):
            raise Wrong(f"{case}: that is a point's own size; go along the line between the two")
        if below[1] <= got <= above[1]:
            raise Wrong(f"{case}: that is a quality; sizes come first in each pair")
        raise Wrong(f"{case} instead of {right:.4g}")
    for size, target in (RISING[2], RISING[0], RISING[3]):
        got = answer([*RISING], target)
        if got is None or not near(number(got), size):
            raise Wrong(f"a target that is exactly a point's quality, {target}, gives {got}, not that point's size")
    for target, where in ((0.7, "below its first point"), (0.99, "above its best point")):
        if answer([*RISING], target) is not None:
            raise Wrong(
                f"for a target {where} it gives {answer([*RISING], target)}; the curve is not there, return None"
            )
    got = answer([*FALLING], 0.965)
    if got is None or not near(number(got), _size_at(FALLING, 0.965)):
        raise Wrong(f"the curve rises past 0.965 and falls again; its first crossing is at 800, and you give {got}")


def _size_from(curve, target):
    return curve[0][0] if curve[0][1] > target else _size_at(curve, target)


def _jpeg_wins(pictures, target):
    names = []
    for name, (ours, theirs) in pictures.items():
        our_size, their_size = _size_from(ours, target), _size_from(theirs, target)
        if their_size is not None and (our_size is None or their_size < our_size):
            names.append(name)
    return names


JPEG = [(150, 0.80), (300, 0.90), (600, 0.96), (1000, 0.99)]
PICTURES = {
    "ours is smaller": ([(100, 0.80), (200, 0.90), (400, 0.96), (700, 0.98)], JPEG),
    "jpeg is smaller": ([(200, 0.80), (400, 0.90), (800, 0.96), (1500, 0.98)], JPEG),
    "ours begins above": ([(120, 0.96), (300, 0.98)], JPEG),
    "ours never gets there": ([(100, 0.80), (200, 0.90), (400, 0.92)], JPEG),
    "jpeg begins above": ([(200, 0.80), (900, 0.97)], [(150, 0.97), (300, 0.98)]),
    "jpeg never gets there": ([(100, 0.80), (400, 0.96), (900, 0.99)], JPEG[:2]),
    "neither gets there": ([(100, 0.80), (200, 0.90)], JPEG[:2]),
    "both are equal": (JPEG, JPEG),
}


@exercise("09.3", "where JPEG wins", lambda: _jpeg_wins)
def jpeg_wins(answer):
    try:
        got = given(answer(dict(PICTURES), 0.95))
    except TypeError as error:
        if not re.search("not supported between .*NoneType", str(error)):
            raise
        raise Wrong("`size_from` gives None where a curve never gets there; ask `is None` before comparing") from None
    if isinstance(got, (int, float)):
        raise Wrong(f"it returns the number {got}; return the names, and count them later")
    if isinstance(got, str):
        raise Wrong("it returns one name; return all of them, in a list")
    if isinstance(got, Iterator):
        raise Wrong("it is a generator; the lesson counts the names: return a list")
    try:
        names = sorted(got)
    except TypeError:
        raise Wrong(f"it returns a {type(got).__name__} of other things than names; return a list of names") from None
    right = sorted(_jpeg_wins(PICTURES, 0.95))
    if isinstance(got, dict) and names == sorted(PICTURES):
        raise Wrong("it returns all pictures unchanged; keep only those where JPEG needs fewer bits")
    if names == right == sorted(set(names)):
        easy = answer(dict(PICTURES), 0.85)
        if sorted(easy) != ["jpeg begins above", "jpeg is smaller"]:
            raise Wrong(f"at 0.95 it is right, at 0.85 it names {sorted(easy)}: is the target used everywhere?")
        return
    if not set(names) <= set(PICTURES):
        raise Wrong(f"it returns {names}; these are no names of pictures, which are the keys of `pictures`")
    if len(names) != len(set(names)):
        raise Wrong("a name occurs twice")
    for name, words in (
        ("ours is smaller", "it names a picture where ours needs fewer bits; is the comparison turned round?"),
        ("neither gets there", "it names a picture where neither codec reaches the target; nobody wins there"),
        ("ours begins above", "it names one where our first file is better and smaller; `size_from` counts it"),
        ("jpeg never gets there", "it names a picture where JPEG never reaches the target; it cannot win there"),
        ("both are equal", "it names a picture where both need the same; JPEG wins where it needs fewer bits"),
    ):
        if name in names:
            raise Wrong(words)
    if "ours never gets there" not in names and "jpeg is smaller" in names:
        raise Wrong("where JPEG reaches the target and ours never does, JPEG wins too")
    if "jpeg begins above" not in names and "jpeg is smaller" in names:
        raise Wrong("where JPEG's first file is better and smaller, JPEG wins; `size_from` counts that file")
    raise Wrong("a picture is missing where both reach the target and JPEG needs fewer bits")
