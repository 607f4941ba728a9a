"""What each idea beyond the paper is worth: the shipped codec trained on for a little with one of them at a time.

All begin with the same weights, see the same patches in the same order and take as many steps; what predicts the bits
learns along in each. So what differs between two lines is the idea, after so short a training. Then each goes over the
photographs, with all bits sent and with adaptive ones.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from rgru_lab import bitnet, bittraining, training
from rgru_lab import model as models
from rgru_lab.config import TrainConfig

STEPS = 100

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
    bf16=False,
)


@dataclass(frozen=True)
class Idea:
    """One change of the common setting."""

    key: str
    says: str
    model: dict = field(default_factory=dict)
    recipe: dict = field(default_factory=dict)


COMMON = Idea("common", "as many steps as before: nothing new")
IDEAS = (
    COMMON,
    Idea("rate", "the rate in the loss", recipe={"rate": 0.5}),
    Idea("adaptive", "positions that stop sending, in half of the patches", recipe={"adaptive": 0.5}),
    Idea("priming", "one extra look before the first bits and the first picture", model={"priming": 1}),
    Idea("ssim", "mean |R| weighted by 1 - SSIM instead of MS-SSIM in the loss", recipe={"loss": "ssim-l1"}),
    Idea("patches", "two patches of 192 px instead of four of 128", recipe={"curriculum": ((1.0, 10, 192, 2),)}),
    Idea("together", "rate, stopping and larger patches", recipe={
        "rate": 0.5, "adaptive": 0.5, "curriculum": ((1.0, 10, 192, 2),)
    }),
)  # fmt: skip


def train(start: models.Weights, photos: list[np.ndarray], folder: Path, ideas=IDEAS) -> Iterator[tuple[Idea, int]]:
    """Train what is not in the folder yet, each idea into KEY.safetensors and KEY.bits; yields each step's number."""
    folder.mkdir(parents=True, exist_ok=True)
    learned = bitnet.find(start)
    for idea in ideas:
        path = folder / f"{idea.key}.safetensors"
        if bitnet.path_beside(start, path).exists():
            continue
        shape = replace(start.model.config, **idea.model)
        trainer = training.Trainer(shape, replace(RECIPE, **idea.recipe), photos, steps=STEPS)
        trainer.start_from(start, learned)
        while not trainer.finished:
            yield idea, trainer.step().step
        papers = training.record(trainer, "training shards")
        models.save(trainer.averaged_model(), path, record=papers)
        kept = models.load(path)
        net = bittraining.integers(trainer.averaged_bit_net())
        bitnet.save(bitnet.Learned(net, kept.fingerprint, papers), bitnet.path_beside(kept, path))
