"""Train a codec: the loop over iterations and its loss, a step, and all that a checkpoint holds.

`Trainer.step` is the whole story; `runs.run` takes one step after the other. The same code runs in several processes
at once, each on its own device and its own patches: `torchrun --nproc-per-node 4 -m rgru_lab train ...`.
"""

import json
import math
import random
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rgru_lab import processes
from rgru_lab.bitfloats import BitNet, BitTrainConfig
from rgru_lab.bitnet import BANKS, Learned
from rgru_lab.codec import Sending, unroll
from rgru_lab.config import GRID, ModelConfig, TrainConfig, TrainingError
from rgru_lab.graphs import Graphs
from rgru_lab.graphs import record as record_graph
from rgru_lab.inheritance import take_over
from rgru_lab.losses import Loss, Similarity, good_enough
from rgru_lab.machine import bf16_speedup
from rgru_lab.model import ResidualCoder, Weights
from rgru_lab.patches import Patches
from rgru_lab.schedule import Schedule, averaged, circumstances, state_copy

FOLLOWING = 6.0
"""Times the codec's learning rate, that of the model of the bits: beside 1e-3 that is the 6e-3 of train-bits."""


class Record(NamedTuple):
    """One training step as it is shown and logged."""

    step: int
    progress: float
    """0 to 1: the share of the steps or of the time budget that is used up."""
    elapsed_s: float
    learning_rate: float
    patches_per_s: float
    """Of this step, in all processes together."""
    loss: float
    """What the step made smaller."""
    residuals: tuple[float, ...]
    """Mean |R[i]| for i = 1..n, in [0, 1], the skipped iterations included; times 255 it is in 8-bit levels."""
    losses: tuple[float, ...]
    """The loss of each P[i], bits aside. Skipped iterations have none, so these belong to the last of `residuals`."""
    bits_per_bit: tuple[float, ...] = ()
    """What coding the bits of B[i] that are sent takes, for i = 1..n; with a rate."""


