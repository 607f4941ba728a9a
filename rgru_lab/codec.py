"""The loop: R[0] = I; B[i] from R[i-1]; P[i] from B[i]; R[i] = I - P[i] (Toderici et al. 2017).

    I --> R[0] --> encode --> B[1] --> decode --> P[1]      R[1] = I - P[1]
                     | memory            | memory
          R[1] --> encode --> B[2] --> decode --> P[2]      R[2] = I - P[2]
                     | memory            | memory
                    ...                 ...

The network runs on the entire image at once, so there are no tiles and no seams. The decoder needs only the bits.
What lies between R[i-1] and the encoder and between the decoder and P[i], a gain, a sum or nothing, is the model's
way of reconstruction, and how often each half looks before it speaks is the model's, too: see `model.ResidualCoder`.
"""

import contextlib
import ctypes
import os
import platform
import threading
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from rgru_lab.config import MAX_ITERATIONS, MIDPOINT, InputError, ModelConfig
from rgru_lab.fused import fused
from rgru_lab.images import centred, check_photo, check_size, crop, grid_size, to_photo
from rgru_lab.model import DecoderState, EncoderState, ResidualCoder

BF16_VARIABLE = "RGRU_LAB_BF16"
"""Set to 0 or 1: whether inference runs its convolutions in bfloat16, whatever is faster here."""

BF16_MARGIN = 1.5
"""How many times as fast bfloat16 must be: so clear that every run on a machine comes to the same decision. (Measured
beside two other jobs on two cores: 1.7 to 2.2 times by one thread's own time, in 16 runs; 1.2 to 3.6 by the clock.)"""

BF16_HOPELESS = 0.5
"""If bfloat16 is slower than this on a small picture already, a large one would show the same, slowly."""

MAPS = {"residual-gru": 17, "gru": 18, "lstm": 34, "associative-lstm": 76}
"""Copies of the last cell's channels, at a quarter of the pixels, that are in memory at the peak: measured in float32,
with all weights that ship, on pictures over a megapixel. In bfloat16 it is about half of that."""

LOOKING = 1.3
"""Times the memory where networks look more than once in an iteration: 0.8 to 1.2 times what is predicted without it
was measured, in a search as well, whose way back goes through every look."""

PICTURE_BYTES = 90
"""Per pixel, for the picture, its residual and all smaller cells: measured."""

GLIBC = ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None

MALLOC_KEEPS = {-1: -1, -4: 0}
"""Numbers and values for glibc's `mallopt`: the heap is not cut (M_TRIM_THRESHOLD), all is in it (M_MMAP_MAX)."""

MALLOC_RETURNS = {-1: 1 << 26, -3: 1 << 25, -4: 1 << 16}
"""The same as glibc has them when a program has used large blocks (-3: M_MMAP_THRESHOLD)."""

CONTAINER_LIMITS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)
"""Where Linux says, in its newer and its older way, what a container may take, takes, and would give back of that: the
machine's own figures do not show it."""


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


