"""What each part is worth: the memory taken away, the bits left uncoded, and other cells and reconstructions.

Writes `ablation.json` and `ablation.md`. The memory is measured here, on a set of pictures; what coded bits save
follows from the model's evaluation, and the comparison of cells from `trials`.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from rgru_lab import codec, comparing, images, metrics, reports, trials
from rgru_lab.config import InputError
from rgru_lab.files import write_atomically, write_json
from rgru_lab.model import DecoderState, EncoderState, ResidualCoder

CUTS = {
    "as it is": (),
    "encoder forgets": ("encode",),
    "decoder forgets": ("decode",),
    "both forget": ("encode", "decode"),
}
"""Which halves see every iteration as their first."""


class Forgetful(codec.Sending):
    """A codec of which the named halves ("encode", "decode") get no memory of earlier iterations."""

    def __init__(self, model: ResidualCoder, halves: tuple[str, ...]):
        super().__init__(model)
        self.halves = halves

    def encode(self, r: Tensor, state: EncoderState | None = None) -> tuple[Tensor, EncoderState]:
        """See `ResidualCoder.encode`."""
        return super().encode(r, None if "encode" in self.halves else state)

    def decode(self, bits: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """See `ResidualCoder.decode`."""
        return super().decode(bits, None if "decode" in self.halves else state)


def run(
    weights,
    set_name: str,
    paths: list[Path],
    folder: Path,
    *,
    iterations: int = 4,
    progress: Callable = lambda rows, total, what: rows,
) -> dict:
    """Measure, put together and write; returns the summary.

    Args:
        weights: a loaded `model.Weights`.
        set_name: "kodak", or whatever the pictures are called.
        paths: the pictures.
        folder: where `evaluate` and `trials` wrote, and where the results go: see `files`.
        iterations: how far to go.
        progress: called with the rows of each picture, how many pictures there are, and what is measured.

    Raises:
        InputError: there is no evaluation or no trials, or the evaluation is of other weights.
    """
    folder = Path(folder)
    try:
        evaluation = json.loads((folder / f"{set_name}-{weights.name}.json").read_text(encoding="utf-8"))
        trained = json.loads((folder / "trials.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{error.filename} is not there; run evaluate and trials with the same --output first"
        ) from None
    groups = progress(([*measure(weights, path, iterations)] for path in paths), len(paths), "ablation")
    rows = [row for group in groups for row in group]
    summary = summarise(weights, set_name, rows, evaluation, trained)
    table, page = files(folder)
    write_json(table, summary)
    write_atomically(page, report(summary).encode())
    return summary


def files(folder: Path) -> tuple[Path, Path]:
    """What `run` writes into a folder: the summary, and the same for people."""
    return Path(folder) / "ablation.json", Path(folder) / "ablation.md"


def measure(weights, path: Path, iterations: int) -> Iterator[dict]:
    """One row per cut and iteration of one picture."""
    photo = images.load(path)
    for cut, halves in CUTS.items():
        steps = codec.encode(Forgetful(weights.model, halves), photo, iterations)
        for i, (_, frame) in enumerate(steps, start=1):
            readings = {"psnr_db": metrics.psnr_db(photo, frame), "ms_ssim": metrics.ms_ssim(photo, frame)}
            yield {"picture": path.name, "cut": cut, "point": i} | readings


def summarise(weights, set_name: str, rows: list[dict], evaluation: dict, trained: list[dict]) -> dict:
    """All three parts.

    Args:
        weights: those that the rows are of.
        set_name: what the pictures are called.
        rows: from `measure`.
        evaluation: the summary that `evaluate` wrote of the same weights.
        trained: the rows that `trials` wrote.

    Raises:
        InputError: the evaluation is of other weights.
    """
    if evaluation["weights_sha256"] != weights.sha256:
        raise InputError(f"the evaluation is of {evaluation['model']}, not of these weights; run evaluate first")
    memory = []
    for cut in CUTS:
        for point in sorted({row["point"] for row in rows}):
            group = [row for row in rows if (row["cut"], row["point"]) == (cut, point)]
            means = {key: comparing.mean(group, key) for key in ("psnr_db", "ms_ssim")}
            memory += [{"cut": cut} | row for row in comparing.written([{"point": point} | means])]
    return {
        "model": weights.name,
        "weights_sha256": weights.sha256,
        "set": set_name,
        "pictures": len({row["picture"] for row in rows}),
        "memory": memory,
        "coding": evaluation["coding"],
        "cells": [row for budget in ("steps", "seconds") for row in _cells(trained, budget)],
        **comparing.provenance(),
    }


def _cells(trained: list[dict], budget: str) -> list[dict]:
    """Each cell with each reconstruction, the best first; a tie with the best where the seeds' ranges overlap."""
    groups = {}
    for row in trained:
        if row["question"] == "common setting":  # whose steps set the time for the others: it belongs to both budgets
            groups.setdefault("residual-gru, one-shot", []).append(row)
        elif row["question"] == "cell and reconstruction" and row["budget"] == budget:
            groups.setdefault(row["setting"], []).append(row)
    found = []
    for setting, rows in groups.items():
        last = {key: [row[key][-1] for row in rows] for key in ("mean_abs_residual", "ms_ssim")}
        found.append({"budget": budget, "setting": setting, "steps": [row["steps"] for row in rows]} | last)
    found.sort(key=lambda row: -np.mean(row["ms_ssim"]))
    for row in found:
        row["verdict"] = "tie" if max(row["ms_ssim"]) >= min(found[0]["ms_ssim"]) else "behind"
    found[0]["verdict"] = "best"
    return found