class Unrolled(nn.Module):
    """n iterations and their loss as one module: what DistributedDataParallel wraps.

    With a model of the bits the loss of iteration i has a second term. With D the loss and R the bits per pixel that
    coding B[1] .. B[i] is expected to take, D R^rate is what is made smaller: one percent fewer bits are worth so many
    percent of the loss, at any quality. (A fixed price for a bit, as in Ballé et al. 2018, makes one codec for one
    quality; this one goes through all of them.) The gradient is that of D + rate D' R / R', where D' and R' are D and R
    held still. It goes through the bits, of a plane and of the two before it that the model looks back on, straight
    into binarizer and encoder; and into the model of the bits, which so follows the codec.

    With config.adaptive positions stop sending in some of the patches, each after the iteration that made it good
    enough; how good that is, is drawn for each patch. So the networks learn to go on where nothing comes any more.

    A patch of 128 px is 8 x 8 positions. The model sees two positions in each direction, of earlier planes one; what
    lies beyond the border it does not know. A quarter of a patch's positions, 4 x 4, have all their neighbours; of a
    photograph of 768 x 512 px four in five have. So bits come out dearer here than in a file, and borders weigh more.

    Args:
        model, config: the networks and the recipe.
        bit_net: predicts the bits; None: there is no rate in the loss.

    Shape:
        x: I, (B, 3, H, W) in [-0.5, 0.5]
        returns (the loss; as tensors for i = 1..n mean |R[i]|, the loss of each P[i] that was not skipped, and bits
        per bit of B[i], those that are sent; the last one is empty without a model of the bits)
    """

    def __init__(self, model: ResidualCoder, config: TrainConfig, bit_net: BitNet | None = None):
        super().__init__()
        self.model = model
        self.config = config
        self.bit_net = bit_net

    def forward(self, x: Tensor, iterations: int, skipped: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        part = self._part(x)
        loss_of = Loss(self.config.loss, self.config.share, self.config.colour, part(x))
        losses, residuals, of_pictures, planes, needed = [], [], [], [], []
        bits_per_pixel = 0.0
        sending = Sending(self.model)
        enough = self._good_enough(x)
        similarity = None if self.config.moving else loss_of.similarity
        similarity = similarity or (Similarity(x) if self.config.adaptive else None)
        steps = unroll(sending, x)
        for i in range(1, skipped + iterations + 1):
            with torch.set_grad_enabled(i > skipped):
                step = next(steps)
                residuals.append(step.residual.detach().abs().mean())
                planes.append(step.bits)
                if self.bit_net is not None:
                    needed.append(self._bits_per_bit(planes))
                    sent = self.model.config.bits / GRID**2 * step.bits.detach().abs().mean()
                    bits_per_pixel = bits_per_pixel + sent * needed[-1]
                if i > skipped:
                    loss = loss_of(part(step.picture), part(step.residual))
                    of_pictures.append(loss.detach())
                    if self.bit_net is not None:
                        loss = loss + self.config.rate * loss.detach() * bits_per_pixel / bits_per_pixel.detach()
                    losses.append(loss)
            if enough is not None:
                sending.stop(similarity.local_unlikeness(step.picture.detach()) <= enough)
        last = len(residuals)
        weights = (torch.arange(skipped + 1, last + 1, device=x.device) / last) ** self.config.late
        loss = (torch.stack(losses) * weights).sum() / weights.sum()
        needed = torch.stack(needed).detach() if needed else loss.new_empty(0)
        return loss, torch.stack(residuals), torch.stack(of_pictures), needed

    def _part(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """What takes from a picture of x's size the part that the loss of this step looks at."""
        if not self.config.moving:
            return lambda picture: picture
        begin = torch.randint(GRID, (2, 1), device=x.device)
        ends = (torch.arange(side - GRID, device=x.device) for side in x.shape[2:])
        rows, columns = (first + rest for first, rest in zip(begin, ends, strict=True))
        return lambda picture: picture.index_select(2, rows).index_select(3, columns)

    def _good_enough(self, x: Tensor) -> Tensor | None:
        if not self.config.adaptive:
            return None
        drawn = torch.rand(2, len(x), 1, 1, device=x.device)
        return torch.where(drawn[1] < self.config.adaptive, good_enough(drawn[0]), 0.0)

    def _bits_per_bit(self, planes: list[Tensor]) -> Tensor:
        with torch.autocast(planes[-1].device.type, enabled=False):  # it computes in steps that bfloat16 has not
            return self.bit_net(torch.stack(planes[-BANKS:], 1).float(), len(planes))


class Trainer(Schedule):
    """Everything that changes while training, and one method that changes it.

    `state_dict` holds it all: a trainer that loads it goes on exactly where the other stood.

    Args:
        model_config, config: the networks' shape and the recipe.
        pictures: photos (H, W, 3) uint8 to cut patches from.
        steps, time_budget_s: how long, see `Schedule`.
        device: "cpu", "cuda", ...
        graphs: record each step's way forward and back and play it from then on (`graphs`); None: on one CUDA device.
        bit_config: with a rate, the sizes of what predicts the bits.

    Raises:
        TrainingError: neither steps nor a time budget is given.
        PatchesError: no picture is large enough.
    """

    def __init__(
        self,
        model_config: ModelConfig,
        config: TrainConfig,
        pictures: list,
        *,
        steps: int | None = None,
        time_budget_s: float | None = None,
        device: str = "cpu",
        graphs: bool | None = None,
        bit_config: BitTrainConfig | None = None,
    ):
        super().__init__(steps, time_budget_s)
        self.config = config
        self.bit_config = replace(bit_config or BitTrainConfig(), forget=0.0)
        self.device = torch.device(device)
        self.rank, self.processes = processes.place()
        torch.manual_seed(config.seed)
        self.model = ResidualCoder(model_config, config.stochastic).to(self.device, memory_format=torch.channels_last)
        self.average = state_copy(self.model)
        self.bit_net = self.bit_average = None
        groups = [{"params": list(self.model.parameters())}]
        if config.rate:
            self.bit_net = BitNet(model_config.bits, self.bit_config).to(self.device)
            self.bit_average = state_copy(self.bit_net)
            groups.append({"params": list(self.bit_net.parameters())})
        self.optimiser = torch.optim.Adam(groups, lr=config.learning_rate, fused=True)
        (bf16,) = processes.largest(bf16_speedup(self.device) > 1 if config.bf16 is None else config.bf16)
        self.bf16 = bool(bf16)  # the same in all processes
        self.unrolled = Unrolled(self.model, config, self.bit_net)
        if self.processes > 1:
            torch.manual_seed(config.seed + self.rank)  # the same weights, but other random bits and patches
            self.unrolled = nn.parallel.DistributedDataParallel(
                self.unrolled,
                device_ids=[self.device.index] if self.device.type == "cuda" else None,
                # The gain network is not used in iteration 1, nor is all of the model of the bits in every step.
                find_unused_parameters=bool(config.rate) or any(stage.iterations == 1 for stage in config.curriculum),
            )
        cuda = self.device.type == "cuda"
        torch.backends.cudnn.benchmark |= cuda  # the shapes stay the same, so the fastest way is worth looking for
        self.passes = self._passes
        if graphs if graphs is not None else cuda and self.processes == 1:
            trained = [parameter for group in groups for parameter in group["params"]]
            self.passes = Graphs(self._passes, trained, record_graph)
        self.patches = Patches(pictures, seed=config.seed + self.rank, hard=config.hard, device=device)
        self.patches.draw(max(stage.patch for stage in config.curriculum), 1)  # so that too small ones are noticed now
        self.started_from = None

    def step(self, x: Tensor | None = None) -> Record:
        """One step of the optimiser, on the batch x (B, 3, H, W) in [-0.5, 0.5] or on freshly drawn patches."""
        started = time.perf_counter()
        stage = next(stage for stage in self.config.curriculum if self.progress <= stage.until)
        learning_rate = self.learning_rate(self.config.learning_rate, self.config.warmup_steps)
        x = self.patches.draw(stage.patch, stage.batch) if x is None else x
        x = x.to(self.device, memory_format=torch.channels_last)

        self.model.train()
        skipped = self._skipped()
        readings = self.passes(x, stage.iterations, skipped)
        norms = [nn.utils.clip_grad_norm_(network.parameters(), self.config.clip) for network in self._averages()]
        norm = torch.stack(norms).max()
        norm, loss, *readings = torch.cat([norm[None], readings]).tolist()
        if not math.isfinite(norm):
            raise TrainingError(
                f"training diverged at step {self.step_count} (loss {loss:g}, its gradient {norm:g}); what was saved "
                "before is left as it is; start anew in another --output with a learning rate under "
                f"{self.config.learning_rate:g}"
            )
        for group, times in zip(self.optimiser.param_groups, (1, FOLLOWING), strict=False):
            group["lr"] = times * learning_rate
        self.optimiser.step()
        self.step_count += 1
        for network, average in self._averages().items():
            self.follow(average, network, self.config.ema)
        seconds = time.perf_counter() - started
        (self.elapsed_s,) = processes.largest(self.elapsed_s + seconds)  # the same in all: the schedule hangs on it
        speed = len(x) * self.processes / seconds
        unrolled, either = skipped + stage.iterations, skipped + 2 * stage.iterations
        said = (tuple(readings[a:b]) for a, b in ((0, unrolled), (unrolled, either), (either, None)))
        return Record(self.step_count, self.progress, self.elapsed_s, learning_rate, speed, loss, *said)

    def _passes(self, x: Tensor, iterations: int, skipped: int) -> Tensor:
        """Forward and back; returns the loss and all that `Unrolled` says of the iterations, in one row."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            loss, *readings = self.unrolled(x, iterations, skipped)
        self.optimiser.zero_grad()
        loss.backward()
        return torch.cat([loss.detach()[None], *readings])

    def start_from(self, weights: Weights, learned: Learned | None = None):
        """Begin with trained weights instead of random ones; the schedule and the optimiser begin anew.

        Of a model with other channel counts as much as fits is taken over: see `inheritance.take_over`.

        Args:
            weights: the codec's.
            learned: what predicts their bits, for a recipe with a rate; None: random numbers.

        Raises:
            WeightsError: the model has another shape and does not fit into this one.
            TrainingError: what predicts the bits has other sizes than this trainer's.
        """
        take_over(weights.model, self.model)
        self.started_from = weights.name
        self.average = state_copy(self.model)
        if learned is not None and self.bit_net is not None:
            self.bit_net.begin_with(learned)
            self.bit_average = state_copy(self.bit_net)

    def averaged_model(self) -> ResidualCoder:
        """A copy of the model on the CPU, in eval mode, with the averaged weights: the one to keep."""
        kept = averaged(self.model, self.average)
        kept.binarizer.stochastic = False
        return kept

    def averaged_bit_net(self) -> BitNet | None:
        """The same of what predicts the bits, if there is a rate: with it go the averaged weights."""
        return None if self.bit_net is None else averaged(self.bit_net, self.bit_average)

    def state_dict(self) -> dict:
        """All that a checkpoint needs, the random generators' states included.

        With several processes all of them must call it, since each has generators of its own.
        """
        cuda = self.device.type == "cuda"
        generators = {
            "patches": self.patches.generator.get_state(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(self.device) if cuda else None,
        }
        return {
            "model_config": _plain(self.model.config),
            "train_config": _plain(self.config),
            "bit_config": asdict(self.bit_config),
            "model": self.model.state_dict(),
            "average": self.average,
            "bit_net": self.bit_net and self.bit_net.state_dict(),
            "bit_average": self.bit_average,
            "optimiser": self.optimiser.state_dict(),
            "bf16": self.bf16,
            "started_from": self.started_from,
            "step_count": self.step_count,
            "elapsed_s": self.elapsed_s,
            "random": processes.gather(generators),
        }

    def load_state_dict(self, state: dict):
        """Go on from a checkpoint.

        Raises:
            TrainingError: it was made with another model, another recipe or another number of processes.
        """
        for key, config in (("model_config", self.model.config), ("train_config", self.config)):
            ours, saved = _plain(config), _plain(type(config)()) | state[key]  # what it did not know had no effect
            if saved != ours:
                theirs = {k: v for k, v in saved.items() if v != ours.get(k)}
                said = ", ".join(f"{name} {value}" for name, value in theirs.items())
                raise TrainingError(f"the checkpoint was made with {said}; resume with the same settings and preset")
        if len(state["random"]) != self.processes:
            raise TrainingError(f"the checkpoint was made by {len(state['random'])} processes; resume with as many")
        self.model.load_state_dict(state["model"])
        self.average = {name: value.clone().to(self.device) for name, value in state["average"].items()}
        if self.bit_net is not None:
            self.bit_net.load_state_dict(state["bit_net"])
            self.bit_average = {name: value.clone().to(self.device) for name, value in state["bit_average"].items()}
        self.optimiser.load_state_dict(state["optimiser"])
        self.bf16 = state["bf16"]
        self.started_from = state["started_from"]
        self.step_count = state["step_count"]
        self.elapsed_s = state["elapsed_s"]
        generators = state["random"][self.rank]
        self.patches.generator.set_state(generators["patches"].cpu())
        torch.set_rng_state(generators["torch"].cpu())
        if generators["cuda"] is not None:
            torch.cuda.set_rng_state(generators["cuda"].cpu(), self.device)

    def _skipped(self) -> int:
        # Drawn from the step's number: the same in all processes and after a resume.
        draw = random.Random(f"{self.config.seed} {self.step_count}").randint(-self.config.skip, self.config.skip)
        return max(0, draw)

    def _averages(self) -> dict[nn.Module, dict[str, Tensor]]:
        """What is trained, and its average."""
        return {self.model: self.average} | ({self.bit_net: self.bit_average} if self.bit_net is not None else {})


def _plain(config) -> dict:
    return json.loads(json.dumps(asdict(config)))


def papers(trainer: Trainer, data: str) -> dict:
    """What is written beside the weights: enough to say where they come from and to train them again.

    Args:
        trainer: what was trained.
        data: name of the photographs.
    """
    found = circumstances(trainer.device)
    if trainer.processes > 1:
        found["hardware"] = f"{trainer.processes} x {found['hardware']}"
    return {
        "data": data,
        "pictures": len(trainer.patches),
        "started_from": trainer.started_from,
        "steps": trainer.step_count,
        "seconds": round(trainer.elapsed_s),
        **found,
        "seed": trainer.config.seed,
        "config": _plain(trainer.config),
    }
