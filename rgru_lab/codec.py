"""The loop: R[0] = I; B[i] from R[i-1]; P[i] from B[i]; R[i] = I - P[i] (Toderici et al. 2017, section 3).

    I --> R[0] --> encode --> B[1] --> decode --> P[1]      R[1] = I - P[1]
                     | memory            | memory
          R[1] --> encode --> B[2] --> decode --> P[2]      R[2] = I - P[2]
                     | memory            | memory
                    ...                 ...

The network runs on the entire image at once, so there are no tiles and no seams. The decoder needs only the bits.
What lies between R[i-1] and the encoder and between the decoder and P[i], a gain, a sum or nothing, is the model's
way of reconstruction, and how often each half looks before it speaks is the model's, too: see `model.ResidualCoder`.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rgru_lab.config import MAX_ITERATIONS, MIDPOINT, InputError, ModelConfig
from rgru_lab.fused import fused
from rgru_lab.images import centred, check_photo, check_size, crop, grid_size, to_photo
from rgru_lab.machine import allows_bf16, check_memory, keeping_memory, uses_bf16
from rgru_lab.model import DecoderState, EncoderState, ResidualCoder


class Step(NamedTuple):
    """What one iteration of the loop leaves behind, as tensors."""

    bits: Tensor
    """B[i]: (B, K, H/16, W/16), -1 and +1; 0 where a position has stopped."""
    picture: Tensor
    """P[i]: (B, 3, H, W), around [-0.5, 0.5]."""
    residual: Tensor
    """R[i] = I - P[i]: (B, 3, H, W)."""


class Codes(NamedTuple):
    """The compressed image before it is written: one plane of bits per iteration.

    A plane is (K, h, w) int8: -1 or +1, and 0 for a bit that is not sent.
    """

    height: int
    width: int
    planes: tuple[np.ndarray, ...]


def unroll(model: "ResidualCoder | Sending", x: Tensor) -> Iterator[Step]:
    """Iterate without end on a batch; differentiable, so that training and inference share one loop.

    Args:
        model: the networks.
        x: I, (B, 3, H, W) in [-0.5, 0.5], H and W multiples of 16.

    Yields:
        `Step` 1, 2, 3, ...
    """
    encoder_state = decoder_state = picture = None
    residual = x  # R[0] = I
    while True:
        gain = model.gain(picture)
        bits, encoder_state = model.encode(gain * residual, encoder_state)
        output, decoder_state = model.decode(bits, decoder_state)
        picture = model.reconstruct(output, picture, gain)
        residual = x - picture
        yield Step(bits, picture, residual)


class Sending:
    """A codec that keeps some of its bits to itself: what `unroll` runs on instead of the model (see `adaptive`).

    A bit that is not sent is 0, which speaks neither for -1 nor for +1.

    Args:
        model: the networks.

    Attributes:
        original: the networks.
        model: what runs in their place; while something is compressed, their fast copy.
        exact: the networks run in float32 from now on, though their memory may come from bfloat16.
        times_memory: what it takes beside what the model alone takes.
        going_on: (B, h, w) bool, which positions still send bits; None: all. May be changed between iterations.
    """

    times_memory = 1.0

    def __init__(self, model: ResidualCoder):
        self.original = self.model = model
        self.exact = False
        self.going_on: Tensor | None = None

    def stop(self, where: Tensor):
        """From the next iteration on (B, h, w) bool, and who has stopped already, send nothing."""
        self.going_on = ~where if self.going_on is None else self.going_on & ~where

    def encode(self, r: Tensor, state: EncoderState | None = None) -> tuple[Tensor, EncoderState]:
        """See `ResidualCoder.encode`."""
        bits, state = self.model.encode(r, self.carried(state))
        return bits if self.going_on is None else bits * self.going_on[:, None], state

    def decode(self, bits: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """See `ResidualCoder.decode`."""
        return self.model.decode(bits, self.carried(state))

    def carried(self, state):
        """A memory as the networks take it now."""
        return on_tensors(Tensor.float, state) if self.exact else state

    def gain(self, previous: Tensor | None) -> Tensor | float:
        """See `ResidualCoder.gain`."""
        return self.model.gain(previous)

    def reconstruct(self, output: Tensor, previous: Tensor | None, gain: Tensor | float) -> Tensor:
        """See `ResidualCoder.reconstruct`."""
        return self.model.reconstruct(output, previous, gain)


def encode(
    model: ResidualCoder | Sending,
    photo: np.ndarray,
    iterations: int,
    counts: np.ndarray | None = None,
    *,
    bf16: bool | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compress a photo progressively. Stop whenever you like: what came so far is a complete compressed image.

    Args:
        model: the networks, in eval mode; or a `Sending` of them, which holds their fast copy from then on.
        photo: I, (H, W, 3) uint8.
        iterations: N, 1 to 16.
        counts: (h, w), the number of iterations that each position sends bits in; None: all. See `adaptive`.
        bf16: run the networks in bfloat16 where the picture allows it; None: as `machine.uses_bf16` says.

    Yields:
        (B[i], P[i]): a plane (K, h, w) int8 and the photo (H, W, 3) uint8 that the bits so far decode to.

    Raises:
        InputError: iterations out of range, not a photo (`images.PictureError`), counts of another shape, or more
            memory needed than is free.
    """
    check_iterations(iterations)
    height, width = check_photo(photo).shape[:2]
    if counts is not None and counts.shape != grid_size(height, width):
        raise InputError(f"counts has shape {counts.shape}; this picture needs {grid_size(height, width)}")
    sending = model if isinstance(model, Sending) else Sending(model)
    model = sending.original
    check_memory(model.config, height, width, sending.times_memory)
    return _encode(sending, photo, iterations, counts, uses_bf16(model) if bf16 is None else bf16)


