"""How much of an MS-SSIM hangs on where its grid begins.

MS-SSIM halves a picture four times, each time by the mean of 2 x 2 pixels, the first of which begin in its corner.
Nobody who looks at a photograph sees that grid. Weights that were trained with the metric saw it in every patch, always
at the same place of the code's positions, and may leave errors that cancel within its squares. So here both codecs are
measured twice on the same files: on a part of the picture that begins in the corner, and on one that begins one pixel
further down and to the right. Where the two differ, the difference is of the metric's making.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from rgru_lab import comparing, images, measuring, metrics
from rgru_lab.config import GRID
from rgru_lab.opponents import CODECS, Ladder
from rgru_lab.progression import Progression

POINTS = (1, 2, 3, 4, 6, 8, 10, 12, 16)
"""Iterations that are measured."""

MIN_SIDE = -(-metrics.MS_SSIM_MIN_SIDE // GRID) * GRID + 1
"""Of a picture whose parts are large enough for MS-SSIM, in pixels."""

LEVELS = (0.90, 0.95, 0.97, 0.98)

OPPONENTS = ("jpeg", "webp")

PLACES = ("at the corner", "one pixel on")


def check(paths: Iterable[Path]):
    """Raise an `InputError`, before minutes are spent, if a picture cannot be read or is too small."""
    for path in paths:
        height, width = images.load(path).shape[:2]
        if min(height, width) < MIN_SIDE:
            raise metrics.MetricError(
                f"{path} is {width} x {height} px, and a part of it too small for MS-SSIM; leave out pictures with a "
                f"side under {MIN_SIDE} px"
            )


def both(original: np.ndarray, decoded: np.ndarray) -> tuple[float, float]:
    """MS-SSIM of two parts of equal size, sides multiples of 16: from (0, 0) and from (1, 1) on.

    Args:
        original, decoded: (H, W, 3) uint8, sides of `MIN_SIDE` px or more.
    """
    height, width = ((side - 1) // GRID * GRID for side in original.shape[:2])
    parts = ((slice(k, k + height), slice(k, k + width)) for k in (0, 1))
    return tuple(metrics.ms_ssim(original[part], decoded[part]) for part in parts)


def ours(weights, path: Path) -> Iterator[dict]:
    """A row for each of `POINTS`: plain files of one picture."""
    photo = images.load(path)
    for i, decoded in Progression(weights, photo).run(max(POINTS)):
        if i in POINTS:
            yield _row(path, weights.name, i, decoded)


def theirs(name: str, path: Path) -> Iterator[dict]:
    """A row for each of an opponent's qualities (`Codec.points`) of one picture."""
    ladder = Ladder(images.load(path), name)
    for quality in CODECS[name].points:
        yield _row(path, name, quality, ladder[quality])


def _row(path: Path, codec: str, point: int, decoded) -> dict:
    row = {"picture": path.name, "codec": codec, "point": point, "bpp": round(decoded.bpp, 5)}
    return row | dict(zip(PLACES, (round(each, 5) for each in both(decoded.original, decoded.photo)), strict=True))


def measure(
    models: Iterable,
    codecs: Iterable[str],
    paths: list[Path],
    folder: Path,
    *,
    jobs: int = 1,
    progress: Callable = lambda rows, total, what: rows,
) -> dict[str, list[dict]]:
    """The mean curve of every model and opponent, by name; what is done is kept in the folder.

    Args:
        models: loaded `model.Weights`.
        codecs: opponents, "jpeg" among them.
        paths: the pictures.
        folder: for `.shifted-NAME.part`; `write` removes them.
        jobs, progress: as for `evaluate.run`.
    """
    works = {name: (partial(theirs, name), measuring.identity(name)) for name in codecs}
    works |= {each.name: (partial(ours, each), {"weights": each.sha256, "points": POINTS}) for each in models}
    curves = {}
    for name, (work, identity) in works.items():
        kept = Path(folder) / f".shifted-{name}.part"
        groups = progress(measuring.every(work, paths, kept, identity, jobs=jobs), len(paths), name)
        rows = [row for group in groups for row in group]
        points = comparing.grouped(rows, "point")
        curves[name] = [
            {"point": point} | {key: round(float(np.mean([row[key] for row in group])), 5) for key in ("bpp", *PLACES)}
            for point, group in sorted(points.items())
        ]
    return curves


def write(folder: Path, set_name: str, pictures: int, curves: dict[str, list[dict]]) -> Iterator[Path]:
    """Write `shifted.json` and `shifted.md` into a folder; yields their paths."""
    summary = {"set": set_name, "pictures": pictures, "curves": curves} | comparing.provenance()
    for suffix, text in (("json", json.dumps(summary, indent=1, allow_nan=False) + "\n"), ("md", report(summary))):
        path = Path(folder) / f"shifted.{suffix}"
        images.write_atomically(path, text.encode())
        yield path
    for name in curves:
        (Path(folder) / f".shifted-{name}.part").unlink(missing_ok=True)


def bpp_at(curve: list[dict], place: str, level: float) -> float | None:
    """Bits per pixel at which the mean MS-SSIM at one of `PLACES` reaches a level; None outside the curve."""
    return comparing.bpp_at([{"bpp": point["bpp"], "ms_ssim": point[place]} for point in curve], level)


def report(summary: dict) -> str:
    """The page for people."""
    lines = [
        "# Where the grid of MS-SSIM begins",
        "",
        f"Mean over {summary['pictures']} pictures ({summary['set']}), plain files: bits per pixel at a mean MS-SSIM, "
        "and in brackets what that is against JPEG (optimised tables, 4:2:0) at the same place. MS-SSIM halves a "
        "picture by means of 2 x 2 pixels. *At the corner* the first of them lies in the picture's corner, as usual, "
        "and as in the training of our weights; *one pixel on* the same files are measured from the second row and "
        f"column on. Made by `python -m rgru_lab shifted`. {summary['date']}.",
        "",
        table(summary),
    ]
    return "\n".join(lines)


def table(summary: dict) -> str:
    """Every codec at both places, a line each; ends with a line break."""
    curves = summary["curves"]
    lines = [
        "| | grid | " + " | ".join(f"{level:.2f}" for level in LEVELS) + " |",
        "|---|---|" + "---|" * len(LEVELS),
    ]
    for name, curve in curves.items():
        for place in PLACES:
            cells = []
            for level in LEVELS:
                bpp, jpeg = (bpp_at(each, place, level) for each in (curve, curves["jpeg"]))
                change = "" if name == "jpeg" or None in (bpp, jpeg) else f" ({100 * (bpp / jpeg - 1):+.1f} %)"
                cells.append("–" if bpp is None else f"{bpp:.3f}{change}")
            lines.append(f"| {CODECS[name].label if name in CODECS else name} | {place} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
