"""Train a codec: patches, the loss, the schedule, and a loop that can be stopped and resumed at any moment.

The loss is the paper's (Toderici et al. 2017), the mean of |R[i]| over all pixels and iterations, with the
later iterations weighted more if the recipe says so.
Plain torch throughout; `Trainer.step` is the whole story.
"""

import contextlib
import datetime
import json
import math
import os
import pickle
import platform
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rgru_lab import images
from rgru_lab.codec import unroll
from rgru_lab.config import MIDPOINT, InputError, ModelConfig, TrainConfig
from rgru_lab.model import ResidualCoder

SAVE_EVERY_S = 60
FOLDER_LIMIT_BYTES = 3_000_000_000


class TrainingError(InputError):
    """Training cannot start or go on; the message says why and what to do."""


class Record(NamedTuple):
    """One training step as it is shown and logged."""

    step: int
    progress: float
    """0 to 1: the share of the steps or of the time budget that is used up."""
    elapsed_s: float
    learning_rate: float
    loss: float
    """What the step made smaller: the weighted mean of `residuals`."""
    residuals: tuple[float, ...]
    """Mean |R[i]| for i = 1..n, in [0, 1]; times 255 it is in 8-bit levels."""


class Patches:
    """Random square patches, half of them mirrored, from pictures held in memory as uint8.

    Args:
        pictures: photos (H, W, 3) uint8; those smaller than a patch are left out.
        size: side of a patch in pixels.
        seed: of the choice; the generator's state is part of a checkpoint.
    """

    def __init__(self, pictures: list[np.ndarray], size: int, seed: int):
        self.pictures = [torch.from_numpy(p).permute(2, 0, 1) for p in pictures if min(p.shape[:2]) >= size]
        if not self.pictures:
            raise TrainingError(f"none of the {len(pictures)} pictures has {size} px on both sides; use larger ones")
        self.size = size
        self.generator = torch.Generator().manual_seed(seed)

    def draw(self, count: int) -> Tensor:
        """(count, 3, size, size) float32 in [-0.5, 0.5]."""
        return torch.stack([self._one() for _ in range(count)]).float() / 255 - MIDPOINT

    def _one(self) -> Tensor:
        picture = self.pictures[self._below(len(self.pictures))]
        top = self._below(picture.shape[1] - self.size + 1)
        left = self._below(picture.shape[2] - self.size + 1)
        patch = picture[:, top : top + self.size, left : left + self.size]
        return patch.flip(2) if self._below(2) else patch

    def _below(self, n: int) -> int:
        return int(torch.randint(n, (), generator=self.generator))