def unroll(model: ResidualCoder, x: Tensor) -> Iterator[Step]:
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
        times_memory: what it takes beside what the model alone takes.
        going_on: (B, h, w) bool, which positions still send bits; None: all. May be changed between iterations.
    """

    times_memory = 1.0

    def __init__(self, model: ResidualCoder):
        self.model = model
        self.going_on: Tensor | None = None

    def stop(self, where: Tensor):
        """From the next iteration on (B, h, w) bool, and who has stopped already, send nothing."""
        self.going_on = ~where if self.going_on is None else self.going_on & ~where

    def encode(self, r: Tensor, state: EncoderState | None = None) -> tuple[Tensor, EncoderState]:
        """See `ResidualCoder.encode`."""
        bits, state = self.model.encode(r, state)
        return bits if self.going_on is None else bits * self.going_on[:, None], state

    def decode(self, bits: Tensor, state: DecoderState | None = None) -> tuple[Tensor, DecoderState]:
        """See `ResidualCoder.decode`."""
        return self.model.decode(bits, state)

    def gain(self, previous: Tensor | None) -> Tensor | float:
        """See `ResidualCoder.gain`."""
        return self.model.gain(previous)

    def reconstruct(self, output: Tensor, previous: Tensor | None, gain: Tensor | float) -> Tensor:
        """See `ResidualCoder.reconstruct`."""
        return self.model.reconstruct(output, previous, gain)


def encode(
    model: ResidualCoder,
    photo: np.ndarray,
    iterations: int,
    counts: np.ndarray | None = None,
    sending: Sending | None = None,
    *,
    bf16: bool | None = None,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Compress a photo progressively. Stop whenever you like: what came so far is a complete compressed image.

    Args:
        model: the networks, in eval mode.
        photo: I, (H, W, 3) uint8.
        iterations: N, 1 to 16.
        counts: (h, w), the number of iterations that each position sends bits in; None: all. See `adaptive`.
        sending: what the loop runs on instead of the model: `search.Searching`, which tries other bits, for one. It
            must be of the same model, of which it holds the fast copy from then on.
        bf16: run the networks in bfloat16; None: as `uses_bf16` says.

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
    sending = sending or Sending(model)
    check_memory(model.config, height, width, sending.times_memory)
    return _encode(model, photo, iterations, counts, sending, uses_bf16(model) if bf16 is None else bf16)


def _encode(model, photo, iterations, counts, sending, bf16):
    sending.model = model = _quick(model, bf16)
    height, width = photo.shape[:2]
    with torch.inference_mode():
        steps = unroll(sending, _place(model, centred(photo)))
    with keeping_memory():
        for i in range(1, iterations + 1):
            if counts is not None:
                sending.going_on = torch.from_numpy(counts >= i)[None].to(next(model.parameters()).device)
            with torch.inference_mode(), _precision(model, bf16):  # not around the yield: it would leak into the caller
                step = next(steps)
                plane = step.bits[0].round().to(torch.int8).cpu().numpy()  # a binarizer of one's own may say .9999999
                frame = _photo(step.picture, height, width)
            del step  # or it would be kept while the next one is computed
            yield plane, frame


def decode(model: ResidualCoder, codes: Codes) -> Iterator[np.ndarray]:
    """Decompress progressively, from the bits alone.

    Yields:
        P[1], P[2], ...: photos (H, W, 3) uint8, exactly those that `encode` showed on the same machine.

    Raises:
        InputError: a plane has not the shape that the picture's size and the model ask for, or more memory is needed
            than is free.
    """
    check_size(codes.height, codes.width, "the compressed picture")
    check_memory(model.config, codes.height, codes.width)
    expected = (model.config.bits, *grid_size(codes.height, codes.width))
    for i, plane in enumerate(codes.planes, start=1):
        if plane.shape != expected:
            raise InputError(f"B[{i}] has shape {plane.shape}; this picture and model need {expected}")
    return _decode(model, codes, uses_bf16(model))


def _decode(model, codes, bf16):
    model = _quick(model, bf16)
    state = picture = None
    with keeping_memory():
        for plane in codes.planes:
            with torch.inference_mode(), _precision(model, bf16):
                gain = model.gain(picture)
                bits = _place(model, torch.from_numpy(plane)[None].float())
                output, state = model.decode(bits, state)
                picture = model.reconstruct(output, picture, gain)
                frame = _photo(picture, codes.height, codes.width)
            yield frame


@contextlib.contextmanager
def keeping_memory():
    """What a tensor leaves behind serves the next one; to the system it goes back at the end.

    Left alone, glibc gives large blocks back at once, and the next tensor pays a page fault for every 4 KB of it. Where
    there is another C library nothing is changed.
    """
    if GLIBC is None:
        yield
        return
    for what, value in MALLOC_KEEPS.items():
        GLIBC.mallopt(what, value)
    try:
        yield
    finally:
        for what, value in MALLOC_RETURNS.items():
            GLIBC.mallopt(what, value)
        GLIBC.malloc_trim(ctypes.c_size_t(0))


def check_iterations(iterations: int):
    """Raise `InputError` unless 1 <= iterations <= 16."""
    if not 1 <= iterations <= MAX_ITERATIONS:
        raise InputError(f"iterations is {iterations}; choose 1 to {MAX_ITERATIONS}")


def memory_bytes(config: ModelConfig, height: int, width: int) -> int:
    """What compressing or decompressing a photo of this size takes at its peak; in proportion to its pixels."""
    needed = height * width * (PICTURE_BYTES + MAPS[config.cell] * config.decoder[-1])
    return int(LOOKING * needed) if config.priming or config.diffusion else needed


def free_bytes() -> int:
    """Memory that this process may still take: of the machine, or of the container it runs in."""
    free = psutil.virtual_memory().available
    for folder, limit_name, used_name, cache_name in CONTAINER_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit
            limit, used = (int((folder / name).read_text()) for name in (limit_name, used_name))
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            free = min(free, max(0, limit - used + int(stat.get(cache_name, 0))))
    return free


def check_memory(config: ModelConfig, height: int, width: int, times: float = 1.0):
    """Raise `InputError` if a photo of this size needs more memory than is free, before any of it is taken.

    `times`: as much of it as `memory_bytes` says, see `Sending`.
    """
    needed, free = int(times * memory_bytes(config, height, width)), free_bytes()
    if needed > free:
        scale = (free / needed) ** 0.5
        raise InputError(
            f"a picture of {width} x {height} px needs about {needed / 1e6:,.0f} MB of memory with these weights and "
            f"{free / 1e6:,.0f} MB are free; close other programs, or scale it down to {max(1, int(width * scale))} x "
            f"{max(1, int(height * scale))} px"
        )


_counting_threads = threading.Lock()


@contextlib.contextmanager
def one_thread():
    """All that is computed in it takes one thread.

    The number of threads is the whole process's, so one caller at a time may change it and put it back.
    """
    with _counting_threads:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


@cache
def bf16_speedup(device: torch.device) -> float:
    """How many times as fast a few convolutions are in bfloat16: twice on some machines, a quarter on others.

    On a processor it is one thread's own time that counts, which other work on the machine hardly changes.
    """
    devices = [device] if device.type == "cuda" else []
    with one_thread(), torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices):
        conv = nn.Conv2d(64, 192, 3, padding=1).to(device, memory_format=torch.channels_last)
        count = 4 if device.type == "cpu" else 256  # so many that a GPU's time goes into the work, not its handing over
        x = torch.rand(count, 64, 48, 48, device=device).to(memory_format=torch.channels_last)
        if device.type == "cpu":  # one that has no bfloat16 imitates it: seconds, while somebody waits for P[1]
            glimpse = x[:1, :, :16, :16].contiguous(memory_format=torch.channels_last)
            speedup = _seconds(conv, glimpse, False) / _seconds(conv, glimpse, True)
            if speedup < BF16_HOPELESS:
                return speedup
        return _seconds(conv, x, False) / _seconds(conv, x, True)


def _seconds(conv: nn.Module, x: Tensor, bf16: bool) -> float:
    clock = time.perf_counter if x.is_cuda or os.name == "nt" else time.thread_time  # that of Windows is too coarse
    found = []
    for _ in range(3):
        started = clock()
        with torch.autocast(x.device.type, torch.bfloat16, enabled=bf16):
            conv(x).sum().backward()
        if x.is_cuda:
            torch.cuda.synchronize()
        found.append(clock() - started)
    return min(found[1:])  # after a warm-up; other work on the machine can only make it longer


def uses_bf16(model: ResidualCoder) -> bool:
    """Whether inference with this model runs in bfloat16: where that is clearly faster, or as RGRU_LAB_BF16 says.

    Never where pictures add up from iteration to iteration, and with them their errors.

    Raises:
        InputError: RGRU_LAB_BF16 is neither 0 nor 1.
    """
    wanted = os.environ.get(BF16_VARIABLE, "")
    if wanted not in ("", "0", "1"):
        raise InputError(f"{BF16_VARIABLE} is {wanted!r}; set it to 0 or 1, or not at all: then what is faster is used")
    if model.config.reconstruction != "one-shot":
        return False
    return bf16_speedup(next(model.parameters()).device) >= BF16_MARGIN if wanted == "" else wanted == "1"


def _quick(model: ResidualCoder, bf16: bool) -> ResidualCoder:
    return fused(model.eval(), torch.bfloat16 if bf16 else None)


def _precision(model: ResidualCoder, bf16: bool):
    return torch.autocast(next(model.parameters()).device.type, torch.bfloat16, enabled=bf16)


def _place(model: ResidualCoder, x: Tensor) -> Tensor:
    device = next(model.parameters()).device
    return x.to(device, memory_format=torch.channels_last)


def _photo(picture: Tensor, height: int, width: int) -> np.ndarray:
    return to_photo(crop(picture + MIDPOINT, height, width).clamp(0, 1))
