"""The network that predicts bits once more, in floating point, where it can learn; `bitnet` has it in whole numbers.

It computes in floating point, but already in the steps of the integers to come: weights and activations are rounded
on the way forward, and the gradient passes straight through. `integers` then only writes the numbers down, so that
what a file takes is what training measured; `network` takes them back, for a gradient that passes through to the bits.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rgru_lab.bitmodel import ONE
from rgru_lab.bitnet import (
    ACTIVATION_STEPS,
    BANKS,
    LOGIT_STEPS,
    PHASES,
    REACH,
    TABLE,
    TOP,
    WEIGHT_STEPS,
    Learned,
)
from rgru_lab.config import MAX_ITERATIONS, InputError, TrainingError, check_learning, check_numbers

ALIKE = (0.4, 0.15, 0.05)
"""How much a neighbour's bit adds to the logit before training, by bank."""

BEFORE = {"groups": 4, "hidden": 48}
"""What a checkpoint does not say that was written before these could be chosen."""


@dataclass(frozen=True)
class BitTrainConfig:
    """How a model of the bits is trained.

    Args:
        groups: how many the channels are divided into, at most one for each.
        hidden, middle: units of the two hidden layers.
        batch: crops per step; all of a step are at the same iteration.
        learning_rate: Adam's; it falls along a cosine to 1 % of that.
        forget: share of the known bits that are taken for unknown in the first half of the training, so that none is
            trusted alone; the second half learns how far to trust them all.
        ema: decay per step of the averaged weights, which are the ones that are kept.
        adaptive: the share of the crops in which positions stop, see `bitdata.collect`.
        seed: of the initial weights, the crops and what is forgotten.

    Raises:
        InputError: a value is out of range; the message names it.
    """

    groups: int = 8
    hidden: int = 32
    middle: int = 32
    batch: int = 8
    learning_rate: float = 6e-3
    forget: float = 0.2
    ema: float = 0.995
    adaptive: float = 0.0
    seed: int = 0

    def __post_init__(self):
        check_numbers(self)
        check_learning(self)
        for name in ("groups", "hidden", "middle", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give 1 or more")
        if not 0 <= self.forget < 1:
            raise InputError(f"forget is {self.forget}; choose 0 up to, not including, 1")
        if not 0 <= self.adaptive <= 1:
            raise InputError(f"adaptive is {self.adaptive}; choose 0 (off) to 1 (all crops)")


def recipe_of(saved: dict) -> BitTrainConfig:
    """The recipe that a checkpoint names."""
    return BitTrainConfig(**BEFORE | saved)


class GroupNet(nn.Module):
    """The network of one bank and one group, in floating point; see `bitnet.Learned` for the drawing.

    Args:
        bits: K.
        known: channels of this group and of those before it.
        own: channels of this group.
        planes: how many earlier planes it sees.
        iterations: how many iterations share it.
        config: its sizes.
    """

    def __init__(self, bits: int, known: int, own: int, planes: int, iterations: int, config: BitTrainConfig):
        super().__init__()
        hidden, middle = config.hidden, config.middle
        side = 2 * REACH + 1
        scale = (side**2 * known + 9 * bits * planes) ** -0.5
        self.near = nn.Parameter(scale * torch.randn(hidden, known, side, side))
        self.direct = nn.Parameter(torch.zeros(own, known, side, side))
        with torch.no_grad():  # begin with what holds for every codec: neighbours in the same channel are alike
            for channel in range(own):
                self.direct[channel, known - own + channel, 1:-1, 1:-1] = ALIKE[min(planes, len(ALIKE) - 1)]
        self.earlier = nn.Parameter(scale * torch.randn(hidden, bits * planes, 3, 3))
        self.hidden_bias = nn.Parameter(torch.zeros(iterations, len(PHASES), hidden))
        self.middle = nn.Parameter(torch.randn(middle, hidden) * (2 / hidden) ** 0.5)
        self.middle_bias = nn.Parameter(torch.zeros(middle))
        self.out = nn.Parameter(torch.zeros(own, middle))
        self.out_bias = nn.Parameter(torch.zeros(iterations, own))

    def forward(self, now: Tensor, before: Tensor | None, iteration: int, phase: int, count: tuple[int, int]) -> Tensor:
        """Logits (B, own, *count) at every second position of planes that begin where the first one's window does."""
        rows, columns = count
        filters = _rounded(torch.cat([self.near, self.direct]), WEIGHT_STEPS, TOP)
        both = F.conv2d(now, filters, stride=2)[:, :, :rows, :columns]
        sums, direct = both.split([len(self.near), len(self.direct)], dim=1)
        if before is not None:
            sums = sums + F.conv2d(before, _rounded(self.earlier, WEIGHT_STEPS, TOP), stride=2)[:, :, :rows, :columns]
        bias = _rounded(self.hidden_bias[iteration, phase], WEIGHT_STEPS)
        hidden = _activate(sums.movedim(1, -1) + bias)
        bias = _rounded(self.middle_bias, WEIGHT_STEPS * ACTIVATION_STEPS)
        middle = _activate(F.linear(hidden, _rounded(self.middle, WEIGHT_STEPS, TOP), bias))
        bias = _rounded(self.out_bias[iteration], WEIGHT_STEPS * ACTIVATION_STEPS)
        logit = F.linear(middle, _rounded(self.out, WEIGHT_STEPS, TOP), bias).movedim(-1, 1)
        return logit + direct


class BitNet(nn.Module):
    """All banks and groups, in floating point; `integers` turns it into a `bitnet.Learned`."""

    def __init__(self, bits: int, config: BitTrainConfig):
        super().__init__()
        self.sizes = [len(part) for part in np.array_split(np.arange(bits), min(bits, config.groups))]
        self.forget = config.forget
        known = np.cumsum(self.sizes).tolist()
        self.banks = nn.ModuleList(
            nn.ModuleList(
                GroupNet(bits, total, own, bank, 1 if bank < BANKS - 1 else MAX_ITERATIONS - BANKS + 1, config)
                for total, own in zip(known, self.sizes, strict=True)
            )
            for bank in range(BANKS)
        )

    def forward(self, planes: Tensor, iteration: int) -> Tensor:
        """Bits needed per bit of the last of these planes, given those before it; differentiable, by the planes too.

        Args:
            planes: B[i] and the two before it, as far as there are any: (B, 1 to 3, K, h, w) float, -1 and +1,
                and 0 where a position has stopped.
            iteration: i, from 1.
        """
        h, w = planes.shape[-2:]
        bank = min(iteration, BANKS) - 1
        plane, before = planes[:, -1], None
        if bank:
            before = F.pad(self._forget(planes[:, -1 - bank : -1].flip(1).flatten(1, 2)), (1,) * 4)
        known = F.pad(self._forget(plane), (REACH,) * 4)
        phases = torch.zeros(h + 2 * REACH, w + 2 * REACH, dtype=torch.long, device=plane.device)
        for phase, (row, column) in enumerate(PHASES):
            phases[REACH + row : REACH + h : 2, REACH + column : REACH + w : 2] = phase
        needed, start = 0.0, 0
        for net, own in zip(self.banks[bank], self.sizes, strict=True):
            end = start + own
            for phase, (row, column) in enumerate(PHASES):
                bits = plane[:, start:end, row::2, column::2]
                if not bits.numel():
                    continue
                now = torch.cat([known[:, :start], known[:, start:end] * (phases < phase)], 1)[:, :, row:, column:]
                seen = None if before is None else before[:, :, row:, column:]
                logit = net(now, seen, iteration - 1 - bank, phase, bits.shape[2:])
                needed = needed + (F.softplus(-logit * bits) * bits.detach().abs()).sum()  # 0: not sent
            start = end
        return needed / plane.detach().abs().sum().clamp_min(1) / math.log(2)

    def begin_with(self, learned: Learned):
        """Take a learned model's numbers over; where it has fewer groups, each goes to all that lie within it.

        Raises:
            TrainingError: it has another number of bits, groups that ours do not divide, or layers of other sizes.
        """
        state, parts = floats(learned), _parts(self.sizes, learned.sizes)
        middle, hidden = self.banks[0][0].middle.shape
        if parts is None or state["banks.0.0.middle"].shape != (middle, hidden):
            raise TrainingError(
                f"a model of {learned.bits} bits in {learned.groups} groups cannot begin one of {sum(self.sizes)} in "
                f"{len(self.sizes)} with {hidden} and {middle} units; divide its groups further or leave out "
                "--start-from"
            )
        for bank, groups in enumerate(self.banks):
            for net, (group, own) in zip(groups, parts, strict=True):
                taken = {name: state[f"banks.{bank}.{group}.{name}"] for name in net.state_dict()}
                known = net.near.shape[1]
                taken["near"], taken["direct"] = taken["near"][:, :known], taken["direct"][own, :known]
                taken["out"], taken["out_bias"] = taken["out"][own], taken["out_bias"][:, own]
                net.load_state_dict(taken)
                with torch.no_grad():  # of channels that theirs could not know at this position, no weight has learned
                    for weight in (net.near, net.direct):
                        weight[:, known - own.stop : known - (own.stop - own.start), REACH, REACH] = 0

    def _forget(self, known: Tensor) -> Tensor:
        return known * (torch.rand_like(known) >= self.forget) if self.training and self.forget else known


def _parts(sizes: list[int], theirs: list[int]) -> list[tuple[int, slice]] | None:
    """Of each group, by its size, the one of theirs in which it lies, and which channels of that it has.

    None if there is none: another number of channels, or a group that lies in two of theirs.
    """
    ends, wholes = np.cumsum(sizes), np.cumsum(theirs)
    if ends[-1] != wholes[-1] or not set(wholes) <= set(ends):
        return None
    parts = []
    for size, end in zip(sizes, ends.tolist(), strict=True):
        group = int(np.searchsorted(wholes, end))
        first = end - size - int(wholes[group] - theirs[group])
        parts.append((group, slice(first, first + size)))
    return parts


def integers(net: BitNet) -> dict[str, np.ndarray]:
    """The numbers of a trained network, as `bitnet.Learned` takes them."""
    fine = WEIGHT_STEPS * ACTIVATION_STEPS
    tensors = {"table": probability_table()}
    for bank, groups in enumerate(net.banks):
        for group, layers in enumerate(groups):
            for name, value, unit, most in (
                ("near", layers.near.permute(2, 3, 1, 0).flatten(0, 2), WEIGHT_STEPS, TOP),
                ("direct", layers.direct.permute(2, 3, 1, 0).flatten(0, 2), WEIGHT_STEPS, TOP),
                ("earlier", _by_plane(layers.earlier, bank), WEIGHT_STEPS, TOP),
                ("hidden_bias", layers.hidden_bias, WEIGHT_STEPS, None),
                ("middle", layers.middle.T, WEIGHT_STEPS, TOP),
                ("middle_bias", layers.middle_bias, fine, None),
                ("out", layers.out.T, WEIGHT_STEPS, TOP),
                ("out_bias", layers.out_bias, fine, None),
            ):
                whole = _whole(value.detach().cpu(), unit, most).numpy()
                tensors[f"{bank}.{group}.{name}"] = whole.astype(np.int8 if most else np.int32)
    return tensors


def floats(learned: Learned) -> dict[str, Tensor]:
    """The state of a `BitNet` out of a learned model's numbers: what `integers` came from, but for the rounding."""
    side, fine = 2 * REACH + 1, WEIGHT_STEPS * ACTIVATION_STEPS
    ways = {
        "near": lambda value: value.unflatten(0, (side, side, -1)).permute(3, 2, 0, 1) / WEIGHT_STEPS,
        "direct": lambda value: value.unflatten(0, (side, side, -1)).permute(3, 2, 0, 1) / WEIGHT_STEPS,
        "earlier": lambda value: _by_kernel(value, learned.bits) / WEIGHT_STEPS,
        "hidden_bias": lambda value: value / WEIGHT_STEPS,
        "middle": lambda value: value.T / WEIGHT_STEPS,
        "middle_bias": lambda value: value / fine,
        "out": lambda value: value.T / WEIGHT_STEPS,
        "out_bias": lambda value: value / fine,
    }
    state = {}
    for bank in range(BANKS):
        for group in range(learned.groups):
            for name, way in ways.items():
                numbers = torch.from_numpy(learned.tensors[f"{bank}.{group}.{name}"].astype(np.float32))
                state[f"banks.{bank}.{group}.{name}"] = way(numbers).contiguous()
    return state


def network(learned: Learned) -> BitNet:
    """The network in floating point whose numbers these are: what they say of bits can be differentiated."""
    net = BitNet(learned.bits, recipe_for(learned)).eval()
    net.begin_with(learned)
    return net


def recipe_for(learned: Learned) -> BitTrainConfig:
    """A recipe for a network that has a learned model's sizes, so that it can begin with its numbers."""
    hidden, middle = learned.tensors["0.0.middle"].shape
    return BitTrainConfig(groups=learned.groups, hidden=hidden, middle=middle)


def probability_table() -> np.ndarray:
    """P(+1) in units of 2^-16 for logits from -16 to 16, in the middle of each step; (entries,) int32.

    It is stored with the weights: another machine's exponential function may differ in the last digit.
    """
    logit = (np.arange(TABLE) - TABLE // 2 + 0.5) / LOGIT_STEPS
    return np.clip(np.rint(ONE / (1 + np.exp(-logit))), 1, ONE - 1).astype(np.int32)


def _by_plane(weight: Tensor, planes: int) -> Tensor:
    """(hidden, planes K, 3, 3) to (planes 9 K, hidden)."""
    if not planes:
        return weight.new_zeros(0, len(weight))
    return weight.unflatten(1, (planes, -1)).permute(1, 3, 4, 2, 0).flatten(0, 3)


def _by_kernel(numbers: Tensor, bits: int) -> Tensor:
    """(planes 9 K, hidden) to (hidden, planes K, 3, 3): back from `_by_plane`."""
    if not len(numbers):
        return numbers.new_zeros(numbers.shape[1], 0, 3, 3)
    return numbers.unflatten(0, (-1, 3, 3, bits)).permute(4, 0, 3, 1, 2).flatten(1, 2)


def _whole(value: Tensor, unit: int, most: int | None) -> Tensor:
    steps = torch.round(value * unit)
    return steps if most is None else steps.clamp(-most, most)


def _rounded(value: Tensor, unit: int, most: int | None = None) -> Tensor:
    """To whole steps of 1 / unit on the way forward, as if nothing had happened on the way back."""
    return value + (_whole(value, unit, most) / unit - value).detach()


def _activate(sums: Tensor) -> Tensor:
    ramp = sums.clamp(0, TOP / ACTIVATION_STEPS)
    return ramp + (torch.floor(ramp * ACTIVATION_STEPS) / ACTIVATION_STEPS - ramp).detach()
