"""Small equal-budget trainings that decide the recipe, and the table that they make.

Each trial changes one thing of a common setting and is trained with several seeds. What differs by less than the
seeds do is a tie. All is measured on validation photographs, never on Kodak.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rgru_lab import images
from rgru_lab import model as models
from rgru_lab.codec import unroll
from rgru_lab.config import CELL_NAMES, MIDPOINT, RECONSTRUCTIONS, InputError, TrainConfig, preset
from rgru_lab.files import read_json, write_json
from rgru_lab.losses import Similarity
from rgru_lab.schedule import state_copy
from rgru_lab.training import Trainer, papers

STEPS = 200
SEEDS = (0, 1)
TIMED = 20
"""Steps of which the quickest is taken for the time of one: other work on the machine can only add to it."""
SHOWN = (1, 2, 4)
CROP = 256
"""Side in pixels of the middle of each validation photograph on which a trial is measured."""

MODEL = preset("micro")
RECIPE = TrainConfig(
    curriculum=((0.25, 2, 64, 4), (1.0, 4, 64, 4)), loss="l1", late=0, ema=0.99, warmup_steps=20, bf16=False
)


@dataclass(frozen=True)
class Trial:
    """One change of the common setting."""

    question: str
    setting: str
    model: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)
    prepare: Callable | None = None
    """Changes the fresh networks in place: what no config offers."""
    restart: bool = False
    """Half-way all but the averaged weights is lost: optimiser and schedule begin anew for the second half."""
    budget: str = "steps"
    """"steps": STEPS of them; "seconds": as many steps as take the time of STEPS of the common setting."""


def orthogonal(model: nn.Module):
    """Orthogonal weights for what reads the memory, Xavier's for the rest, biases 0."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            initialise = nn.init.orthogonal_ if name.split(".")[-1].startswith("U") else nn.init.xavier_uniform_
            value = torch.empty(module.weight.shape)  # contiguous, which the initialisation needs
            initialise(value)
            module.weight.copy_(value)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def gate_bias(value: float) -> Callable:
    """All update gates z begin at sigmoid(value) instead of about a half."""

    def change(model: nn.Module):
        for module in model.modules():
            if hasattr(module, "U_gates"):
                nn.init.constant_(module.W.bias[: module.channels], value)

    return change


def orthogonal_open(model: nn.Module):
    """`orthogonal`, then gates z open at sigmoid(1)."""
    orthogonal(model)
    gate_bias(1.0)(model)


def padding(mode: str) -> Callable:
    """What convolutions see beyond the border: "reflect", "replicate" instead of zeros."""

    def change(model: nn.Module):
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size[0] > 1:
                module.padding_mode = mode

    return change


def cheaper(make: Callable) -> Callable:
    """The memory's convolutions U are made by make(channels in, channels out) where the resolution is highest."""

    def change(model: nn.Module):
        for cell in (model.decoder.cell3, model.decoder.cell4):
            cell.U_gates = make(cell.channels, 2 * cell.channels).to(memory_format=torch.channels_last)
            cell.U = make(cell.channels, cell.channels).to(memory_format=torch.channels_last)

    return change


def depthwise(channels: int, wanted: int) -> nn.Module:
    """3 x 3 in each channel alone, then 1 x 1 over all of them."""
    alone = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    return nn.Sequential(alone, nn.Conv2d(channels, wanted, 1, bias=False))


def factorised(channels: int, wanted: int) -> nn.Module:
    """3 x 1, then 1 x 3."""
    down = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0), bias=False)
    return nn.Sequential(down, nn.Conv2d(channels, wanted, (1, 3), padding=(0, 1), bias=False))


def _curriculum(iterations: int, patch: int, batch: int) -> dict:
    return {"curriculum": ((0.25, 2, patch, batch), (1.0, iterations, patch, batch))}


