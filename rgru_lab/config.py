"""Every number and place that two ends must agree on, and the named presets.

Nothing here imports torch: a config can be read, printed and validated before anything heavy is loaded.
"""

import math
from dataclasses import dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
DATA = ROOT / "data"
RESULTS = DATA / "results"
"""The kit's folders."""

GRID = 16
"""Pixels per side that one code position covers: the encoder halves the picture four times."""

MIDPOINT = 0.5
"""Images are in [0, 1] outside the model and in [-MIDPOINT, MIDPOINT] inside."""

MAX_ITERATIONS = 16
"""Iterations of the paper's models: 16 x 32 bits per position is 2 bits per pixel."""

MAX_LOOKS = 16
"""Extra looks before an iteration's codes or picture are taken: the most that a config may ask for. The authors' own
released codec takes 3."""

MAX_BITS = 255
"""Bits per position K that a file's header can name."""

MAX_SIDE = 65_500
"""Pixels per side that the kit takes: what JPEG can hold. A file's header could name 65535."""

MAX_PIXELS = 16_000_000
"""Pixels of the largest picture the kit takes. With `small` each needs up to 640 bytes of memory: 10 GB at most."""

NAME_LIMIT = 13
"""Characters of the weights' name that a file's header can hold."""

DEFAULT_MODEL = "small"
"""The preset whose newest shipped weights are used when none are named."""

MAX_CHANNELS = 16_384
"""Of a layer; a config that says more was not made to be trained."""

CELL_NAMES = ("residual-gru", "gru", "lstm", "associative-lstm")
"""The recurrent cells that a model can be built from; see `cells`."""

RECONSTRUCTIONS = ("one-shot", "additive", "residual-scaled")
"""How P[i] is made from the decoder's output; the position in this tuple is the number stored in files."""

CODINGS = ("raw", "counts", "learned")
"""How a file's bits are stored; the position in this tuple is the number stored in files."""


LOOKS = ("priming", "diffusion")
"""The fields of `ModelConfig` that say how often networks run."""

WEIGHTLESS = (*LOOKS, "first_bits")
"""The fields of `ModelConfig` to which no weight belongs: trained ones fit any of them."""

KERNELS = (1, 3, 5)
"""Sides of the memory's convolutions that a config may ask for."""

YOUNGER = (*WEIGHTLESS, "hidden_kernel")
"""The fields of `ModelConfig` that came after the first weights had shipped, which do not name them."""

LOSSES = ("l1", "ssim-l1", "ms-ssim")
"""What training can make smaller."""


class InputError(ValueError):
    """Something is wrong with what a person gave. The message is one sentence with the value and the remedy.

    All of the kit's own errors derive from this one; the command line shows them without a traceback.
    """


class TrainingError(InputError):
    """Training cannot start or go on; the message says why and what to do."""


def _check(condition: bool, message: str):
    if not condition:
        raise InputError(message)


def check_numbers(config):
    """Fields whose default is a whole number hold one, those with a float a finite number, those with a bool one."""
    for field in fields(config):
        value = getattr(config, field.name)
        if type(field.default) is int:
            whole = isinstance(value, Integral) and not isinstance(value, bool)
            _check(whole, f"{field.name} is {value!r}; give a whole number")
        elif type(field.default) is float:
            finite = isinstance(value, Real) and math.isfinite(value)
            _check(finite, f"{field.name} is {value!r}; give a finite number")
        elif type(field.default) is bool:
            _check(isinstance(value, bool), f"{field.name} is {value!r}; give True or False")


def check_learning(config):
    """What every recipe has, of the codec or of what predicts its bits, is in range."""
    _check(config.learning_rate > 0, f"learning_rate is {config.learning_rate}; it must be positive")
    _check(0 <= config.ema < 1, f"ema is {config.ema}; choose 0 (off) up to, not including, 1")
    _check(0 <= config.seed < 2**63, f"seed is {config.seed}; choose 0 up to 2^63 - 1")


