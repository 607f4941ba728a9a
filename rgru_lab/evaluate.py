"""A set of pictures through codec and JPEG: real bytes and qualities of every picture, and where the curves stand.

Writes two files: `NAME.csv`, a line per picture, codec and rate point, and `NAME.json`, the mean curves, the sizes at
equal MS-SSIM, and all versions that a figure depends on.
"""

import csv
import datetime
import io
import json
import multiprocessing
import os
import pickle
import platform
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

import numpy as np

from rgru_lab import images, metrics
from rgru_lab.codec import BF16_VARIABLE, uses_bf16
from rgru_lab.opponents import JPEG_SETTINGS, Ladder
from rgru_lab.progression import Decoded, Progression

JPEG_QUALITIES = (5, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60, 70, 80, 90, 95)
TARGETS = (0.85, 0.90, 0.95, 0.97, 0.98)
COLUMNS = (
    *("picture", "codec", "point", "size_bytes", "bpp", "psnr_db", "ms_ssim", "mean_abs_residual"),
    *("shift_r", "shift_g", "shift_b", "raw_bytes"),
)

YARDSTICK = {0.90: 0.2864, 0.95: 0.507, 0.98: 1.035}
"""Bits per pixel of optimised JPEG 4:2:0 on Kodak at an MS-SSIM, interpolated from published curves (mean over the
pictures at equal quality). The JPEG measured here, with its newer encoder, needs a little less."""

BARS_PERCENT = {
    "small": {"raw": {0.90: -22, 0.95: -20, 0.98: -10}, "coded": {0.90: -38, 0.95: -27, 0.98: -12}},
    "base": {"raw": {0.90: -30, 0.95: -28, 0.98: -20}, "coded": {0.90: -45, 0.95: -36, 0.98: -24}},
}
"""What each preset is to be smaller by than the yardstick, its bits stored as they are, and coded."""


def check(paths: list[Path]):
    """Raise an `InputError`, before hours are spent, if a picture cannot be read or is too small for MS-SSIM."""
    for path in paths:
        photo = images.load(path)
        if not metrics.has_ms_ssim(photo):
            raise metrics.MetricError(
                f"{path} is {photo.shape[1]} x {photo.shape[0]} px, too small for MS-SSIM; leave out pictures with a "
                f"side under {metrics.MS_SSIM_MIN_SIDE} px"
            )


def measure(weights, path: Path, iterations: int, bit_model="find") -> Iterator[dict]:
    """One row per iteration and per JPEG quality for one picture; `point` is the iteration or the quality.

    `raw_bytes` is what the file would take if its bits were stored as they are; `bit_model` as in `Progression`.
    """
    photo = images.load(path)
    for i, decoded in Progression(weights, photo, bit_model).run(iterations):
        yield _row(path.name, weights.name, i, decoded)
    ladder = Ladder(photo)
    for quality in JPEG_QUALITIES:
        yield _row(path.name, "jpeg", quality, ladder[quality])


def measure_all(
    weights, paths: list[Path], iterations: int, bit_model="find", *, jobs: int = 1
) -> Iterator[list[dict]]:
    """The rows of one picture after the other, in the order of `paths`, several pictures at a time.

    Each job is a process with one thread of its own: two of them do more than one with two threads.
    """
    if jobs == 1:
        yield from (list(measure(weights, path, iterations, bit_model)) for path in paths)
        return
    pickled = pickle.dumps(weights)  # or multiprocessing would put them into shared memory, of which some have little
    with multiprocessing.get_context("spawn").Pool(jobs, _begin, [uses_bf16(weights.model)]) as pool:
        yield from pool.imap(partial(_measured, pickled, iterations, bit_model), paths)


def _begin(bf16: bool):
    """One thread in each process, and one decision on bfloat16 for all of them."""
    import torch

    torch.set_num_threads(1)
    os.environ[BF16_VARIABLE] = str(int(bf16))


def _measured(pickled: bytes, iterations: int, bit_model, path: Path) -> list[dict]:
    return list(measure(pickle.loads(pickled), path, iterations, bit_model))