COMMON = Trial("common setting", "Residual GRU, one-shot, α_x 1, α_h 0.1, gain 4, rate 1e-3, 4 patches of 64 px, L1")
TRIALS = (
    COMMON,
    Trial("initialisation", "orthogonal memory, Xavier, biases 0", prepare=orthogonal),
    Trial("gate bias", "z begins at σ(-1)", prepare=gate_bias(-1.0)),
    Trial("gate bias", "z begins at σ(1)", prepare=gate_bias(1.0)),
    Trial("initialisation", "orthogonal, and z begins at σ(1)", prepare=orthogonal_open),
    Trial("α_x", "0.1, the paper's", {"alpha_x": 0.1}),
    Trial("α_h", "1", {"alpha_h": 1.0}),
    Trial("gain", "1, the paper's", {"gain": 1.0}),
    Trial("learning rate", "3e-4", recipe={"learning_rate": 3e-4}),
    Trial("learning rate", "3e-3", recipe={"learning_rate": 3e-3}),
    Trial("patch size", "16 patches of 32 px, the paper's size", recipe=_curriculum(4, 32, 16)),
    Trial("patch size", "1 patch of 128 px", recipe=_curriculum(4, 128, 1)),
    Trial("bits in training", "drawn at random, as the paper does", recipe={"stochastic": True}),
    Trial("curriculum", "4 iterations from the first step", recipe={"curriculum": ((1.0, 4, 64, 4),)}),
    Trial("averaged weights", "the last ones instead", recipe={"ema": 0.0}),
    Trial("resuming", "half-way from the averaged weights alone", restart=True),
    Trial("padding", "reflect", prepare=padding("reflect")),
    Trial("padding", "replicate", prepare=padding("replicate")),
    Trial("patches", "only the 11 % that PNG compresses worst", recipe={"hard": 0.11}),
    Trial("loss", "L1 weighted by 1 - SSIM", recipe={"loss": "ssim-l1"}),
    Trial("loss", "0.16 L1 + 0.84 (1 - MS-SSIM)", recipe={"loss": "ms-ssim"}),
    Trial("loss", "the same, 1 patch of 128 px", recipe={"loss": "ms-ssim"} | _curriculum(4, 128, 1)),
    Trial("loss", "later iterations weighted by i", recipe={"late": 1.0}),
    *(
        Trial(question, setting, model, prepare=prepare, budget=budget)
        for budget in ("steps", "seconds")
        for question, setting, model, prepare in (
            ("memory at high resolution", "1 x 1", {"hidden_kernel": 1}, None),
            ("memory at high resolution", "3 x 3 of each channel, then 1 x 1", {}, cheaper(depthwise)),
            ("memory at high resolution", "3 x 1, then 1 x 3", {}, cheaper(factorised)),
            ("bits in an iteration", "64 instead of 32", {"bits": 64}, None),
        )
    ),
    *(
        Trial("cell and reconstruction", f"{cell}, {mode}", {"cell": cell, "reconstruction": mode}, budget=budget)
        for budget in ("steps", "seconds")
        for cell in CELL_NAMES
        for mode in RECONSTRUCTIONS
        if (cell, mode) != (MODEL.cell, MODEL.reconstruction)
    ),
)


DECISIONS = {
    "common setting": "What each other line changes one thing of.",
    "initialisation": "Orthogonal weights bring |R| down sooner, but MS-SSIM less: torch's own stay.",
    "gate bias": "Open gates (1) are a tie, shut ones (-1) hurt; torch's bias stays until a long training agrees.",
    "α_x": "1 in the presets that ship.",
    "α_h": "0.1, the paper's, stays: 1 is no better.",
    "gain": "A tie here; in 400 steps (recipe.md) 4 was better with both seeds, and the presets that ship have it.",
    "learning rate": "The higher the better in so short a training; 1e-3 for long ones, less from weights.",
    "patch size": "64 px to begin with. In the long trainings 128 px and more where MS-SSIM is in the loss, since a "
    "smaller patch has not all of its five scales; so short a training gains nothing by it.",
    "bits in training": "The sign, not drawn.",
    "curriculum": "A tie at equal steps; fewer iterations first, since such steps take less time.",
    "averaged weights": "A tie here, where the rate falls to nearly nothing; kept for trainings that are stopped.",
    "resuming": "Optimiser and schedule lost half-way: within the seeds of the common setting.",
    "padding": "A tie: zeros stay.",
    "patches": "A tie: all places.",
    "loss": "L1 from random weights, where MS-SSIM leaves brightness and colour behind; MS-SSIM from trained ones. L1 "
    "weighted by 1 - SSIM is a tie. Weighing later iterations costs the first.",
    "memory at high resolution": "3 x 3 of each channel, then 1 x 1, and 3 x 1, then 1 x 3 tie with 3 x 3 for less "
    "work there; 1 x 1 is behind, with one seed far. `fast` keeps its 1 x 1: begun from its weights, kernels of each "
    "channel stayed next to the identity (recipe.md).",
    "bits in an iteration": "P[1] and P[2] of 64 bits, which take as many as P[2] and P[4] of 32, are behind: 32 stay.",
    "cell and reconstruction": "The Residual GRU, with its path past the memory (α_x 1), learns soonest. Its three "
    "reconstructions are ties at equal steps; one-shot is the simplest.",
}
"""What was made of each question, in the order of the table."""