@dataclass(frozen=True)
class ModelConfig:
    """The shape of one codec. It travels inside the weights' file.

    Args:
        encoder: channels of the first convolution and of the encoder's three cells.
        decoder: channels of the first convolution and of the decoder's four cells. Depth-to-space follows each
            cell and divides its channels by four.
        bits: K, bits per code position and iteration.
        alpha_h: weight of the residual connection around the memory, in the paper's equations of the Residual GRU;
            the other cells have none.
        alpha_x: weight of the residual connection from a cell's input to its output, in the same equations.
        gain: factor on the residual that the encoder sees from iteration 2 on; 1 in the paper. Not used with
            "residual-scaled", where a network finds it.
        reconstruction: "one-shot": the decoder makes the whole picture in every iteration. "additive": it makes what
            is added to the last picture. "residual-scaled": the same, at a gain for each block that a network derives
            out of the last picture.
        cell: one of `CELL_NAMES`. With "associative-lstm" the decoder has associative LSTMs and the encoder plain
            ones, as in the paper. For the same channels the cells have different numbers of parameters.
        priming: so many extra looks before the first codes and the first picture are taken: the encoder runs
            1 + priming times on the same R and only its last bits are sent, the decoder as often on the same bits and
            only its last picture counts; the memories go on each time, so that they know more of each position's
            surroundings (Johnston et al. 2018, hidden-state priming, one number for both halves). Costs time, no bits.
        diffusion: the same in every later iteration.
        first_bits: so many bits of each position say something in the first iteration, the others are +1 whatever the
            picture, which costs nothing once a learned model of the bits knows it; a smaller first step, as in
            Johnston et al. 2018. 0: all K, as in the paper.
        hidden_kernel: side of the memory's convolutions U in the decoder's two cells of highest resolution, odd; 3 in
            the paper. With 3 these take a third of all the work in an iteration.

    Raises:
        InputError: a value is out of range; the message names it.
    """

    encoder: tuple[int, ...] = (64, 256, 512, 512)
    decoder: tuple[int, ...] = (512, 512, 512, 256, 128)
    bits: int = 32
    alpha_h: float = 0.1
    alpha_x: float = 0.1
    gain: float = 1.0
    reconstruction: str = "one-shot"
    cell: str = "residual-gru"
    priming: int = 0
    diffusion: int = 0
    first_bits: int = 0
    hidden_kernel: int = 3

    def __post_init__(self):
        object.__setattr__(self, "encoder", tuple(self.encoder))
        object.__setattr__(self, "decoder", tuple(self.decoder))
        check_numbers(self)
        for name in ("encoder", "decoder"):
            channels = getattr(self, name)
            _check(all(isinstance(c, Integral) for c in channels), f"{name} is {channels}; give whole numbers")
        _check(len(self.encoder) == 4, f"encoder is {self.encoder}; give 4 channel counts: a convolution, 3 cells")
        _check(len(self.decoder) == 5, f"decoder is {self.decoder}; give 5 channel counts: a convolution, 4 cells")
        layers = self.encoder + self.decoder
        _check(1 <= min(layers) <= max(layers) <= MAX_CHANNELS, f"channels are {layers}; choose 1 to {MAX_CHANNELS}")
        for channels in self.decoder[1:]:
            _check(channels % 4 == 0, f"a decoder cell has {channels} channels; depth-to-space needs a multiple of 4")
        _check(1 <= self.bits <= MAX_BITS, f"bits is {self.bits}; choose 1 to {MAX_BITS}")
        _check(self.gain > 0, f"gain is {self.gain}; it must be positive")
        _check(
            self.reconstruction in RECONSTRUCTIONS,
            f"reconstruction is {self.reconstruction!r}; choose one of {', '.join(RECONSTRUCTIONS)}",
        )
        _check(self.cell in CELL_NAMES, f"cell is {self.cell!r}; choose one of {', '.join(CELL_NAMES)}")
        for name in LOOKS:
            looks = getattr(self, name)
            _check(looks in range(MAX_LOOKS + 1), f"{name} is {looks}; choose 0 to {MAX_LOOKS} extra looks")
        in_range = self.first_bits in range(self.bits + 1)
        _check(in_range, f"first_bits is {self.first_bits}; choose 1 to {self.bits}, or 0 for all")
        _check(self.hidden_kernel in KERNELS, f"hidden_kernel is {self.hidden_kernel}; choose one of {KERNELS}")


