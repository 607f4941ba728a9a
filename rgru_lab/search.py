"""The encoder tries other bits: what it sends is its network's first idea, made better for this very photo.

A decoder reads any bits. So the encoder may take its time, follow the gradient of the picture's unlikeness through the
decoder back to the bits, turn over those that stand on the edge, and send what makes the better picture. The file's
format, the decoder and its time stay what they were.
"""

import math

import numpy as np
import torch
from torch import Tensor

from rgru_lab.bitfloats import network
from rgru_lab.bitmodel import BitModel
from rgru_lab.bitnet import BANKS, Learned
from rgru_lab.codec import Sending, on_tensors
from rgru_lab.config import InputError
from rgru_lab.losses import Loss, at_both_places
from rgru_lab.model import DecoderState, EncoderState, ResidualCoder

STEP = 0.03
"""How far a step moves the binarizer's y at most, at first; it falls to 0 along a line."""

BETAS = (0.9, 0.99)
"""Adam's memory of the gradient and of its square: short, for so few steps."""

RATE = 0.5
"""How many percent of D one percent fewer bits are worth, as in the training of `best`."""

COLOUR = 1.0
"""Weight of |mean R[i]| of each colour beside 1 - MS-SSIM, which hardly sees a shift of the whole picture."""

TINY = 1e-9
"""What D is at least, where P[i] is I: its logarithm is finite."""

MOST_STEPS = 1000

FEW = 2
"""A position that sends so few iterations is searched in each of them, others in their last alone."""

TOO_FEW = 0.005
"""Where less than this share of the positions is to be searched, none is: a step costs as much as for all."""


class Searching(Sending):
    """A codec that, in each iteration, looks for bits whose picture is more like the original.

    The search begins at the y in (-1, 1) that the binarizer takes the signs of, so the bits that can turn are those of
    which the encoder was least sure. Each step decodes, and moves y down the gradient of log D + RATE log R, passed
    straight through the sign as in training: D is 1 - MS-SSIM of P[i], the mean of two places of its grid, plus COLOUR
    times |mean R[i]|, the mean taken over a colour's pixels and the result over red, green and blue; R is what a
    learned model of the bits expects B[1] .. B[i] to take; without one it is log D alone. The best bits of all that
    were tried are sent, the first idea being among them.

    What later iterations can make of the decoder's memory is not looked at, and they make less of it: what is better
    for P[i] leaves a residual that the networks were not trained for. So where a position goes on, its bits stay those
    of the network; the search is for the last that it sends.

    Args:
        model: the networks.
        steps: how many in iteration 1, 1 to 1000, if all positions are searched there; √(s / i) as many, rounded up,
            for a share s of them in iteration i. Each takes about three times as long as decoding an iteration.
        bit_model: what the file's bits will be coded with, or None.
        counts: (h, w), the number of iterations that each position sends, as in `codec.encode`; None: any may be the
            last, and all positions are searched in each.

    Raises:
        InputError: steps is out of range.
    """

    times_memory = 3.2

    def __init__(
        self,
        model: ResidualCoder,
        steps: int,
        bit_model: BitModel | None = None,
        counts: np.ndarray | None = None,
    ):
        super().__init__(model)
        self.steps = check_steps(steps)
        device = next(model.parameters()).device
        self._rate = network(bit_model).to(device) if isinstance(bit_model, Learned) else None
        self._counts = None if counts is None else torch.from_numpy(counts).to(device)
        self._x = self._loss_of = self._memory = self._previous = None

    def gain(self, previous: Tensor | None) -> Tensor | float:
        """See `ResidualCoder.gain`."""
        self._previous, self._gain = previous, super().gain(previous)
        return self._gain

    def encode(self, r: Tensor, state: EncoderState | None = None) -> tuple[Tensor, EncoderState]:
        """See `ResidualCoder.encode`; in the first iteration r is I."""
        if state is None:
            self._memory, self._planes, self._spent = None, [], 0.0
            with torch.inference_mode(False):
                self._x = _own(r).float()
                self._loss_of = Loss("ms-ssim", 1.0, COLOUR, at_both_places(self._x))
        heard = []
        handle = self.model.binarizer.conv.register_forward_hook(lambda conv, features, sums: heard.append(sums))
        try:
            idea, state = super().encode(r, state)
        finally:
            handle.remove()
        with torch.inference_mode(False), torch.enable_grad():
            idea, y = _own(idea).float(), torch.tanh(_own(heard[-1]).float())
            better, taken = self._better(idea, y)
        self._planes.append(better)
        self._spent += taken
        return better, state

    def decode(self, bits: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """See `ResidualCoder.decode`."""
        output, self._memory = super().decode(bits, state)
        return output, self._memory

    def _better(self, bits: Tensor, y: Tensor) -> tuple[Tensor, float]:
        """The best bits that were found, and how many the model of the bits expects them to take."""
        free, steps = self._searched(bits)
        if not steps:
            return bits, self._expected_bits(bits).item()
        memory, previous, gain = (_own(each) for each in (self.carried(self._memory), self._previous, self._gain))
        y = y.requires_grad_()
        optimiser = torch.optim.Adam([y], STEP, BETAS)
        best = tried = bits
        least = taken = float("inf")
        for step in range(steps + 1):
            trial = tried + free * (y.abs() < 1) * (y - y.detach())
            output = self.model.decode(trial, memory)[0]
            picture = self.model.reconstruct(output, previous, gain)
            unlike = self._loss_of(at_both_places(picture), at_both_places(self._x - picture))
            rate = self._expected_bits(trial)
            loss = torch.log(unlike.clamp_min(TINY)) + RATE * torch.log(self._spent + rate)
            if loss.item() < least:
                least, best, taken = loss.item(), tried, rate.item()
            if step == steps:
                break
            # In proportion to the picture, or Adam would take a large one's gradients, each of few pixels, for noise.
            (y.grad,) = torch.autograd.grad(loss * bits[0, 0].numel(), y)
            optimiser.param_groups[0]["lr"] = STEP * (1 - step / (steps + 1))
            optimiser.step()
            tried = torch.where(free, torch.where(y.detach() >= 0, 1.0, -1.0), bits)
        return best, taken

    def _searched(self, bits: Tensor) -> tuple[Tensor, int]:
        """Which bits of B[i] may turn, and in how many steps."""
        free, i = bits != 0, len(self._planes) + 1
        if self._counts is not None:
            free &= (self._counts == i) | (self._counts <= FEW)
        free[:, self.model.chosen_bits(first=i == 1) :] = False
        share = free.any(1).float().mean().item()
        return free, math.ceil(math.sqrt(share / i) * self.steps) if share >= TOO_FEW else 0

    def _expected_bits(self, plane: Tensor) -> Tensor:
        """What the model of the bits expects B[i] to take, at least 1; a number that says nothing if there is none."""
        if self._rate is None:
            return plane.new_ones(())
        planes = torch.stack([*self._planes[-(BANKS - 1) :], plane], 1)
        each = self._rate(planes, len(self._planes) + 1)
        return (each * plane.detach().abs().sum()).clamp_min(1.0)


def check_steps(steps: int) -> int:
    """The number of steps, if it is one; else `InputError`."""
    if not 1 <= steps <= MOST_STEPS:
        raise InputError(f"the search is to have {steps} steps; choose 1 to {MOST_STEPS}")
    return steps


def _own(value):
    """A copy that gradients may pass, of a tensor or a state made in inference mode; anything else as it is."""
    return on_tensors(lambda tensor: tensor.detach().clone(), value)
