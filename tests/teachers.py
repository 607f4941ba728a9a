"""What the tests of training, runs and processes share: a tiny codec, a short recipe, and a trainer's numbers."""

import torch

from rgru_lab import checkpoints
from rgru_lab.config import ModelConfig

TINY = ModelConfig(encoder=(8, 8, 8, 8), decoder=(4, 8, 8, 8, 8), bits=4, alpha_x=1.0)
RECIPE = {"curriculum": ((1.0, 2, 32, 2),), "loss": "l1", "late": 1.0, "bf16": False, "warmup_steps": 4}


def values(trainer):
    """All numbers that training changes, in one list."""
    moments = [value for of in trainer.optimiser.state_dict()["state"].values() for value in of.values()]
    of_bits = [] if trainer.bit_net is None else [*trainer.bit_net.state_dict().values(), *trainer.bit_average.values()]
    return [*trainer.model.state_dict().values(), *trainer.average.values(), *of_bits, *moments]


def same(a, b):
    """Whether two lists of tensors are equal, bit for bit."""
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def save(trainer, folder):
    """A checkpoint of a trainer."""
    checkpoints.write(folder, trainer.state_dict(), trainer.step_count)


def load(trainer, folder):
    """Go on from the checkpoint of a folder."""
    trainer.load_state_dict(checkpoints.read(folder))