class Trainer:
    """Everything that changes while training, and one method that changes it.

    The schedule runs over `steps`, or over `time_budget_s` seconds spent in steps, or over whichever of the two
    ends first. `state_dict` holds it all: a trainer that loads it goes on exactly where the other stood.

    Args:
        model_config, config: the networks' shape and the recipe.
        pictures: photos (H, W, 3) uint8 to cut patches from.
        steps: how many steps to train, or None.
        time_budget_s: how many seconds to train, or None.
        device: "cpu", "cuda", ...

    Raises:
        TrainingError: neither steps nor a time budget is given, or no picture is large enough.
    """

    def __init__(
        self,
        model_config: ModelConfig,
        config: TrainConfig,
        pictures: list[np.ndarray],
        *,
        steps: int | None = None,
        time_budget_s: float | None = None,
        device: str = "cpu",
    ):
        if not (steps or time_budget_s):
            raise TrainingError("say how long to train: a number of steps, a time budget, or both")
        torch.manual_seed(config.seed)
        self.config = config
        self.steps = steps
        self.time_budget_s = time_budget_s
        self.device = device
        self.patches = Patches(pictures, config.patch, config.seed)
        model = ResidualCoder(model_config, config.stochastic)
        self.model = model.to(device, memory_format=torch.channels_last)
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=config.learning_rate)
        self.bf16 = bf16_is_faster(device) if config.bf16 is None else config.bf16
        self.step_count = 0
        self.elapsed_s = 0.0

    @property
    def progress(self) -> float:
        """0 to 1."""
        by_steps = self.step_count / self.steps if self.steps else 0
        by_time = self.elapsed_s / self.time_budget_s if self.time_budget_s else 0
        return min(1.0, max(by_steps, by_time))

    @property
    def finished(self) -> bool:
        return self.progress >= 1

    def step(self, x: Tensor | None = None) -> Record:
        """One step of the optimiser, on the batch x (B, 3, H, W) in [-0.5, 0.5] or on freshly drawn patches."""
        started = time.perf_counter()
        progress, learning_rate = self.progress, self._learning_rate()
        iterations = next(n for share, n in self.config.curriculum if progress <= share)
        x = self.patches.draw(self.config.batch) if x is None else x
        x = x.to(self.device, memory_format=torch.channels_last)

        self.model.train()
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.bf16):
            residuals = [step.residual.abs().mean() for step in islice(unroll(self.model, x), iterations)]
        weights = torch.arange(1, iterations + 1, device=self.device) ** self.config.late
        loss = (torch.stack(residuals) * weights).sum() / weights.sum()
        self.optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"training diverged at step {self.step_count} (loss {loss.item():g}, its gradient {norm.item():g}); "
                f"start anew in another --output with a learning rate under {self.config.learning_rate:g}"
            )
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.step()
        self.step_count += 1
        self._update_average()
        values = tuple(value.item() for value in residuals)
        self.elapsed_s += time.perf_counter() - started
        return Record(self.step_count, self.progress, self.elapsed_s, learning_rate, loss.item(), values)

    def start_from(self, model: ResidualCoder):
        """Begin with trained weights instead of random ones; the schedule and the optimiser begin anew.

        Raises:
            TrainingError: the model has another shape.
        """
        if model.config != self.model.config:
            raise TrainingError(f"the weights to start from have {model.config}; train a preset of the same shape")
        self.model.load_state_dict(model.state_dict())
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def averaged_model(self) -> ResidualCoder:
        """A copy of the model in eval mode with the averaged weights: the one to keep."""
        model = ResidualCoder(self.model.config)
        model.load_state_dict(self.average)
        return model.eval()

    def state_dict(self) -> dict:
        """All that a checkpoint needs, the random generators' states included."""
        return {
            "model_config": asdict(self.model.config),
            "train_config": asdict(self.config),
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "bf16": self.bf16,
            "step_count": self.step_count,
            "elapsed_s": self.elapsed_s,
            "patches_rng": self.patches.generator.get_state(),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state() if torch.device(self.device).type == "cuda" else None,
        }

    def load_state_dict(self, state: dict):
        """Go on from a checkpoint.

        Raises:
            TrainingError: it was made with another model or another recipe.
        """
        for key, ours in (("model_config", self.model.config), ("train_config", self.config)):
            if state[key] != asdict(ours):
                theirs = {k: v for k, v in state[key].items() if v != asdict(ours).get(k)}
                raise TrainingError(f"the checkpoint was made with {theirs}; resume with the same settings")
        self.model.load_state_dict(state["model"])
        self.average = {name: value.clone() for name, value in state["average"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        self.bf16 = state["bf16"]
        self.step_count = state["step_count"]
        self.elapsed_s = state["elapsed_s"]
        self.patches.generator.set_state(state["patches_rng"].cpu())
        torch.set_rng_state(state["torch_rng"].cpu())
        if state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"].cpu())

    def _learning_rate(self) -> float:
        warmup = min(1.0, (self.step_count + 1) / max(1, self.config.warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress))
        return self.config.learning_rate * warmup * (0.01 + 0.99 * cosine)

    @torch.no_grad()
    def _update_average(self):
        # Early on the average forgets faster, so that it does not drag the random start along.
        decay = min(self.config.ema, self.step_count / (self.step_count + 10))
        for name, value in self.model.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)


def run(trainer: Trainer, folder: str | os.PathLike, *, save_every_s: float = SAVE_EVERY_S) -> Iterator[Record]:
    """Train to the end, keeping a checkpoint and a log in a folder; a kill at any moment loses a minute at most.

    Writes `checkpoint.pt` (atomically) every `save_every_s` seconds, when the caller stops and at the end, and a
    line of JSON every 50 steps to `log.jsonl`. Ctrl-C and SIGTERM wait for the step to end, so that a later resume goes
    on exactly there. After a divergence the last good checkpoint is left alone.

    Yields:
        `Record` after each step.

    Raises:
        KeyboardInterrupt: after Ctrl-C or SIGTERM, when everything is saved.
        TrainingError: training diverged.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    saved = time.monotonic()
    with _stop_between_steps() as stop:
        try:
            while not trainer.finished:
                record = trainer.step()
                if record.step % 50 == 0 or trainer.finished:
                    with open(folder / "log.jsonl", "a") as log:
                        log.write(json.dumps(record._asdict()) + "\n")
                if time.monotonic() - saved >= save_every_s:
                    save_checkpoint(trainer, folder)
                    saved = time.monotonic()
                yield record
                if stop.is_set():
                    raise KeyboardInterrupt
        except (KeyboardInterrupt, GeneratorExit):
            save_checkpoint(trainer, folder)
            raise
        save_checkpoint(trainer, folder)


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


def save_checkpoint(trainer: Trainer, folder: Path):
    """Write `checkpoint.pt` so that a kill in between leaves the former one whole."""
    temporary = folder / "checkpoint.pt.part"
    torch.save(trainer.state_dict(), temporary)
    os.replace(temporary, folder / "checkpoint.pt")


def load_checkpoint(trainer: Trainer, folder: str | os.PathLike):
    """Resume from `checkpoint.pt` in a folder.

    Raises:
        TrainingError: there is none, it is damaged, or it belongs to another model or recipe.
    """
    path = Path(folder) / "checkpoint.pt"
    if not path.exists():
        raise TrainingError(f"there is no {path} to resume from; leave out --resume to start anew")
    try:
        state = torch.load(path, map_location=trainer.device, weights_only=True)
        trainer.load_state_dict(state)
    except (OSError, EOFError, KeyError, RuntimeError, pickle.UnpicklingError):
        raise TrainingError(f"{path} is damaged or no checkpoint; delete it, or choose another --output") from None


def record(trainer: Trainer, data: str) -> dict:
    """What is written beside the weights: enough to say where they come from and to train them again."""
    cuda = torch.device(trainer.device).type == "cuda"
    processor = torch.cuda.get_device_name() if cuda else f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return {
        "data": data,
        "pictures": len(trainer.patches.pictures),
        "steps": trainer.step_count,
        "seconds": round(trainer.elapsed_s),
        "hardware": processor,
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
        "seed": trainer.config.seed,
        "config": asdict(trainer.config),
    }


class Found(NamedTuple):
    """The pictures of a folder, and what of it was not taken."""

    photos: list[np.ndarray]
    unreadable: int
    left_out: int
    beyond_limit: int

    def __str__(self) -> str:
        said = [f"{len(self.photos)} pictures"]
        said += [f"{self.left_out} kept for validation"] if self.left_out else []
        said += [f"{self.unreadable} unreadable"] if self.unreadable else []
        said += [f"{self.beyond_limit} beyond {FOLDER_LIMIT_BYTES / 1e9:.0f} GB"] if self.beyond_limit else []
        return ", ".join(said)


def pictures_in(folder: str | os.PathLike, *, leave_out: frozenset[str] = frozenset(), progress=iter) -> Found:
    """All pictures of a folder and its sub-folders as photos, in the order of their names, up to 3 GB of pixels.

    Args:
        folder: where to look.
        leave_out: file names to skip, the validation photographs for one.
        progress: wraps the list of paths, tqdm for one.

    Raises:
        TrainingError: there is no such folder, or no picture in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise TrainingError(f"there is no folder {folder}; give one with pictures")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in images.SUFFIXES)
    wanted = [path for path in paths if path.name not in leave_out]
    photos, size_bytes, unreadable = [], 0, 0
    for path in progress(wanted):
        try:
            photo = images.load(path)
        except images.PictureError:
            unreadable += 1  # one damaged file among thousands must not stop a training
            continue
        size_bytes += photo.nbytes
        if size_bytes > FOLDER_LIMIT_BYTES:
            break
        photos.append(photo)
    if not photos:
        raise TrainingError(f"{folder} holds no readable picture ({', '.join(images.SUFFIXES)}); give another folder")
    return Found(photos, unreadable, len(paths) - len(wanted), len(wanted) - unreadable - len(photos))


def bf16_is_faster(device: str) -> bool:
    """Time a few convolutions both ways: bfloat16 is twice as fast on some machines and slower on others."""
    conv = torch.nn.Conv2d(64, 192, 3, padding=1).to(device, memory_format=torch.channels_last)
    x = torch.rand(4, 64, 48, 48, device=device).to(memory_format=torch.channels_last)

    def seconds(enabled):
        for i in range(6):
            if i == 2:  # after a warm-up
                started = time.perf_counter()
            with torch.autocast(x.device.type, torch.bfloat16, enabled=enabled):
                conv(x).sum().backward()
            if x.device.type == "cuda":
                torch.cuda.synchronize()
        return time.perf_counter() - started

    return seconds(True) < seconds(False)
