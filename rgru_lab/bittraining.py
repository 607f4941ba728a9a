"""Train a learned model of the bits on the bits that a codec makes of photographs."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rgru_lab.bitfloats import BitNet, BitTrainConfig, recipe_of
from rgru_lab.bitmodel import ONE, BitModel
from rgru_lab.bitnet import BANKS, Learned
from rgru_lab.config import MAX_ITERATIONS, TrainingError
from rgru_lab.schedule import Schedule, averaged, circumstances, state_copy

COLLECTING, LEARNING = 0.4, 0.5
"""Shares of a time budget that go into making bits and into learning them; the rest is for measuring."""

WARMUP_STEPS = 50
"""So many steps the learning rate rises."""


class Record(NamedTuple):
    """One training step as it is shown and logged."""

    step: int
    progress: float
    """0 to 1: the share of the steps or of the time budget that is used up."""
    elapsed_s: float
    learning_rate: float
    iteration: int
    """Which plane the step was about."""
    bits_per_bit: float


class BitTrainer(Schedule):
    """Everything that changes while training; runs under `runs.run` with its checkpoints, always on the CPU.

    Args:
        codes: crops, (N, K, h, w) int8 each, from `bitdata.collect`.
        config: the recipe.
        steps, time_budget_s: how long, see `Schedule`.
    """

    rank = 0

    def __init__(self, codes: Sequence[np.ndarray], config: BitTrainConfig, *, steps=None, time_budget_s=None):
        super().__init__(steps, time_budget_s)
        if not codes:
            raise TrainingError("there are no bits to train on; give a longer time budget")
        torch.manual_seed(config.seed)
        self.codes = [torch.from_numpy(code) for code in codes]
        self.config = config
        self.net = BitNet(codes[0].shape[1], config)
        self.average = state_copy(self.net)
        self.optimiser = torch.optim.Adam(self.net.parameters(), lr=config.learning_rate)
        self.started_from = None

    def step(self) -> Record:
        """One step of the optimiser: a batch of crops, all at one iteration."""
        started = time.perf_counter()
        iteration = self._iteration()
        planes = self._draw(iteration)
        learning_rate = self.learning_rate(self.config.learning_rate, WARMUP_STEPS)
        self.net.train()
        self.net.forget = self.config.forget if self.progress < 0.5 else 0.0
        loss = self.net(planes, iteration)
        if not loss.isfinite():
            raise TrainingError(
                f"training diverged at step {self.step_count} ({loss:g} bits per bit); what was there before is left "
                f"as it is; start anew with a learning rate under {self.config.learning_rate:g}"
            )
        self.optimiser.zero_grad()
        loss.backward()
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.step()
        self.step_count += 1
        self.follow(self.average, self.net, self.config.ema)
        self.elapsed_s += time.perf_counter() - started
        return Record(self.step_count, self.progress, self.elapsed_s, learning_rate, iteration, loss.item())

    def start_from(self, learned: Learned):
        """Begin with what was learned of another codec's bits: of the one, say, that this one grew from.

        Raises:
            TrainingError: it has another number of bits, or layers of other sizes.
        """
        self.net.begin_with(learned)
        self.average = state_copy(self.net)
        self.started_from = learned.fingerprint.hex()

    def averaged_net(self) -> BitNet:
        """A copy in eval mode with the averaged weights: the one to keep."""
        return averaged(self.net, self.average)

    def state_dict(self) -> dict:
        """All that a checkpoint needs, but for the codes."""
        return {
            "config": vars(self.config),
            "net": self.net.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "step_count": self.step_count,
            "elapsed_s": self.elapsed_s,
            "started_from": self.started_from,
            "torch_rng": torch.get_rng_state(),
        }

    def load_state_dict(self, state: dict):
        """Go on from a checkpoint.

        Raises:
            TrainingError: it was made with another recipe.
        """
        if recipe_of(state["config"]) != self.config:
            raise TrainingError(f"the checkpoint was made with {state['config']}; choose another --output")
        self.net.load_state_dict(state["net"])
        self.average = {name: value.clone() for name, value in state["average"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        self.step_count, self.elapsed_s = state["step_count"], state["elapsed_s"]
        self.started_from = state.get("started_from")
        torch.set_rng_state(state["torch_rng"])

    def _iteration(self) -> int:
        """1, 2, then a later one, and again; of the later ones an early one more often than a late one."""
        deepest = max(len(code) for code in self.codes)
        turn = self.step_count % BANKS + 1
        if turn < BANKS or deepest < BANKS:
            return min(turn, deepest)
        later = torch.arange(BANKS, deepest + 1)
        return int(later[torch.multinomial(1 / later, 1)])

    def _draw(self, iteration: int) -> Tensor:
        deep = [code for code in self.codes if len(code) >= iteration]
        chosen = torch.randint(len(deep), (self.config.batch,))
        return torch.stack([deep[k][max(0, iteration - BANKS) : iteration] for k in chosen]).float()


def papers(trainer: BitTrainer, data: str) -> dict:
    """What is written beside the numbers: enough to say where they come from and to train them again."""
    return {
        "data": data,
        "crops": len(trainer.codes),
        "started_from": trainer.started_from,
        "steps": trainer.step_count,
        "seconds": round(trainer.elapsed_s),
        **circumstances(),
        "config": vars(trainer.config),
    }


def bits_per_bit(bit_model: BitModel, codes: Sequence[np.ndarray]) -> list[float]:
    """What each iteration's bits need, by the probabilities that a file is coded with; [0] is iteration 1."""
    needed, there = np.zeros(MAX_ITERATIONS), np.zeros(MAX_ITERATIONS)
    for planes in codes:
        for index, plane in enumerate(planes):
            flat = plane.ravel() > 0

            def tell(where, probabilities, flat=flat, index=index):
                bits = flat[where]
                needed[index] -= np.log2(np.where(bits, probabilities, ONE - probabilities) / ONE).sum()
                return bits.astype(np.int32)

            bit_model.walk(planes[:index], plane.shape, tell)
            there[index] += plane.size
    return (needed[there > 0] / there[there > 0]).tolist()
