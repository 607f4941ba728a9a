"""What coding the bits saves: a set of pictures raw, with counts and with the learned model, and what that costs.

Writes `entropy-NAME.json` and `entropy-NAME.md`.
"""

import datetime
import json
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from rgru_lab import bitstream, codec, comparing, images, metrics
from rgru_lab.bitmodel import BitModel, Counts
from rgru_lab.opponents import CODECS, Ladder

TARGETS = (0.90, 0.95, 0.98)


def models(found: BitModel) -> list[BitModel | None]:
    """Raw, counts, and the learned model where there is one."""
    return [None, Counts()] + ([found] if found.coding == "learned" else [])


def measure(weights, path: Path, iterations: int, bit_models: Sequence[BitModel | None]) -> Iterator[dict]:
    """One row per coding and iteration of one picture, and one per quality of its JPEG.

    `coding_s` is the time that coding (finding the shortest form included) takes, `decoding_s` that of the way back.
    """
    photo = images.load(path)
    height, width = photo.shape[:2]
    pixels = height * width
    headers = [bitstream.Header.of(weights, height, width, each).pack() for each in bit_models]
    files, earlier = list(headers), []
    for i, (plane, frame) in enumerate(codec.encode(weights.model, photo, iterations), start=1):
        quality = metrics.ms_ssim(photo, frame)
        for k, bit_model in enumerate(bit_models):
            before = len(files[k])
            started = time.perf_counter()
            files[k] += bitstream.write_segment(headers[k], i, plane, earlier, bit_model)
            coding_s = time.perf_counter() - started
            yield {
                "picture": path.name,
                "coding": bit_model.coding if bit_model else "raw",
                "point": i,
                "size_bytes": len(files[k]),
                "bpp": 8 * len(files[k]) / pixels,
                "bits_per_bit": 8 * (len(files[k]) - before - 8) / plane.size,
                "ms_ssim": quality,
                "coding_s": coding_s,
            }
        earlier.append(plane)
    for k, bit_model in enumerate(bit_models):
        started = time.perf_counter()
        decoded = bitstream.decode(bitstream.parse(files[k]), bit_model).planes
        decoding_s = (time.perf_counter() - started) / iterations
        if not np.array_equal(decoded, earlier):
            raise bitstream.BitstreamError(f"{path} did not come back from its own file; this is a bug of the kit")
        yield {"picture": path.name, "coding": bit_model.coding if bit_model else "raw", "decoding_s": decoding_s}
    ladder = Ladder(photo)
    for quality in CODECS["jpeg"].points:
        rung = ladder[quality]
        yield {"picture": path.name, "coding": "jpeg", "point": quality, "bpp": rung.bpp, "ms_ssim": rung.ms_ssim}


def summarise(weights, found: BitModel, set_name: str, rows: list[dict]) -> dict:
    """Mean curves of every coding and of JPEG, and the rates that they need at equal MS-SSIM."""
    codings = list(dict.fromkeys(row["coding"] for row in rows))
    curves = {coding: _curve([row for row in rows if row["coding"] == coding]) for coding in codings}
    at = [{"ms_ssim": target} | {c: comparing.bpp_at(curves[c], target) for c in codings} for target in TARGETS]
    return {
        "model": weights.name,
        "weights_sha256": weights.sha256,
        "bit_model": found.fingerprint.hex(),
        "set": set_name,
        "pictures": len({row["picture"] for row in rows}),
        "averaging": "Mean MS-SSIM at mean bits per pixel over the pictures, at equal iteration or JPEG quality.",
        "curves": curves,
        "bpp_at_equal_ms_ssim": at,
        "decoding_s": {coding: _mean_s(rows, coding) for coding in codings if coding != "jpeg"},
        "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "date": datetime.date.today().isoformat(),
    }


def write(folder: Path, summary: dict) -> tuple[Path, Path]:
    """Write both files into a folder; returns their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"entropy-{summary['model']}.{suffix}" for suffix in ("json", "md"))
    for path, text in zip(paths, (json.dumps(summary, indent=1, allow_nan=False) + "\n", report(summary)), strict=True):
        images.write_atomically(path, text.encode())
    return paths


def report(summary: dict) -> str:
    """The whole summary for people."""
    codings = [coding for coding in summary["curves"] if coding != "jpeg"]
    names = {"raw": "as they are", "counts": "counted", "learned": "learned"}
    lines = [
        f"# What coding the bits of {summary['model']} saves, on {summary['pictures']} pictures ({summary['set']})",
        "",
        f"Sizes are bytes of real files, headers included. {summary['averaging']} {summary['date']}.",
        "",
        "| MS-SSIM | " + " | ".join(f"{names[c]}, bpp" for c in codings) + " | saved | JPEG, bpp | against JPEG |",
        "|---|" + "---|" * (len(codings) + 3),
    ]
    for row in summary["bpp_at_equal_ms_ssim"]:
        rates = [f"{row[coding]:.4f}" if row[coding] else "not reached" for coding in codings]
        best, raw, jpeg = row[codings[-1]], row["raw"], row["jpeg"]
        saved = f"{100 * (best / raw - 1):+.1f} %" if best and raw else "–"
        change = f"{100 * (best / jpeg - 1):+.1f} %" if best and jpeg else "–"
        said = f"{jpeg:.4f}" if jpeg else "not measured"
        lines.append(f"| {row['ms_ssim']:.2f} | " + " | ".join([*rates, saved, said, change]) + " |")
    coded = codings[1:]
    lines += ["", "| iteration | MS-SSIM | " + " | ".join(f"{names[c]}: bpp, bits per bit" for c in coded) + " |"]
    lines += ["|---|---|" + "---|" * len(coded)]
    for k, point in enumerate(summary["curves"]["raw"]):
        cells = [summary["curves"][c][k] for c in coded]
        cells = [f"{cell['bpp']:.4f}, {cell['bits_per_bit']:.3f}" for cell in cells]
        lines.append(f"| {point['point']} | {point['ms_ssim']:.4f} | " + " | ".join(cells) + " |")
    seconds = ", ".join(f"{names[c]} {summary['decoding_s'][c]:.3f} s" for c in coded)
    lines += ["", f"Mean time to decode the bits of one iteration: {seconds}."]
    return "\n".join(lines) + "\n"


def _mean_s(rows: list[dict], coding: str) -> float:
    seconds = [row["decoding_s"] for row in rows if row["coding"] == coding and "decoding_s" in row]
    return round(float(np.mean(seconds)), 4)


def _curve(rows: list[dict]) -> list[dict]:
    curve = []
    for point in sorted({row["point"] for row in rows if "point" in row}):
        group = [row for row in rows if row.get("point") == point]
        keys = [key for key in ("bpp", "ms_ssim", "bits_per_bit", "coding_s") if key in group[0]]
        curve.append({"point": point} | {key: round(float(np.mean([row[key] for row in group])), 5) for key in keys})
    return curve
