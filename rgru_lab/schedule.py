"""What every training shares: how long it lasts, how large its steps are, and the running mean of its weights."""

import copy
import datetime
import math
import platform

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from rgru_lab.config import TrainingError

FLOOR = 0.01
"""The learning rate at the end, as a share of its peak."""


class Schedule:
    """A training over `steps`, or over `time_budget_s` seconds spent in steps, or over whichever of the two ends first.

    Args:
        steps: how many, or None.
        time_budget_s: how many seconds, or None.

    Raises:
        TrainingError: neither is given.
    """

    def __init__(self, steps: int | None = None, time_budget_s: float | None = None):
        if max(steps or 0, time_budget_s or 0) <= 0:
            raise TrainingError("say how long to train: a number of steps, a time budget, or both")
        self.steps = steps
        self.time_budget_s = time_budget_s
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

    def learning_rate(self, peak: float, warmup_steps: int) -> float:
        """Of the step that is due: up to the peak along a line, and down to `FLOOR` of it along a cosine."""
        warmup = min(1.0, (self.step_count + 1) / max(1, warmup_steps))
        cosine = 0.5 * (1 + math.cos(math.pi * self.progress))
        return peak * warmup * (FLOOR + (1 - FLOOR) * cosine)

    @torch.no_grad()
    def follow(self, average: dict[str, Tensor], network: nn.Module, ema: float):
        """Move the running mean of a network's weights, which `state_copy` began, by a step of the decay `ema`."""
        # Early on it forgets faster, so that it does not drag the random start along.
        decay = min(ema, self.step_count / (self.step_count + 10))
        now = network.state_dict()
        get_ema_multi_avg_fn(decay)(list(average.values()), [now[name] for name in average], None)


def state_copy(network: nn.Module) -> dict[str, Tensor]:
    """A copy of all that a network's state holds, by name."""
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def averaged(network: nn.Module, average: dict[str, Tensor]) -> nn.Module:
    """A copy of a network on the CPU, in eval mode, with the running mean of its weights: the one to keep."""
    kept = copy.deepcopy(network).cpu()
    kept.load_state_dict(average)
    return kept.eval()


def circumstances(device: torch.device | None = None) -> dict[str, str]:
    """Where and when a training ran, for its record: `hardware`, of a GPU if it was on one, `torch` and `date`."""
    threads = torch.get_num_threads()
    cpu = f"{platform.machine()} CPU, {threads} thread{'s' if threads > 1 else ''}"
    return {
        "hardware": torch.cuda.get_device_name(device) if device and device.type == "cuda" else cpu,
        "torch": torch.__version__,
        "date": datetime.date.today().isoformat(),
    }
