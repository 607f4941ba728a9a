"""What this machine has memory for, and in which precision it is fast and good enough."""

import contextlib
import ctypes
import os
import platform
import threading
import time
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import torch
from torch import Tensor, nn

from rgru_lab.config import InputError, ModelConfig
from rgru_lab.model import ResidualCoder

BF16_VARIABLE = "RGRU_LAB_BF16"
"""Set to 0 or 1: whether inference runs its convolutions in bfloat16, whatever is faster here."""

BF16_MARGIN = 1.5
"""How many times as fast bfloat16 must be: so clear that every run on a machine comes to the same decision. (Measured
beside two other jobs on two cores: 1.7 to 2.2 times by one thread's own time, in 16 runs; 1.2 to 3.6 by the clock.)"""

BF16_HOPELESS = 0.5
"""If bfloat16 is slower than this on a small picture already, a large one would show the same, slowly."""

SMOOTH = 2.75
"""In levels: how large the second differences of P[1] are at least, the root of the sum of their mean squares down and
across, where bfloat16 is used beyond the first iteration. Of what is as smooth as a plain wall, P[i] comes so near that
what bfloat16 rounds off could be measured, though hardly seen. (Measured: plain colours and photographs blurred with
σ = 8 px are below 2.75; bfloat16 alone would lose up to 1.7 of their 40 to 60 dB, so they lose 0.2 at most. Of forty
validation photographs one is below with `small` and two with `base`, of Kodak none.)"""

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


def check_memory(config: ModelConfig, height: int, width: int, times: float = 1.0, beside_bytes: int = 0):
    """Raise `InputError` if a photo of this size needs more memory than is free, before any of it is taken.

    Args:
        config, height, width: as for `memory_bytes`.
        times: as much of it as that says, see `Sending`.
        beside_bytes: for each pixel, what else is taken at the same time.
    """
    needed = int(times * memory_bytes(config, height, width) + beside_bytes * height * width)
    free = free_bytes()
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


def allows_bf16(picture: np.ndarray) -> bool:
    """Whether bfloat16 is exact enough for a picture, judged by its P[1], (H, W, 3) uint8: it is not very smooth."""
    grey = picture.mean(2, dtype=np.float32)
    bends = sum(np.square(np.diff(grey, 2, axis)).sum() for axis in (0, 1)) / grey.size
    return bool(bends >= SMOOTH**2)