def _encode(sending, photo, iterations, counts, bf16):
    _quicken(sending, bf16)
    sending.going_on = None  # it may have sent another photo before
    height, width = photo.shape[:2]
    with torch.inference_mode():
        steps = unroll(sending, _place(sending.model, centred(photo)))
    with keeping_memory():
        for i in range(1, iterations + 1):
            if counts is not None:
                sending.going_on = torch.from_numpy(counts >= i)[None].to(next(sending.model.parameters()).device)
            with torch.inference_mode(), _precision(sending):  # not around the yield: it would leak into the caller
                step = next(steps)
                plane = step.bits[0].round().to(torch.int8).cpu().numpy()  # a binarizer of one's own may say .9999999
                frame = _photo(step.picture, height, width)
            del step  # or it would be kept while the next one is computed
            if i == 1:
                _settle_precision(sending, frame)
            yield plane, frame


def decode(model: ResidualCoder, codes: Codes) -> Iterator[np.ndarray]:
    """Decompress progressively, from the bits alone.

    Yields:
        P[1], P[2], ...: photos (H, W, 3) uint8, exactly those that `encode` showed on the same machine.

    Raises:
        InputError: a plane has not the shape that the picture's size and the model ask for, or more memory is needed
            than is free.
    """
    check_decoding(model.config, codes.height, codes.width)
    expected = (model.config.bits, *grid_size(codes.height, codes.width))
    for i, plane in enumerate(codes.planes, start=1):
        if plane.shape != expected:
            raise InputError(f"B[{i}] has shape {plane.shape}; this picture and model need {expected}")
    return _decode(model, codes, uses_bf16(model))


def check_decoding(config: ModelConfig, height: int, width: int):
    """Raise `InputError` if a compressed picture is over the kit's limits, or needs more memory than is free."""
    check_size(height, width, "the compressed picture")
    check_memory(config, height, width)


def _decode(model, codes, bf16):
    sending = Sending(model)
    _quicken(sending, bf16)
    state = picture = None
    with keeping_memory():
        for i, plane in enumerate(codes.planes, start=1):
            with torch.inference_mode(), _precision(sending):
                gain = sending.gain(picture)
                bits = _place(sending.model, torch.from_numpy(plane)[None].float())
                output, state = sending.decode(bits, state)
                picture = sending.reconstruct(output, picture, gain)
                frame = _photo(picture, codes.height, codes.width)
            if i == 1:
                _settle_precision(sending, frame)
            yield frame


def _quicken(sending: Sending, bf16: bool):
    """Let it run on the fast copy of its networks."""
    sending.model, sending.exact = fused(sending.original.eval(), torch.bfloat16 if bf16 else None), not bf16


def _settle_precision(sending: Sending, first: np.ndarray):
    """From the second iteration on float32, if P[1] shows that bfloat16 is too coarse.

    Both ends on one machine see the same P[1]. On two it may lie on two sides of the threshold, if it is that near; the
    pictures then differ by what bfloat16 rounds off.
    """
    if not sending.exact and not allows_bf16(first):
        _quicken(sending, False)


def on_tensors(change: Callable[[Tensor], Tensor], value):
    """`change` of each tensor in a memory, or in anything else; what is no tensor stays as it is."""
    if torch.is_tensor(value):
        return change(value)
    if isinstance(value, tuple):
        changed = [on_tensors(change, each) for each in value]
        return type(value)(*changed) if hasattr(value, "_fields") else tuple(changed)
    return value


def check_iterations(iterations: int):
    """Raise `InputError` unless 1 <= iterations <= 16."""
    if not 1 <= iterations <= MAX_ITERATIONS:
        raise InputError(f"iterations is {iterations}; choose 1 to {MAX_ITERATIONS}")


def _precision(sending: Sending):
    return torch.autocast(next(sending.model.parameters()).device.type, torch.bfloat16, enabled=not sending.exact)


def _place(model: ResidualCoder, x: Tensor) -> Tensor:
    device = next(model.parameters()).device
    return x.to(device, memory_format=torch.channels_last)


def _photo(picture: Tensor, height: int, width: int) -> np.ndarray:
    return to_photo(crop(picture + MIDPOINT, height, width).clamp(0, 1))