def run(
    photos: list[np.ndarray],
    validation: list[np.ndarray],
    results: Path,
    weights: Path | None = None,
    trials=TRIALS,
    *,
    data: str,
) -> Iterator[dict]:
    """Train and measure what is not in `results` yet; each row is written as soon as it is there.

    Args:
        photos: to train on, (H, W, 3) uint8.
        validation: to measure on, sides of 256 px or more.
        results: the JSON file.
        weights: folder for the trained weights of the comparison of cells; None: they are not kept.
        trials: which.
        data: name of the photographs, for the weights' record.

    Yields:
        One row per trial and seed, the ones from the file included.
    """
    crops = torch.cat([_middle(photo) for photo in validation])
    rows = read_json(results) if results.exists() else []
    known = {(row["question"], row["setting"], row["budget"], row["seed"]): row for row in rows}
    for trial in trials:
        for seed in SEEDS:
            key = (trial.question, trial.setting, trial.budget, seed)
            if key not in known:
                known[key] = _one(trial, seed, photos, crops, weights, data)
                write_json(results, sorted(known.values(), key=_place))
            yield known[key]


def _place(row: dict) -> tuple[int, int]:
    """Where a row stands in the table: in the order of `TRIALS`, what is not among them last."""
    order = [(trial.question, trial.setting, trial.budget) for trial in TRIALS]
    key = row["question"], row["setting"], row["budget"]
    return order.index(key) if key in order else len(order), row["seed"]


def _one(
    trial: Trial, seed: int, photos: list[np.ndarray], crops: torch.Tensor, weights: Path | None, data: str
) -> dict:
    own_s = _step_s(trial, seed, photos)
    steps = STEPS if trial.budget == "steps" else round(STEPS * _step_s(COMMON, seed, photos) / own_s)
    trainer = _trainer(trial, seed, photos, steps)
    while not trainer.finished and not (trial.restart and trainer.progress >= 0.5):
        trainer.step()
    if trial.restart:
        kept = models.Weights("the first half", trainer.averaged_model(), {}, "")
        trainer = _trainer(trial, seed + 1000, photos, steps - trainer.step_count)
        trainer.start_from(kept)
        while not trainer.finished:
            trainer.step()
    model = trainer.averaged_model()
    if weights and trial.budget == "steps" and trial.question in (COMMON.question, "cell and reconstruction"):
        weights.mkdir(parents=True, exist_ok=True)
        models.save(model, weights / f"{_short(trial)}-s{seed}.safetensors", record=papers(trainer, data))
    residuals, similarities = _measure(model, crops)
    return {
        "question": trial.question,
        "setting": trial.setting,
        "budget": trial.budget,
        "seed": seed,
        "steps": steps,
        "cpu_seconds_per_step": round(own_s, 4),
        "parameters": sum(p.numel() for p in model.parameters()),
        "mean_abs_residual": residuals,
        "ms_ssim": similarities,
        "torch": torch.__version__,
    }


def _trainer(trial: Trial, seed: int, photos, steps: int) -> Trainer:
    config = replace(MODEL, **trial.model)
    trainer = Trainer(config, replace(RECIPE, seed=seed, **trial.recipe), photos, steps=steps)
    if trial.prepare:
        with torch.no_grad():
            trial.prepare(trainer.model)
        trainer.average = state_copy(trainer.model)
        # It may have put in layers that the optimiser does not know.
        trainer.optimiser.param_groups[0]["params"] = list(trainer.model.parameters())
    return trainer


def _step_s(trial: Trial, seed: int, photos) -> float:
    """Processor seconds of a step at full length, the smallest of many: other work can only add to it."""
    trainer = _trainer(trial, seed, photos[:4], steps=4)
    trainer.step_count = 2  # past the short iterations of the beginning
    seconds = []
    for _ in range(1 + TIMED):
        started = time.process_time()
        trainer.step()
        trainer.step_count = 2
        seconds.append(time.process_time() - started)
    return min(seconds[1:])


