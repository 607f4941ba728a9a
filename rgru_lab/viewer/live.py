"""Watching a training in a notebook: one figure that is drawn anew every few seconds."""

import os
import time
from collections.abc import Callable

import numpy as np

from rgru_lab import codec, plots
from rgru_lab.config import InputError
from rgru_lab.runs import run
from rgru_lab.training import Record, Trainer

SHOWN = (1, 2, 4, 8)
"""Iterations whose P[i] is shown."""


def watch(
    trainer: Trainer,
    folder: str | os.PathLike,
    photo: np.ndarray,
    *,
    every_s: float = 15.0,
    draw: Callable | None = None,
) -> Record | None:
    """Train to the end, or until the kernel is interrupted, and show how it goes.

    The photo is sent through the averaged weights each time, so that one sees the same picture become clearer. An
    interrupted training is saved in `folder` (see `runs.run`) and goes on with the next call.

    Args:
        trainer: what to train.
        folder: for checkpoint and log.
        photo: (H, W, 3) uint8, best one that is not trained on; small, since it costs time.
        every_s: seconds between two figures.
        draw: gets each figure; None: it replaces the last one below the cell.

    Returns:
        The last step's record; None if the training was at its end already.

    Raises:
        InputError: there is no notebook to draw in, and no `draw` either.
    """
    draw = draw or _replace_output()
    log, drawn = [], time.monotonic()
    record = None
    try:
        for record in run(trainer, folder):
            log.append(record._asdict())
            if time.monotonic() - drawn >= every_s:
                draw(_figure(trainer, log, photo))
                drawn = time.monotonic()
    except KeyboardInterrupt:
        print(f"Stopped after step {trainer.step_count:,}; everything is saved in {folder}.")
    if log:
        draw(_figure(trainer, log, photo))
    else:
        print(f"Nothing is left to do: this training ended after step {trainer.step_count:,}; start another one.")
    return record


def _figure(trainer: Trainer, log: list[dict], photo: np.ndarray):
    iterations = min(max(SHOWN), max(stage.iterations for stage in trainer.config.curriculum))
    pictures = [frame for _, frame in codec.encode(trainer.averaged_model(), photo, iterations)]
    frames = [("I", photo)] + [
        (f"P[{i}], step {trainer.step_count:,}", pictures[i - 1]) for i in SHOWN if i <= iterations
    ]
    return plots.training(_thin(log), frames)


def _thin(log: list[dict]) -> list[dict]:
    """At most 400 lines, evenly chosen: more cannot be seen."""
    return log[:: -(-len(log) // 400)]


def _replace_output() -> Callable:
    from IPython.display import display

    handle = display(display_id=True)
    if handle is None:
        raise InputError("there is no notebook to draw in; run this in one, or give `draw` a function")

    def draw(figure):
        alt = "Curves of the training: mean |R[i]|, learning rate, patches per second; below them a photograph so far."
        data, metadata = plots.bundle(figure, alt, palette=True)
        handle.update(data, metadata=metadata, raw=True)

    return draw