class Stage(NamedTuple):
    """A part of the training."""

    until: float
    """The share of the training at which it ends, 0 to 1."""
    iterations: int
    """How many are unrolled."""
    patch: int
    """Side of the square patches in pixels, a multiple of 16. The paper takes 32; there the code is only 2 x 2 and a
    short training learns the border, not the picture."""
    batch: int
    """Patches per step, in each process."""

    @classmethod
    def of(cls, given) -> "Stage":
        """A stage out of four numbers, of which the last three are whole."""
        until, *counts = given = tuple(given)
        whole = len(counts) == 3 and isinstance(until, Real) and all(isinstance(count, Integral) for count in counts)
        _check(
            whole,
            f"a stage of the curriculum is {given}; give where it ends, and whole numbers of iterations, pixels and "
            "patches",
        )
        return cls(float(until), *map(int, counts))


@dataclass(frozen=True)
class TrainConfig:
    """How a codec is trained; the defaults are what measurements favoured (data/results/training.md).

    Args:
        curriculum: the stages (`Stage`, or four numbers) in order; the last one ends at 1.
        loss: of one iteration, see `losses.Loss`: "l1" (the paper's), "ssim-l1" or "ms-ssim" (best from weights that
            have learned from L1: from random ones it learns slowly).
        share: weight of 1 - MS-SSIM beside mean |R| in the loss "ms-ssim", 0 to 1.
        colour: weight of |mean R| of each patch and channel, which is added to any loss: MS-SSIM hardly sees a shift of
            the whole picture's brightness or colour, mean |R| alone leaves some of it. 0: off.
        moving: the loss looks at all of a patch but 16 rows and 16 columns, left out at either end, how many at which
            drawn anew in each step. MS-SSIM halves pictures by means of 2 x 2 pixels; where that grid always lies at
            the same place of the code's positions, the codec learns to leave errors that cancel within its squares.
        late: weight of iteration i in the loss is proportional to i ** late. 0 in the paper; more of it lets the last
            iterations learn sooner, at some cost to the first.
        skip: so many iterations at most run before those that are learned from, without a gradient: none in half of the
            steps, else a number drawn anew. Late iterations are learned at little more than the cost of early ones.
        rate: how many percent of its loss iteration i may give for one percent fewer bits of B[1] .. B[i], coded as a
            model of the bits expects; 0: off. The codec learns to make bits that can be told in advance, and the model
            of the bits learns along; see `training.Unrolled`.
        adaptive: share of the patches in which positions stop sending bits once they are good enough, as in the files
            of `adaptive`; 0: off.
        hard: share of the places in each picture that patches are cut from, those that PNG compresses worst; 1: all.
            The paper's "high entropy" set keeps 100 tiles of 880: 0.11.
        learning_rate: Adam's, after the warm-up; it falls along a cosine to 1 % of that.
        warmup_steps: steps over which the learning rate rises from zero.
        clip: largest norm of the gradient.
        ema: decay per step of the averaged weights, which are the ones that are kept.
        stochastic: draw the bits at random in training as the paper does, instead of taking the sign.
        bf16: run the convolutions in bfloat16 (the last one and the residual stay in float32); None tries which is
            faster on this machine.
        seed: of the initial weights, the patches and the random bits.

    Raises:
        InputError: a value is out of range; the message names it.
    """

    curriculum: tuple[Stage, ...] = (Stage(0.08, 2, 64, 8), Stage(0.25, 4, 64, 8), Stage(1.0, 10, 128, 4))
    loss: str = "l1"
    share: float = 0.84
    colour: float = 0.0
    moving: bool = False
    late: float = 0.0
    skip: int = 0
    rate: float = 0.0
    adaptive: float = 0.0
    hard: float = 1.0
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    clip: float = 1.0
    ema: float = 0.999
    stochastic: bool = False
    bf16: bool | None = None
    seed: int = 0

    def __post_init__(self):
        stages = tuple(Stage.of(given) for given in self.curriculum)
        object.__setattr__(self, "curriculum", stages)
        check_numbers(self)
        check_learning(self)
        _check(
            self.bf16 is None or isinstance(self.bf16, bool),
            f"bf16 is {self.bf16!r}; give True or False, or None to try which is faster",
        )
        _check(self.loss in LOSSES, f"loss is {self.loss!r}; choose one of {', '.join(LOSSES)}")
        _check(0 <= self.share <= 1, f"share is {self.share}; choose 0 to 1")
        _check(self.colour >= 0, f"colour is {self.colour}; choose 0 (off) or more")
        _check(self.rate >= 0, f"rate is {self.rate}; choose 0 (off) or more")
        _check(0 <= self.adaptive <= 1, f"adaptive is {self.adaptive}; choose 0 (off) to 1 (all patches)")
        _check(0 < self.hard <= 1, f"hard is {self.hard}; choose more than 0, at most 1 (all places)")
        _check(self.clip > 0, f"clip is {self.clip}; it must be positive")
        _check(self.warmup_steps >= 0, f"warmup_steps is {self.warmup_steps}; choose 0 or more")
        _check(self.late >= 0, f"late is {self.late}; choose 0 (all iterations alike) or more")
        shares = [stage.until for stage in stages]
        _check(
            bool(shares) and shares == sorted(shares) and all(0 < share <= 1 for share in shares) and shares[-1] == 1.0,
            f"the stages of the curriculum end at {shares}; they must rise to 1.0",
        )
        _check(self.skip >= 0, f"skip is {self.skip}; choose 0 or more")
        for _, iterations, patch, batch in stages:
            _check(
                1 <= iterations <= MAX_ITERATIONS - self.skip,
                f"a stage unrolls {iterations} iterations after up to {self.skip}; choose 1 to {MAX_ITERATIONS} in all",
            )
            _check(patch >= GRID and patch % GRID == 0, f"patch is {patch}; choose a positive multiple of {GRID}")
            _check(
                patch > GRID or not self.moving,
                f"patch is {patch}, of which nothing is left where the loss moves; choose {2 * GRID} or more",
            )
            _check(batch >= 1, f"batch is {batch}; choose 1 or more")