@torch.inference_mode()
def _measure(model, crops: torch.Tensor) -> tuple[list[float], list[float]]:
    """Mean |R[i]| in levels and MS-SSIM of the 8-bit pictures, for the iterations shown, over all crops."""
    residuals, similarities = [], []
    for x in crops.split(8):
        similarity = Similarity(x)
        pictures = [step.picture for step in islice(unroll(model, x), max(SHOWN))]
        pictures = [((pictures[i - 1] + MIDPOINT).clamp(0, 1) * 255).round() / 255 - MIDPOINT for i in SHOWN]
        residuals.append([float(255 * (x - p).abs().mean()) * len(x) for p in pictures])
        similarities.append([float(similarity.ms_ssim(p)) * len(x) for p in pictures])
    return [
        [round(float(v) / len(crops), n) for v in np.sum(table, 0)] for table, n in ((residuals, 3), (similarities, 5))
    ]


def _middle(photo: np.ndarray) -> torch.Tensor:
    height, width = photo.shape[:2]
    if min(height, width) < CROP:
        raise InputError(f"a validation photograph has {width} x {height} px; leave out those with a side under {CROP}")
    top, left = (height - CROP) // 2, (width - CROP) // 2
    crop = images.centred(photo[top : top + CROP, left : left + CROP])
    return crop.to(memory_format=torch.channels_last)


def _short(trial: Trial) -> str:
    """A name of at most ten characters: `resgru`, `lstm`, `resgru-add`."""
    cell = trial.model.get("cell", MODEL.cell)
    mode = trial.model.get("reconstruction", MODEL.reconstruction)
    cells = dict(zip(CELL_NAMES, ("resgru", "gru", "lstm", "assoc"), strict=True))
    modes = dict(zip(RECONSTRUCTIONS, ("", "-add", "-res"), strict=True))
    return cells[cell] + modes[mode]


def document(rows: list[dict]) -> str:
    """The table and what was decided, as `training.md`."""
    decided = [f"- **{question}**: {decision}" for question, decision in DECISIONS.items()]
    return "\n".join(
        [
            "# What the recipe rests on",
            "",
            f"Small trainings of `micro` on the training photographs, {STEPS} steps with {len(SEEDS)} seeds "
            f"each, measured on the middle {CROP} x {CROP} pixels of the validation photographs (never Kodak). "
            "Mean |R[i]| is in 8-bit levels: lower is better; the seeds stand side by side. What differs by "
            "less than the seeds do is a tie. They are short, so they say what helps a *short* training. "
            f"Where the number of steps is another, it is what took the processor time of {STEPS} steps of the "
            "common setting; that time was taken on machines that did other work, too, and of one setting the numbers "
            f"of the two seeds, which should be alike, differ by up to {_unlike(rows):.0f} %. Made by "
            "`python -m rgru_lab trials`.",
            "",
            table(rows),
            "## What was decided",
            "",
            *decided,
            "",
            "How the shipped weights were trained, stage by stage, is in [recipe.md](recipe.md).",
            "",
        ]
    )


def _unlike(rows: list[dict]) -> float:
    """By how many percent the seeds' numbers of steps differ, in the setting where they differ most."""
    steps = {}
    for row in rows:
        steps.setdefault((row["question"], row["setting"], row["budget"]), []).append(row["steps"])
    return max(100 * (max(each) / min(each) - 1) for each in steps.values())


def table(rows: list[dict]) -> str:
    """The rows as Markdown: one line per setting, the seeds side by side."""
    shown = ", ".join(map(str, SHOWN))
    lines = [
        f"| question | setting | steps | mean \\|R[i]\\| after {shown} | MS-SSIM after {SHOWN[-1]} | CPU s a step |",
        "|---|---|---|---|---|---|",
    ]
    groups = {}
    for row in rows:
        groups.setdefault((row["question"], row["setting"], row["budget"]), []).append(row)
    for (question, setting, budget), seeds in groups.items():
        residuals = " · ".join(
            " / ".join(f"{row['mean_abs_residual'][k]:.1f}" for row in seeds) for k in range(len(SHOWN))
        )
        similarities = " / ".join(f"{row['ms_ssim'][-1]:.4f}" for row in seeds)
        steps = " / ".join(str(row["steps"]) for row in seeds) if budget == "seconds" else str(seeds[0]["steps"])
        seconds = statistics.mean(row["cpu_seconds_per_step"] for row in seeds)
        lines.append(f"| {question} | {setting} | {steps} | {residuals} | {similarities} | {seconds:.3f} |")
    return "\n".join(lines) + "\n"