def report(summary: dict) -> str:
    """The whole summary for people."""
    points = sorted({row["point"] for row in summary["memory"]})
    memory = {(row["cut"], row["point"]): row for row in summary["memory"]}
    lines = [
        f"# What the parts are worth ({summary['model']})",
        "",
        "## The memory",
        "",
        f"Mean MS-SSIM (PSNR in dB) over {summary['pictures']} pictures ({summary['set']}) when a half sees every "
        "iteration as its first. The networks were trained with their memories: trained without, they would learn to "
        "do better than this.",
        "",
        "| iteration | " + " | ".join(CUTS) + " |",
        "|---|" + "---|" * len(CUTS),
    ]
    for point in points:
        cells = [memory[cut, point] for cut in CUTS]
        lines.append(f"| {point} | " + " | ".join(_reading(c) for c in cells) + " |")
    lines += [
        "",
        "## Coded bits",
        "",
        *reports.coding_table(summary["coding"]),
        "## Cells and reconstructions",
        "",
        f"`micro`, trained from random weights for {trials.STEPS} steps, or for the processor time that the Residual "
        "GRU, one-shot, takes for these; seeds side by side, after iteration "
        f"{trials.SHOWN[-1]}, on validation photographs. Best by mean MS-SSIM; a tie where the seeds' ranges overlap. "
        "So short a training says who learns sooner, not who ends higher.",
        "",
        "| equal | cell, reconstruction | steps | mean \\|R\\|, levels | MS-SSIM | |",
        "|---|---|---|---|---|---|",
    ]
    for row in summary["cells"]:
        steps = " / ".join(map(str, row["steps"]))
        levels = " / ".join(f"{value:.1f}" for value in row["mean_abs_residual"])
        quality = " / ".join(f"{value:.4f}" for value in row["ms_ssim"])
        lines.append(f"| {row['budget']} | {row['setting']} | {steps} | {levels} | {quality} | {row['verdict']} |")
    return "\n".join(lines) + "\n"


def _reading(means: dict) -> str:
    psnr_db = "∞" if means["psnr_db"] is None else f"{means['psnr_db']:.2f}"  # a picture came back exactly
    return f"{means['ms_ssim']:.4f} ({psnr_db})"
