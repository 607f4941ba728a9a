"""What each idea beyond the paper is worth: the shipped codec trained on for a little with one of them at a time.

All begin with the same weights, see the same patches in the same order and take as many steps; what predicts the bits
learns along in each. So what differs between two lines is the idea, after so short a training. Then each goes over the
photographs. Rate and stopping together, trained for longer, are the weights `best`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np

from rgru_lab import adaptive, bitfloats, bitnet, comparing, measuring, training
from rgru_lab import model as models
from rgru_lab.bitmodel import BitModel
from rgru_lab.config import InputError, TrainConfig
from rgru_lab.files import write_atomically, write_json
from rgru_lab.search import Searching

STEPS = 100

SEARCH = 20
ALL_BITS = partial(measuring.ours, iterations=4)
ADAPTIVE = partial(measuring.ours_adaptive, slopes=(0.2, 0.08, 0.03, 0.012), iterations=8)
FILES = {
    "all bits": ALL_BITS,
    "adaptive": ADAPTIVE,
    "all bits, searched": partial(ALL_BITS, search=SEARCH),
    "adaptive, searched": partial(ADAPTIVE, search=SEARCH),
}
"""Files in which all positions send all their bits, and adaptive ones; of the encoder's first idea, or after a search
of so many steps: how each are measured, as far as MS-SSIM .95."""

PLACES = {"ms_ssim": "", comparing.MOVED: ", one pixel on"}
COLUMNS = tuple((key, level) for key in PLACES for level in (0.90, 0.95))
"""Of the table: a reading, and the level of it."""

ALONG = 1e-6
"""A rate so small that the codec does not notice it; what predicts the bits learns along all the same."""

RECIPE = TrainConfig(
    curriculum=((1.0, 10, 128, 4),),
    loss="ms-ssim",
    late=0.5,
    colour=0.5,
    skip=6,
    rate=ALONG,
    learning_rate=4e-4,
    warmup_steps=20,
    ema=0.98,
    moving=True,
    bf16=False,
)


@dataclass(frozen=True)
class Idea:
    """One change of the common setting."""

    key: str
    says: str
    model: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)
    files: tuple[str, ...] = ("all bits",)
    """Which of `FILES` are measured."""


COMMON = Idea("common", f"{STEPS} more steps, nothing new", files=("all bits", "adaptive", "all bits, searched"))
IDEAS = (
    COMMON,
    Idea("rate", "the rate in the loss", recipe={"rate": 0.5}),
    Idea(
        "adaptive",
        "positions that stop, in half of the patches",
        recipe={"adaptive": 0.5},
        files=("all bits", "adaptive"),
    ),
    Idea(
        "together",
        "the rate and positions that stop",
        recipe={"rate": 0.5, "adaptive": 0.5},
        files=("all bits", "adaptive", "adaptive, searched"),
    ),
    Idea(
        "patches",
        "one patch of 256 x 256 in each step instead of four of 128 x 128",
        recipe={"curriculum": ((1.0, 10, 256, 1),)},
    ),
    Idea("priming", "priming: one extra look before the first bits and the first picture", model={"priming": 1}),
    Idea("diffusion", "diffusion: one extra look before those of every later iteration", model={"diffusion": 1}),
    Idea("first", "a smaller first step: 8 bits of each position instead of 32", model={"first_bits": 8}),
    Idea("ssim", "mean |R| weighted by 1 - SSIM instead of MS-SSIM in the loss", recipe={"loss": "ssim-l1"}),
)


def train(
    start: models.Weights, bit_model: BitModel, photos: list[np.ndarray], folder: Path, ideas=IDEAS, *, data: str
) -> Iterator[tuple[Idea, int]]:
    """Train what is not in the folder yet, each idea into KEY.safetensors and KEY.bits.

    Args:
        start: the weights that all begin with.
        bit_model: what predicts their bits, if it is learned, begins with them.
        photos: to train on, (H, W, 3) uint8.
        folder: where the weights go.
        ideas: which.
        data: name of the photographs, for the weights' record.

    Yields:
        (idea, step), steps counted from 1.

    Raises:
        InputError: weights in the folder were trained from others, or for another number of steps.
    """
    folder.mkdir(parents=True, exist_ok=True)
    learned = bit_model if isinstance(bit_model, bitnet.Learned) else None
    for idea in ideas:
        path = folder / f"{idea.key}.safetensors"
        if path.with_suffix(bitnet.SUFFIX).exists():
            _check_trained(path, start)
            continue
        shape = replace(start.model.config, **idea.model)
        sizes = bitfloats.recipe_for(learned) if learned else None
        trainer = training.Trainer(shape, replace(RECIPE, **idea.recipe), photos, steps=STEPS, bit_config=sizes)
        trainer.start_from(start, learned)
        while not trainer.finished:
            yield idea, trainer.step().step
        papers = training.papers(trainer, data)
        models.save(trainer.averaged_model(), path, record=papers)
        kept = models.load(path)
        net = bitfloats.integers(trainer.averaged_bit_net())
        bitnet.save(bitnet.Learned(net, kept.fingerprint, papers), bitnet.path_beside(kept))


def _check_trained(path: Path, start: models.Weights):
    record = models.load(path).record
    if (record["started_from"], record["steps"]) != (start.name, STEPS):
        raise InputError(
            f"{path} was trained from {record['started_from']} for {record['steps']} steps, not from {start.name} for "
            f"{STEPS}; name another folder with --weights"
        )


def measure(
    folder: Path, paths: list[Path], *, ideas=IDEAS, jobs: int = 1, progress: Callable = lambda rows, total, what: rows
) -> list[dict]:
    """What `train` left in a folder over a set of pictures; what is done is kept there.

    Args:
        folder: of the weights.
        paths: the pictures.
        ideas, jobs, progress: as for `train`, and as for `evaluate.run`.

    Returns:
        For each idea and kind of file `key`, `says`, `files` and `curve`, its means over the pictures at every point.
    """
    found = []
    for idea in ideas:
        path = folder / f"{idea.key}.safetensors"
        weights = models.load(path)
        bit_model = bitnet.find(weights)
        identity = measuring.our_identity(weights, bit_model)
        for kind in idea.files:
            measured = FILES[kind]
            times = Searching.times_memory if "search" in measured.keywords else adaptive.TIMES_MEMORY
            at_once = measuring.affordable_jobs(weights, paths, jobs, times)
            kept = folder / f"{idea.key}-{kind}.part"
            work = partial(measured.func, weights, bit_model=bit_model, **measured.keywords)
            groups = measuring.every(work, paths, kept, identity | measured.keywords, jobs=at_once)
            rows = [row for group in progress(groups, len(paths), f"{idea.key}, {kind}") for row in group]
            found.append(
                {
                    "key": idea.key,
                    "says": idea.says,
                    "files": kind,
                    "precision": identity["precision"],
                    "curve": comparing.written(comparing.mean_curve(rows)),
                }
            )
    return found


def write(folder: Path, start: models.Weights, set_name: str, pictures: int, found: list[dict]) -> Iterator[Path]:
    """Write `effects.json` and `effects.md` into a folder; yields their paths.

    If `evaluate` left the curve of the weights themselves there, it is the first row.
    """
    evaluation = Path(folder) / f"{set_name}-{start.name}.json"
    if evaluation.exists():
        own = json.loads(evaluation.read_text(encoding="utf-8"))
        if own["weights_sha256"] == start.sha256:
            says = f"{start.name} itself, not trained on"
            row = {"key": "start", "says": says, "files": "all bits"}
            found = [row | {key: own[key] for key in ("precision", "curve") if key in own}, *found]
    summary = {"start": start.name, "set": set_name, "pictures": pictures, "steps": STEPS, "ideas": found}
    summary |= comparing.provenance()
    table, page = (Path(folder) / f"effects.{suffix}" for suffix in ("json", "md"))
    write_json(table, summary)
    yield table
    write_atomically(page, report(summary).encode())
    yield page


def report(summary: dict) -> str:
    """The table for people."""
    rows = summary["ideas"]
    common = next(row for row in rows if (row["key"], row["files"]) == (COMMON.key, "all bits"))
    lines = [
        "# What each idea beyond the paper is worth",
        "",
        f"{summary['start']} trained on for {summary['steps']} steps in each line, with the same patches unless it "
        f"names others, and measured on {summary['pictures']} pictures ({summary['set']}): bits per pixel of real "
        "files at a mean MS-SSIM whose grid begins at the corner, or one pixel on, and in brackets what they are "
        f"against “{common['says']}”, all bits. (Not against {summary['start']} itself: so few steps, at a learning "
        "rate that begins anew, can leave weights worse than they were.) So short a training shows what an idea begins "
        "to give, not what it can give; where the networks must learn something new first, as with priming, it shows "
        "the cost of that. A search needs no training: "
        f"the encoder tries other bits than its first idea, in {SEARCH} steps. Made by `python -m rgru_lab effects`. "
        "The rate and positions that stop, trained for longer, are the weights `best`; what they reach is in the pages "
        f"kodak-best-N.md and kodak-best-N-adaptive.md beside this one, N being their version.{_ran(rows)}",
        "",
        f"| what is new in training | files | {' | '.join(f'{level:.2f}{PLACES[key]}' for key, level in COLUMNS)} |",
        "|---|---|" + "---|" * len(COLUMNS),
    ]
    for row in rows:
        cells = []
        for key, level in COLUMNS:
            bpp, before = (comparing.bpp_at(each["curve"], level, key) for each in (row, common))
            change = "" if row is common or None in (bpp, before) else f" ({100 * (bpp / before - 1):+.1f} %)"
            cells.append("–" if bpp is None else f"{bpp:.4f}{change}")
        says = row["says"].replace("|", "\\|")
        lines.append(f"| {says} | {row['files']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _ran(rows: list[dict]) -> str:
    """What the networks ran in, where all rows say it, and the same."""
    found = {row.get("precision") for row in rows}
    return f" The networks ran in {found.pop()}." if len(found) == 1 and None not in found else ""