# The paper's channel counts; half of them twice, with fewer at high resolution, where each channel costs most (`best`
# differs from `base` in its training); a quarter; a quarter with still fewer there; and about a sixteenth. Only `paper`
# keeps the paper's alpha_x = 0.1 and gain = 1; data/results/recipe.md says what speaks for the others.
PRESETS = {
    "paper": ModelConfig(),
    "base": ModelConfig(encoder=(24, 96, 192, 256), decoder=(256, 256, 256, 96, 48), alpha_x=1.0, gain=4.0),
    "small": ModelConfig(encoder=(16, 64, 128, 128), decoder=(128, 128, 128, 64, 32), alpha_x=1.0, gain=4.0),
    "best": ModelConfig(encoder=(24, 96, 192, 256), decoder=(256, 256, 256, 96, 48), alpha_x=1.0, gain=4.0),
    "fast": ModelConfig(
        encoder=(16, 64, 128, 128), decoder=(128, 128, 128, 48, 24), alpha_x=1.0, gain=4.0, hidden_kernel=1
    ),
    "micro": ModelConfig(encoder=(8, 16, 32, 32), decoder=(32, 32, 32, 32, 16), alpha_x=1.0, gain=4.0),
}


def preset(name: str) -> ModelConfig:
    """The named preset's `ModelConfig`; an unknown name is answered with the list of those that exist."""
    _check(name in PRESETS, f"there is no preset {name!r}; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]
