"""A training in a folder: its checkpoint, its log, and how it stops so that it can go on.

What a step is, the trainer knows: the same run serves the codec's and that of the model of its bits.
"""

import contextlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rgru_lab import checkpoints, processes
from rgru_lab.config import TrainingError
from rgru_lab.files import write_atomically
from rgru_lab.schedule import Schedule

SAVE_EVERY_S = 60
LOG_EVERY = 50
LOG = "log.jsonl"


def run(
    trainer: Schedule, folder: str | os.PathLike, *, save_every_s: float = SAVE_EVERY_S, part_bytes: int | None = None
) -> Iterator[NamedTuple]:
    """Train to the end, keeping a checkpoint and a log in a folder; a kill at any moment loses a minute at most.

    Writes a checkpoint every `save_every_s` seconds, when the caller stops and at the end, and a line of JSON
    every 50 steps to `log.jsonl`. Ctrl-C and SIGTERM wait for the step to end, so that a later resume goes on exactly
    there. After a divergence the last checkpoint is left alone. With several processes the first one writes.

    Args:
        trainer: what to train, a `Trainer` or a `BitTrainer`.
        folder: where checkpoint and log go.
        save_every_s: seconds between checkpoints.
        part_bytes: see `checkpoints.write`.

    Yields:
        The trainer's `Record` after each step.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when everything is saved.
        TrainingError: training diverged; or the folder holds a checkpoint of a later step than this training's.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (last := checkpoints.last_step(folder)) is not None and last > trainer.step_count:
        raise TrainingError(
            f"{folder} holds a checkpoint of step {last}, and this training is at step {trainer.step_count}; load that "
            "checkpoint first, or choose another folder"
        )
    if trainer.rank == 0:
        _cut_log(folder / LOG, trainer.step_count)

    def save():
        state = trainer.state_dict()
        if trainer.rank == 0:
            checkpoints.write(folder, state, trainer.step_count, part_bytes=part_bytes)
        return time.monotonic()

    saved = time.monotonic()
    with _stop_between_steps() as stop:
        try:
            while not trainer.finished:
                record = trainer.step()
                if trainer.rank == 0 and (record.step % LOG_EVERY == 0 or trainer.finished):
                    with open(folder / LOG, "a", encoding="utf-8") as log:
                        log.write(json.dumps(record._asdict()) + "\n")
                # Every process must come to the same decision, since saving needs them all.
                due, stopped = processes.largest(time.monotonic() - saved >= save_every_s, stop.is_set())
                if due:
                    saved = save()
                yield record
                if stopped:
                    raise KeyboardInterrupt
        except (KeyboardInterrupt, GeneratorExit):
            save()
            raise
        save()


def _cut_log(log: Path, step: int):
    """Leave out what an interrupted training logged after its last checkpoint: these steps are taken again."""
    if log.exists():
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
        write_atomically(log, "".join(line for line in lines if _step_of(line) <= step).encode())


def _step_of(line: str) -> float:
    try:
        return json.loads(line)["step"] if line.endswith("\n") else math.inf
    except (ValueError, KeyError, TypeError):  # it was being written when the power went
        return math.inf


@contextlib.contextmanager
def _stop_between_steps():
    """Let Ctrl-C and SIGTERM only raise a flag: a step that is cut in two could not be resumed exactly."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread receives signals
        return
    former = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