def summarise(weights, set_name: str, rows: list[dict]) -> dict:
    """Mean curves over the pictures (at equal iteration, at equal quality) and the rates they need at equal MS-SSIM."""
    ours, jpeg = _mean_curve(rows, weights.name), _mean_curve(rows, "jpeg")
    at = []
    for target in TARGETS:
        bpp, jpeg_bpp = bpp_at(ours, target), bpp_at(jpeg, target)
        both = bpp is not None and jpeg_bpp is not None
        at.append(
            {
                "ms_ssim": target,
                "bpp": bpp,
                "jpeg_bpp": jpeg_bpp,
                "change_percent": round(100 * (bpp / jpeg_bpp - 1), 1) if both else None,
            }
        )
    return {
        "model": weights.name,
        "weights_sha256": weights.sha256,
        "set": set_name,
        "pictures": len({row["picture"] for row in rows}),
        "averaging": "Mean MS-SSIM at mean bits per pixel over the pictures, at equal iteration or JPEG quality.",
        "curve": ours,
        "jpeg_curve": jpeg,
        "at_equal_ms_ssim": at,
        "bars": _bars(weights.name, ours) if set_name == "kodak" else [],
        "jpeg": JPEG_SETTINGS | {"encoder": _jpeg_encoder()},
        "versions": {name: version(name) for name in ("torch", "pillow", "pytorch-msssim", "numpy")},
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "date": datetime.date.today().isoformat(),
    }


def _bars(name: str, curve: list[dict]) -> list[dict]:
    raw = [point | {"bpp": point["raw_bpp"]} for point in curve]
    rows = []
    for bits, bars in BARS_PERCENT.get(name.rpartition("-")[0], {}).items():
        for target, bar in bars.items():
            bpp = bpp_at(raw if bits == "raw" else curve, target)
            change = None if bpp is None else round(100 * (bpp / YARDSTICK[target] - 1), 1)
            rows.append(
                {
                    "bits": bits,
                    "ms_ssim": target,
                    "bpp": bpp,
                    "yardstick_bpp": YARDSTICK[target],
                    "change_percent": change,
                    "bar_percent": bar,
                    "met": change is not None and change <= bar,
                }
            )
    return rows


