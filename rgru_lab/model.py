"""Encoder, binarizer, decoder, gain network, and one iteration of the codec.

    R[i-1] --> encoder --> binarizer --> B[i] --> decoder --> P[i]
                 |  ^                               |  ^
                 +--+ memory                        +--+ memory

The memories carry from one iteration to the next; that is all that makes this recurrent. Nothing here knows about
files, pictures on disk or how many iterations there are: see `codec` for the loop.
"""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rgru_lab.cells import CELLS, State
from rgru_lab.config import DATA, DEFAULT_MODEL, NAME_LIMIT, YOUNGER, InputError, ModelConfig
from rgru_lab.files import write_atomically

MODELS = DATA / "models"

GAIN_BLOCK = 32
"""Pixels per side that share one gain."""


class EncoderState(NamedTuple):
    """Memories of the encoder's three cells, at 1/4, 1/8 and 1/16 of the picture's size."""

    h1: State
    h2: State
    h3: State


class DecoderState(NamedTuple):
    """Memories of the decoder's four cells, at 1/16, 1/8, 1/4 and 1/2 of the picture's size."""

    h1: State
    h2: State
    h3: State
    h4: State


class Encoder(nn.Module):
    """A residual in, features on the code grid out (Toderici et al. 2017, section 3).

    With config.cell "associative-lstm" its cells are plain LSTMs: the associative ones serve the decoder only.

    Shape:
        r: (B, 3, H, W), H and W multiples of 16, values in about [-1, 1] times the gain
        state: `EncoderState`, or None before the first iteration
        returns (features (B, encoder[3], H/16, W/16), new state)
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        c0, c1, c2, c3 = config.encoder
        cell = CELLS["lstm" if config.cell == "associative-lstm" else config.cell]
        alphas = {"alpha_h": config.alpha_h, "alpha_x": config.alpha_x}
        self.conv = nn.Conv2d(3, c0, 3, stride=2, padding=1)
        self.cell1 = cell(c0, c1, stride=2, **alphas)
        self.cell2 = cell(c1, c2, stride=2, **alphas)
        self.cell3 = cell(c2, c3, stride=2, **alphas)

    def forward(self, r: Tensor, state: EncoderState | None = None) -> tuple[Tensor, EncoderState]:
        h1, h2, h3 = state or (None, None, None)
        x = self.conv(r)  # (B, c0, H/2, W/2)
        x, h1 = self.cell1(x, h1)  # (B, c1, H/4, W/4)
        x, h2 = self.cell2(x, h2)  # (B, c2, H/8, W/8)
        x, h3 = self.cell3(x, h3)  # (B, c3, H/16, W/16)
        return x, EncoderState(h1, h2, h3)


class Binarizer(nn.Module):
    """Features in, K bits per position out, each -1 or +1 (Toderici et al. 2017, section 3).

    A 1 x 1 convolution and tanh give y in (-1, 1). The bit is the sign of y. In training with `stochastic` set it is
    drawn instead: +1 with probability (1 + y) / 2, so that its mean is y. A step has no gradient, so the gradient of
    the bit is passed straight through to y. Never random in eval mode.

    Shape:
        features: (B, channels, h, w)
        returns (B, K, h, w), values -1 and +1 exactly
    """

    def __init__(self, channels: int, bits: int, stochastic: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(channels, bits, 1)
        self.stochastic = stochastic

    def forward(self, features: Tensor) -> Tensor:
        y = torch.tanh(self.conv(features))
        threshold = 0.0
        if self.training and self.stochastic:
            threshold = 2 * torch.rand_like(y) - 1
        b = torch.where(y >= threshold, 1.0, -1.0).to(y.dtype)
        return b + (y - y.detach())  # the value of b, the gradient of y


class Decoder(nn.Module):
    """Bits in, a picture of the whole image out, or what is to be added to one (Toderici et al. 2017, section 3).

    Depth-to-space doubles height and width after each cell by turning four channels into a 2 x 2 block. The paper's
    first cell has a 2 x 2 input kernel; here it is 3 x 3, as the others. The last convolution always runs in float32.

    Shape:
        bits: (B, K, H/16, W/16), values -1 and +1; 0 stands for a bit that was not sent
        state: `DecoderState`, or None before the first iteration
        returns (D(b) (B, 3, H, W) in (-1, 1), where the image itself lies in [-0.5, 0.5]; new state)
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        c0, c1, c2, c3, c4 = config.decoder
        alphas = {"alpha_h": config.alpha_h, "alpha_x": config.alpha_x}
        cell = CELLS[config.cell]
        self.conv_in = nn.Conv2d(config.bits, c0, 1)
        self.cell1 = cell(c0, c1, **alphas)
        self.cell2 = cell(c1 // 4, c2, **alphas)
        self.cell3 = cell(c2 // 4, c3, hidden_kernel=config.hidden_kernel, **alphas)
        self.cell4 = cell(c3 // 4, c4, hidden_kernel=config.hidden_kernel, **alphas)
        self.conv_out = nn.Conv2d(c4 // 4, 3, 1)

    def forward(self, bits: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        h1, h2, h3, h4 = state or (None, None, None, None)
        x = self.conv_in(bits)  # (B, c0, H/16, W/16)
        x, h1 = self.cell1(x, h1)
        x = F.pixel_shuffle(x, 2)  # (B, c1/4, H/8, W/8)
        x, h2 = self.cell2(x, h2)
        x = F.pixel_shuffle(x, 2)  # (B, c2/4, H/4, W/4)
        x, h3 = self.cell3(x, h3)
        x = F.pixel_shuffle(x, 2)  # (B, c3/4, H/2, W/2)
        x, h4 = self.cell4(x, h4)
        x = F.pixel_shuffle(x, 2)  # (B, c4/4, H, W)
        with torch.autocast(x.device.type, enabled=False):
            output = torch.tanh(self.conv_out(x.float()))  # (B, 3, H, W)
        return output, DecoderState(h1, h2, h3, h4)


class GainNetwork(nn.Module):
    """A picture in, out a factor for its residual in each block of 32 x 32 pixels (Toderici et al. 2017, section 3.2).

    Five convolutions of stride 2, the first four 3 x 3 to 32 channels, the last 2 x 2 to one, each followed by ELU;
    then + 2, so that no gain is under 1. Zero-order hold spreads a block's gain over its pixels. A picture whose sides
    are no multiples of 32 is continued by its last row and column. Always runs in float32.

    Shape:
        picture: P[i-1], (B, 3, H, W), around [-0.5, 0.5]
        returns G(P[i-1]) (B, 1, H, W), 1 and over
    """

    def __init__(self):
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(c, 32, 3, stride=2, padding=1) for c in (3, 32, 32, 32))
        self.convs.append(nn.Conv2d(32, 1, 2, stride=2))

    def forward(self, picture: Tensor) -> Tensor:
        height, width = picture.shape[2:]
        with torch.autocast(picture.device.type, enabled=False):
            x = F.pad(picture.float(), (0, -width % GAIN_BLOCK, 0, -height % GAIN_BLOCK), mode="replicate")
            for conv in self.convs:
                x = F.elu(conv(x))
            gain = F.interpolate(x + 2, scale_factor=GAIN_BLOCK)  # (B, 1, H, W) and what was padded
        return gain[:, :, :height, :width]


class ResidualCoder(nn.Module):
    """One iteration of the codec, its two halves apart, so that a decoder can run on bits alone.

    With E, B, D and G encoder, binarizer, decoder and gain network, and P[0] = 0, an iteration is

        g    = `gain`(P[i-1])                           1 in iteration 1
        b    = B(E(g R[i-1]))                           `encode`
        P[i] = `reconstruct`(D(b), P[i-1], g)           `decode` is D

    where the config's reconstruction says what gain and reconstruct are from iteration 2 on (Toderici et al. 2017,
    section 3.2):

        one-shot            g = config.gain             P[i] = D(b)
        additive            g = config.gain             P[i] = P[i-1] + D(b) / g
        residual-scaled     g = G(P[i-1])               P[i] = P[i-1] + D(b) / g

    g depends on nothing that a decoder does not have.

    With config.priming or config.diffusion E and D run more than once in an iteration, on the same g R[i-1] and on the
    same b. Their memories go on each time; only the last features become bits, only the last D(b) counts (Johnston et
    al. 2018, hidden-state priming). An iteration without a memory is the first. With config.first_bits only so many
    bits of each position come from B in it, the others are +1.

    Args:
        config: the shape of the networks.
        stochastic: see `Binarizer`.
    """

    def __init__(self, config: ModelConfig, stochastic: bool = False):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.binarizer = Binarizer(config.encoder[-1], config.bits, stochastic)
        self.decoder = Decoder(config)
        self.gain_network = GainNetwork() if config.reconstruction == "residual-scaled" else None

    def gain(self, previous: Tensor | None) -> Tensor | float:
        """P[i-1] (B, 3, H, W), None before the first iteration, to g: a number or (B, 1, H, W)."""
        if previous is None:
            return 1.0
        if self.gain_network is not None:
            return self.gain_network(previous)
        return self.config.gain

    def encode(self, r: Tensor, state: EncoderState | None = None) -> tuple[Tensor, EncoderState]:
        """g R[i-1] (B, 3, H, W) to B[i] (B, K, H/16, W/16) and the encoder's new memory."""
        first = state is None
        for _ in range(self._extra_looks(state)):
            state = self.encoder(r, state)[1]
        features, state = self.encoder(r, state)
        bits = self.binarizer(features)
        chosen = self.chosen_bits(first)
        if chosen < self.config.bits:
            silent = torch.arange(self.config.bits, device=bits.device) >= chosen
            bits = torch.where(silent[:, None, None], 1.0, bits).to(bits.dtype)
        return bits, state

    def chosen_bits(self, first: bool) -> int:
        """How many of a position's K bits an iteration chooses, the `first` one or another; the others are +1."""
        return self.config.first_bits if first and self.config.first_bits else self.config.bits

    def decode(self, bits: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """B[i] (B, K, H/16, W/16) to D(b) (B, 3, H, W) and the decoder's new memory."""
        for _ in range(self._extra_looks(state)):
            state = self.decoder(bits, state)[1]
        return self.decoder(bits, state)

    def reconstruct(self, output: Tensor, previous: Tensor | None, gain: Tensor | float) -> Tensor:
        """D(b), P[i-1] (both (B, 3, H, W); None: P[0] = 0) and g to P[i]."""
        if self.config.reconstruction == "one-shot":
            return output
        change = output / gain
        return change if previous is None else previous + change

    def _extra_looks(self, state: EncoderState | DecoderState | None) -> int:
        return self.config.priming if state is None else self.config.diffusion


class WeightsError(InputError):
    """Weights that are missing, damaged or not the ones asked for; the message says what to do."""


class Weights(NamedTuple):
    """A trained codec with its papers."""

    name: str
    """`small-1`: preset and version. A `.rgru` file names the one that it needs."""
    model: ResidualCoder
    record: dict
    """How it was trained: data, steps, seconds, hardware, seed."""
    sha256: str
    """Of the config and of names, shapes and values of all tensors, as they are stored."""
    path: Path | None = None
    """The file that they were loaded from, if they were."""

    @property
    def fingerprint(self) -> bytes:
        """The 8 bytes of the hash that stand in a file."""
        return bytes.fromhex(self.sha256)[:8]


def save(model: ResidualCoder, path: str | os.PathLike, *, record: dict):
    """Write weights in half precision as safetensors, config, record and hash inside.

    Args:
        model: what to save.
        path: `.../NAME.safetensors`; NAME becomes the weights' name, at most 13 printable ASCII characters.
        record: how it was trained; anything JSON can hold.

    Raises:
        WeightsError: NAME is no name for weights, or they are not all finite numbers.
        InputError: nothing can be written there.
    """
    _checked_name(path)
    tensors = {key: value.half().contiguous().cpu() for key, value in model.state_dict().items()}
    if not all(value.isfinite().all() for value in tensors.values()):
        raise WeightsError(f"the weights for {path} are not all finite numbers; train with a lower learning rate")
    config = json.dumps(_described(model.config))
    metadata = {"config": config, "record": json.dumps(record), "sha256": _sha256(config, tensors)}
    write_atomically(path, safetensors.torch.save(tensors, metadata))


def _described(config: ModelConfig) -> dict:
    """The config as weights name it: fields younger than the first weights only where they differ from these."""
    first = asdict(ModelConfig())
    return {k: v for k, v in asdict(config).items() if k not in YOUNGER or v != first[k]}


def load(name: str | os.PathLike = DEFAULT_MODEL) -> Weights:
    """Load shipped weights by name, or any by path, onto the CPU in eval mode.

    Args:
        name: "small-1", or "small" for the newest small one, or the path of a `.safetensors` file.

    Raises:
        WeightsError: there are none of this name, or the file is damaged or does not match its own config or hash.
    """
    path = _find(str(name))
    name = _checked_name(path)
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        config, record = json.loads(metadata["config"]), json.loads(metadata["record"])
        config = ModelConfig(**config)
        if other := {value.dtype for value in tensors.values()} - {torch.float16, torch.float32}:
            raise ValueError(f"it has numbers of the type {other.pop()}")
        sha256 = _sha256(metadata["config"], tensors)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read ({error.strerror or error}); check its permissions") from None
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} holds no weights of this kit ({error}); fetch the file again") from None
    if sha256 != metadata.get("sha256"):
        raise WeightsError(f"{path} is damaged: weights or config do not match its hash; fetch the file again")
    _check_fit(path, config, tensors)
    model = ResidualCoder(config)
    model.load_state_dict({key: value.float() for key, value in tensors.items()})
    return Weights(name, model.eval().to(memory_format=torch.channels_last), record, metadata["sha256"], path)


def _check_fit(path: Path, config: ModelConfig, tensors: dict[str, Tensor]):
    """Raise `WeightsError` unless these are all numbers that a model of this config has; no memory is taken for it."""
    with torch.device("meta"):
        needed = ResidualCoder(config).state_dict()
    for key in sorted(needed.keys() | tensors.keys()):
        has, needs = (tuple(of[key].shape) if key in of else "missing" for of in (tensors, needed))
        if has != needs:
            raise WeightsError(
                f"the weights in {path} do not fit its own config ({key}: {has}, by the config {needs}); fetch it again"
            )
        if not tensors[key].isfinite().all():
            raise WeightsError(f"the weights in {path} are not all finite numbers ({key}); fetch the file again")


def available() -> list[str]:
    """Names of the weights that ship, in order."""
    return sorted(path.stem for path in MODELS.glob("*.safetensors"))


def newest(name: str) -> str:
    """`small` to `small-2`, the newest weights of a preset that ship; a name with its version stays as it is.

    Raises:
        WeightsError: there are none.
    """
    versions = {known: _version(known) for known in available() if name in (known, known.rpartition("-")[0])}
    if not versions:
        shipped = ", ".join(available()) or "none ship here: install with `pip install -e .` in the kit's folder"
        raise WeightsError(f"there are no weights {name!r} ({shipped}); your own are named by path, NAME.safetensors")
    return max(versions, key=versions.get)


def _find(name: str) -> Path:
    if name.endswith(".safetensors"):
        if Path(name).is_file():
            return Path(name)
        raise WeightsError(f"there is no file {name}; check the path")
    return MODELS / f"{newest(name)}.safetensors"


def _version(name: str) -> int:
    number = name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


def _checked_name(path: str | os.PathLike) -> str:
    name = Path(path).stem
    if not (name.isascii() and name.isprintable() and len(name) <= NAME_LIMIT):
        raise WeightsError(
            f"{name!r} is no name for weights; rename the file: at most {NAME_LIMIT} plain letters (ASCII)"
        )
    return name


def _sha256(config: str, tensors: dict[str, Tensor]) -> str:
    arrays = {key: value.numpy() for key, value in tensors.items()}
    return digest(config.encode(), arrays, "torch.").hex()


def digest(start: bytes, tensors: dict[str, np.ndarray], prefix: str = "") -> bytes:
    """SHA-256 of what stands before some tensors, and of their names, types, shapes and values.

    Args:
        start: what stands before them.
        tensors: by name; their order does not matter, nor does this machine's order of bytes.
        prefix: of a type's name, "torch." for a tensor of torch.
    """
    found = hashlib.sha256(start)
    for key in sorted(tensors):
        value = tensors[key]
        found.update(f"{key} {prefix}{value.dtype.name} {value.shape}\n".encode())
        found.update(value.astype(value.dtype.newbyteorder("<")).tobytes())
    return found.digest()