def write(folder: Path, name: str, rows: list[dict], summary: dict) -> tuple[Path, Path]:
    """Write `NAME.csv` and `NAME.json` into a folder; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    images.write_atomically(folder / f"{name}.csv", text.getvalue().encode())
    images.write_atomically(folder / f"{name}.json", (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode())
    return folder / f"{name}.csv", folder / f"{name}.json"


def table(summary: dict) -> str:
    """The sizes at equal MS-SSIM as a Markdown table."""
    lines = [f"| MS-SSIM | {summary['model']}, bpp | JPEG, bpp | file size against JPEG |", "|---|---|---|---|"]
    best = max(point["ms_ssim"] for point in summary["curve"])
    for row in summary["at_equal_ms_ssim"]:
        ours = f"{row['bpp']:.3f}" if row["bpp"] else "not reached" if row["ms_ssim"] > best else "below the first file"
        jpeg = f"{row['jpeg_bpp']:.3f}" if row["jpeg_bpp"] else "not measured"
        change = f"{row['change_percent']:+.1f} %" if row["change_percent"] is not None else "–"
        lines.append(f"| {row['ms_ssim']:.2f} | {ours} | {jpeg} | {change} |")
    return "\n".join(lines) + "\n"


def report(summary: dict) -> str:
    """The whole summary for people: where the curve stands against JPEG, and what every iteration adds."""
    lines = [
        f"# {summary['model']} on {summary['pictures']} pictures ({summary['set']})",
        "",
        f"Sizes are bytes of real files, headers included. {summary['averaging']} JPEG: "
        f"{summary['jpeg']['encoder']}, {summary['jpeg']['subsampling']}, optimised tables. {summary['date']}.",
        "",
        table(summary),
        *_bars_table(summary["bars"]),
        "The colour shift is the mean of I - P over all pixels and pictures, of R, G or B, whichever is largest.",
        "",
        "| iteration | bpp, bits as they are | bpp | PSNR, dB | MS-SSIM | MS-SSIM gained | colour shift, levels |",
        "|---|---|---|---|---|---|---|",
    ]
    before = None
    for point in summary["curve"]:
        gained = "" if before is None else f"{point['ms_ssim'] - before:+.4f}"
        psnr_db = "∞" if point["psnr_db"] is None else f"{point['psnr_db']:.2f}"
        rates = f"{point['raw_bpp']:.4f} | {point['bpp']:.4f}"
        readings = f"{psnr_db} | {point['ms_ssim']:.4f} | {gained} | {point['colour_shift']:.2f}"
        lines.append(f"| {point['point']} | {rates} | {readings} |")
        before = point["ms_ssim"]
    return "\n".join(lines) + "\n"


def _bars_table(bars: list[dict]) -> list[str]:
    if not bars:
        return []
    lines = [
        "Against the yardstick, the published curve of optimised JPEG 4:2:0, and what these weights were to reach:",
        "",
        "| bits | MS-SSIM | bpp | yardstick, bpp | file size against it | bar | |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in bars:
        reached = row["bpp"] is not None
        ours = (
            f"{row['bpp']:.3f} | {row['yardstick_bpp']:.3f} | {row['change_percent']:+.1f} %"
            if reached
            else "– | – | –"
        )
        short = f"short by {row['change_percent'] - row['bar_percent']:.1f} points" if reached else "not reached"
        verdict = "met" if row["met"] else short
        lines.append(f"| {row['bits']} | {row['ms_ssim']:.2f} | {ours} | {row['bar_percent']} % | {verdict} |")
    return [*lines, ""]


def _row(picture: str, codec: str, point: int, decoded: Decoded) -> dict:
    readings = (decoded.size_bytes, decoded.bpp, decoded.psnr_db, decoded.ms_ssim, decoded.mean_abs_residual)
    readings += metrics.colour_shift(decoded.original, decoded.photo)
    readings += (decoded.raw_bytes,)
    rounded = (reading and round(reading, 5) for reading in readings)
    return dict(zip(COLUMNS, (picture, codec, point, *rounded), strict=True))


def _mean_curve(rows: list[dict], codec: str) -> list[dict]:
    points = sorted({row["point"] for row in rows if row["codec"] == codec})
    curve = []
    for point in points:
        group = [row for row in rows if row["codec"] == codec and row["point"] == point]
        means = {key: _mean([row[key] for row in group]) for key in ("bpp", "psnr_db", "ms_ssim")}
        shifts = [_mean([row[f"shift_{channel}"] for row in group]) for channel in "rgb"]
        if all(row["raw_bytes"] for row in group):
            means["raw_bpp"] = _mean([row["bpp"] * row["raw_bytes"] / row["size_bytes"] for row in group])
        curve.append({"point": point} | means | {"colour_shift": max(shifts, key=abs)})
    return curve


def _mean(values: list[float]) -> float | None:
    """None where one of them is infinite, as the PSNR of a picture that came back exactly is."""
    mean = float(np.mean(values))
    return round(mean, 5) if np.isfinite(mean) else None


def bpp_at(curve: list[dict], ms_ssim: float) -> float | None:
    """Bits per pixel at which a curve first reaches an MS-SSIM, linear between its points; None outside them."""
    for low, high in pairwise(curve):
        if low["ms_ssim"] <= ms_ssim <= high["ms_ssim"] and low["ms_ssim"] < high["ms_ssim"]:
            share = (ms_ssim - low["ms_ssim"]) / (high["ms_ssim"] - low["ms_ssim"])
            return round(low["bpp"] + share * (high["bpp"] - low["bpp"]), 4)
    return None


def _jpeg_encoder() -> str:
    from PIL import features

    return f"libjpeg-turbo {features.version('libjpeg_turbo')}" if features.check("libjpeg_turbo") else "libjpeg"
