"""How fast the codec is: seconds per iteration, memory, and the share of what the machine can do at best.

All beside a straightforward loop: a convolution for every gate, float32, contiguous memory. Both compute the same
pictures. Timings are the median of a few runs (of one, at 12 megapixels) after a first that does not count, all in
one process and one after the other.
"""

import copy
import datetime
import multiprocessing
import platform
import re
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from rgru_lab import bitnet, bitstream, codec, images, machine, metrics, photos
from rgru_lab.cells import ResidualGRUCell
from rgru_lab.codec import unroll
from rgru_lab.config import GRID, MAX_ITERATIONS, InputError, TrainConfig
from rgru_lab.fused import fused
from rgru_lab.model import ResidualCoder, Weights, load
from rgru_lab.progression import Progression
from rgru_lab.training import Unrolled

KODAK = (512, 768)
"""Height and width of the pictures that the seconds are given for."""

LARGE = (3000, 4000)
"""12 megapixels."""

SIZES = ((256, 384), KODAK, (1024, 1536), (2048, 3072), LARGE)
"""Heights and widths at which the growth of seconds and memory is measured."""

MATRIX = 2048
"""Side of the square matrices whose product shows what the machine can do."""

ITERATIONS = 16
RUNS = 3

ENOUGH = 0.95
"""The MS-SSIM at which a photo's way to its file and back is timed."""


class PlainResidualGRUCell(nn.Module):
    """The Residual GRU as its equations stand: a convolution for each of the eight products.

    Args:
        cell: the `cells.ResidualGRUCell` whose weights are taken; they are copied.
    """

    def __init__(self, cell: ResidualGRUCell):
        super().__init__()
        self.channels, self.alpha_h, self.alpha_x = cell.channels, cell.alpha_h, cell.alpha_x
        self.W_z, self.W_r, self.W = (_part(cell.W, k, cell.channels) for k in range(3))
        self.U_z, self.U_r = (_part(cell.U_gates, k, cell.channels) for k in range(2))
        self.U, self.W_h, self.W_ox = (_part(conv, 0, cell.channels) for conv in (cell.U, cell.W_h, cell.W_ox))
        self.W_ox.stride = cell.W.stride

    def forward(self, x: Tensor, h: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if h is None:
            h = torch.zeros_like(self.W_ox(x))
        z = torch.sigmoid(self.W_z(x) + self.U_z(h))
        r = torch.sigmoid(self.W_r(x) + self.U_r(h))
        h = (1 - z) * h + z * torch.tanh(self.W(x) + self.U(r * h)) + self.alpha_h * self.W_h(h)
        return h + self.alpha_x * self.W_ox(x), h


def _part(conv: nn.Conv2d, k: int, channels: int) -> nn.Conv2d:
    """Output channels k * channels to (k + 1) * channels of a convolution, as one of its own."""
    part = nn.Conv2d(
        conv.in_channels, channels, conv.kernel_size, conv.stride, conv.padding, bias=conv.bias is not None
    )
    rows = slice(k * channels, (k + 1) * channels)
    part.weight.data = conv.weight.data[rows].clone(memory_format=torch.contiguous_format)
    if conv.bias is not None:
        part.bias.data = conv.bias.data[rows].clone()
    return part


def straightforward(model: ResidualCoder) -> ResidualCoder:
    """A copy of a model of Residual GRUs that computes the same without fused gates, in contiguous memory.

    Raises:
        InputError: the model has other cells.
    """
    if model.config.cell != "residual-gru":
        raise InputError(
            f"the model has cells of the kind {model.config.cell}; the straightforward loop knows residual-gru: "
            "choose other weights"
        )
    plain = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    for network in (plain.encoder, plain.decoder):
        for name, module in list(network.named_children()):
            if name.startswith("cell"):
                setattr(network, name, PlainResidualGRUCell(module))
    return plain.eval()


def peak_flops(dtype: torch.dtype) -> float:
    """Operations per second of a large matrix product: what the machine can do at best."""
    a, b = (torch.rand(MATRIX, MATRIX).to(dtype) for _ in range(2))
    seconds = _median_s(lambda: a @ b, runs=5)
    return 2 * MATRIX**3 / seconds


def iteration_flops(model: ResidualCoder, height: int, width: int, iteration: int = 2) -> int:
    """Operations of one iteration, encoder, binarizer and decoder, the convolutions alone.

    The second stands for all later ones; the first has no memory to convolve yet, but perhaps some priming.
    """
    x = torch.zeros(1, 3, 4 * GRID, 4 * GRID)
    with torch.inference_mode():
        steps = unroll(model, x)
        for _ in range(iteration - 1):
            next(steps)
        with FlopCounterMode(display=False) as counter:
            next(steps)
    return counter.get_total_flops() * height * width // x[0, 0].numel()


def iteration_s(model: ResidualCoder, size: tuple[int, int], *, count: int, bf16: bool = False) -> float:
    """Seconds of one iteration of the loop on a picture of this size, as `codec` runs it, the mean of `count`."""
    with machine.keeping_memory():
        return _iteration_s(model, size, count, bf16, torch.channels_last)


def plain_iteration_s(plain: ResidualCoder, size: tuple[int, int], *, count: int) -> float:
    """The same of the straightforward loop: float32, contiguous, memory as it comes."""
    return _iteration_s(plain, size, count, False, torch.contiguous_format)


def _iteration_s(model, size, count, bf16, layout) -> float:
    x = (torch.rand(1, 3, *(GRID * side for side in images.grid_size(*size))) - 0.5).to(memory_format=layout)

    def run():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            for _ in islice(unroll(model, x), count):
                pass

    return _median_s(run, _runs(size)) / count


def encode_s(model: ResidualCoder, size: tuple[int, int], count: int) -> float:
    """Seconds of one iteration of encoding, through `codec.encode`, which reconstructs as well, the mean of `count`."""
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    return _median_s(lambda: list(codec.encode(model, photo, count)), _runs(size)) / count


def precision(weights: Weights, paths: Sequence[Path]) -> Iterator[tuple[str, object]]:
    """What bfloat16 changes: the PSNR of each P[i] beside that in float32; yields (what, value)."""
    yield "model", weights.name
    changes = []
    for path in paths:
        photo = images.load(path)
        exact, rough = (
            [metrics.psnr_db(photo, frame) for _, frame in codec.encode(weights.model, photo, ITERATIONS, bf16=bf16)]
            for bf16 in (False, True)
        )
        changes.append(np.subtract(rough, exact))
        yield f"PSNR in bfloat16 against float32, {path.name}, farthest, dB", _rounded(max(changes[-1], key=abs))
    changes = np.array(changes)
    for i in sorted({min(8, ITERATIONS), ITERATIONS}):
        yield f"PSNR in bfloat16 against float32, P[{i}], mean, dB", _rounded(changes[:, i - 1].mean())
        farthest = max(changes[:, :i].flat, key=abs)
        yield f"PSNR in bfloat16 against float32, P[1] to P[{i}], farthest, dB", _rounded(farthest)


def _rounded(decibels: float) -> float:
    return round(float(decibels), 4)


def decode_s(model: ResidualCoder, size: tuple[int, int], count: int) -> float:
    """Seconds of one iteration of decoding from bits alone, through `codec.decode`, the mean of `count`."""
    shape = count, model.config.bits, *images.grid_size(*size)
    planes = np.random.default_rng(0).integers(0, 2, shape).astype(np.int8) * 2 - 1
    codes = codec.Codes(*size, tuple(planes))
    return _median_s(lambda: list(codec.decode(model, codes)), _runs(size)) / count


def coding_s(weights: Weights, photo: np.ndarray) -> tuple[float, float]:
    """Seconds from the bits of a whole progression to its file, and back; the networks of the codec not counted."""
    bit_model = bitnet.find(weights)
    planes = tuple(plane for plane, _ in codec.encode(weights.model, photo, ITERATIONS))
    codes = codec.Codes(*photo.shape[:2], planes)
    header = bitstream.Header.of(weights, *photo.shape[:2], bit_model)
    file = bitstream.parse(bitstream.write(header, codes, bit_model))
    there = _median_s(lambda: bitstream.write(header, codes, bit_model))
    return there, _median_s(lambda: bitstream.decode(file, bit_model))


def there_and_back_s(weights: Weights, photo: np.ndarray) -> tuple[int, float]:
    """The number of iterations that reach `ENOUGH`, and the seconds from a photo to their file and back to a picture.

    Networks and coding; what measures the quality is not counted, nor is the disk. Iterations are 0 and seconds NaN if
    none reaches it.
    """
    bit_model = bitnet.find(weights)
    progression = Progression(weights, photo, bit_model)
    enough = next((i for i, decoded in progression.run(MAX_ITERATIONS) if decoded.ms_ssim >= ENOUGH), None)
    if enough is None:
        return 0, float("nan")
    header = bitstream.Header.of(weights, *photo.shape[:2], bit_model)

    def run():
        planes = tuple(plane for plane, _ in codec.encode(weights.model, photo, enough))
        data = bitstream.write(header, codec.Codes(*photo.shape[:2], planes), bit_model)
        for _ in codec.decode(weights.model, bitstream.decode(bitstream.parse(data), bit_model)):
            pass

    return enough, _median_s(run)


def training_patches_per_s(model: ResidualCoder, *, channels_last: bool) -> float:
    """Patches per second, forward and backward, in the last stage of the default recipe."""
    stage = TrainConfig.curriculum[-1]
    model = copy.deepcopy(model).train()
    unrolled = Unrolled(model, TrainConfig())
    x = torch.rand(stage.batch, 3, stage.patch, stage.patch) - 0.5
    if channels_last:
        x = x.to(memory_format=torch.channels_last)

    def run():
        loss, *_ = unrolled(x, stage.iterations)
        loss.backward()
        model.zero_grad()

    return stage.batch / _median_s(run)


class Line(NamedTuple):
    """y = slope * x + intercept, fitted by least squares; `worst_percent` is the largest distance from it, of y."""

    slope: float
    intercept: float
    worst_percent: float


def line(x: Sequence[float], y: Sequence[float]) -> Line:
    """The line nearest to the points, each weighed by 1 / y: a small picture counts as much as a large one."""
    slope, intercept = np.polyfit(x, y, 1, w=1 / np.asarray(y))
    fitted = slope * np.asarray(x) + intercept
    return Line(float(slope), float(intercept), float(100 * np.abs(fitted / y - 1).max()))


def peak_memory_bytes(weights: Path, size: tuple[int, int], *, plain: bool = False) -> int:
    """Memory that compressing takes on top of the weights in this file, at its peak, in a process of its own.

    With `plain` that of the straightforward loop.
    """
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_peak_memory_bytes, (weights, size, plain))


def _peak_memory_bytes(weights: Path, size: tuple[int, int], plain: bool) -> int:
    model = load(weights).model
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    model = straightforward(model) if plain else model

    def work(photo):
        if not plain:
            return list(codec.encode(model, photo, 2))
        with torch.inference_mode():
            return [step.picture for step in islice(unroll(model, images.centred(photo)), 2)]

    work(photo[:64, :64])
    process, done = psutil.Process(), threading.Event()
    before, mark = process.memory_info().rss, _high_water_bytes()
    seen = [before]

    def watch():
        while not done.wait(0.002):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    work(photo)
    done.set()
    watcher.join()
    if _high_water_bytes() > mark:  # exact; what was seen may have missed the peak
        seen.append(_high_water_bytes())
    return max(seen) - before


def _high_water_bytes() -> int:
    """The most memory that this process has had at once, where the system says so (Linux); else 0."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
    except OSError:
        return 0
    return int(re.search(r"VmHWM:\s*(\d+) kB", status)[1]) * 1024


def report(weights: Weights, *, large: bool = True) -> Iterator[tuple[str, object]]:
    """Measure one quantity after the other; yields (what, value) as it goes, names with their units.

    Args:
        weights: from `model.load`.
        large: measure at 12 megapixels, too.

    Raises:
        InputError: the model has other cells than the straightforward loop, or 12 megapixels do not fit into memory.
    """
    model, plain = weights.model, straightforward(weights.model)
    needed, free = machine.memory_bytes(model.config, *LARGE), machine.free_bytes()
    if large and needed > free:  # said before minutes are spent
        raise InputError(
            f"a picture of {LARGE[1]} x {LARGE[0]} px needs about {needed / 1e6:,.0f} MB of memory with these weights "
            f"and {free / 1e6:,.0f} MB are free; leave it out with --small"
        )
    yield "model", weights.name
    yield "parameters", sum(p.numel() for p in model.parameters())
    kind = f"{platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"
    yield "machine", f"{kind}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    yield "date", datetime.date.today().isoformat()
    floats = peak_flops(torch.float32)
    yield "matrix product, float32, GFLOP/s", short(floats / 1e9)
    speedup = machine.bf16_speedup(torch.device("cpu"))
    yield "bfloat16, times as fast as float32 at a convolution", short(speedup)
    quick = fused(model)
    flops = iteration_flops(quick, *KODAK)
    yield "GFLOP per iteration at 768 x 512", short(flops / 1e9)
    first = iteration_flops(quick, *KODAK, iteration=1)
    yield "GFLOP of the first iteration at 768 x 512", short(first / 1e9)
    flops = (first + flops) / 2  # of the two that are timed
    slow = plain_iteration_s(plain, KODAK, count=2)
    yield "straightforward loop, s per iteration at 768 x 512", short(slow)
    fast = iteration_s(quick, KODAK, count=2)
    yield "float32, s per iteration at 768 x 512", short(fast)
    yield "float32, times as fast as the straightforward loop", short(slow / fast)
    yield "float32, % of the matrix product's peak", short(100 * flops / fast / floats)
    if speedup > 1:  # else no one would choose it, and without such instructions a matrix product takes minutes
        halves = peak_flops(torch.bfloat16)
        yield "matrix product, bfloat16, GFLOP/s", short(halves / 1e9)
        half = iteration_s(fused(model, torch.bfloat16), KODAK, count=2, bf16=True)
        yield "bfloat16, s per iteration at 768 x 512", short(half)
        yield "bfloat16, times as fast as the straightforward loop", short(slow / half)
        yield "bfloat16, % of the matrix product's peak", short(100 * flops / half / halves)
    photo = np.asarray(Image.fromarray(photos.sample("astronaut")).resize(KODAK[::-1]))
    encoding = _median_s(lambda: list(codec.encode(model, photo, ITERATIONS)))
    yield "encoding, 16 iterations at 768 x 512, s", short(encoding)
    decoding = decode_s(model, KODAK, 4)
    yield "decoding, s per iteration at 768 x 512", short(decoding)
    there, back = coding_s(weights, photo)
    yield "bits to file, 16 iterations at 768 x 512, s", short(there)
    yield "bits to file, % of the networks' time", short(100 * there / encoding)
    yield "file to bits, 16 iterations at 768 x 512, s", short(back)
    yield "file to bits, % of the network's time", short(100 * back / (ITERATIONS * decoding))
    enough, whole = there_and_back_s(weights, photo)
    if enough:
        yield f"iterations to MS-SSIM {ENOUGH} at 768 x 512", enough
        yield f"photo to file and back at MS-SSIM {ENOUGH}, 768 x 512, s", short(whole)
    ours = training_patches_per_s(model, channels_last=True)
    theirs = training_patches_per_s(plain, channels_last=False)
    stage = TrainConfig.curriculum[-1]
    trained = f"patches of {stage.patch} px per s, {stage.iterations} iterations"
    yield f"training, {trained}", short(ours)
    yield f"training, straightforward loop, {trained}", short(theirs)
    sizes = SIZES if large else SIZES[:3]
    megapixels = [height * width / 1e6 for height, width in sizes]
    seconds = [iteration_s(quick, size, count=1) for size in sizes]
    memory = [peak_memory_bytes(weights.path, size) / 1e6 for size in sizes]
    for size, iteration, taken in zip(sizes, seconds, memory, strict=True):
        at = f"{size[1]} x {size[0]} px"
        yield f"{at}: first iteration, s", short(iteration)
        yield f"{at}: peak memory, MB", short(taken)
        yield f"{at}: memory predicted, MB", short(machine.memory_bytes(model.config, *size) / 1e6)
        if size == LARGE:  # of the others 768 x 512 stands above
            yield f"{at}: encoding, s per iteration", short(encode_s(model, size, 2))
            yield f"{at}: decoding, s per iteration", short(decode_s(model, size, 2))
        if size in (KODAK, LARGE):
            slow = plain_iteration_s(plain, size, count=1)
            yield f"{at}: straightforward loop, first iteration, s", short(slow)
        if size == KODAK:  # of twelve megapixels it does not fit into everybody's
            slow = peak_memory_bytes(weights.path, size, plain=True)
            yield f"{at}: straightforward loop, peak memory, MB", short(slow / 1e6)
    counts = (1, 2, 4, 8, ITERATIONS)
    repeated = [count * iteration_s(quick, KODAK, count=count) for count in counts]
    power, _ = np.polyfit(np.log(megapixels), np.log(seconds), 1)
    yield "seconds of the first iteration: the power of the pixels that fits best", short(float(power))
    for what, unit, fitted in (
        ("seconds of the first iteration", "s per megapixel", line(megapixels, seconds)),
        ("peak memory", "MB per megapixel", line(megapixels, memory)),
        ("seconds at 768 x 512", "s per iteration", line(counts, repeated)),
    ):
        yield f"{what}: growth, {unit}", short(fitted.slope)
        yield f"{what}: farthest from that line, %", short(fitted.worst_percent)


def short(value: float) -> float:
    """Three significant digits, and whole numbers from 100 on: no timing is steadier."""
    return round(value) if value >= 100 else float(f"{value:.3g}")


def _runs(size: tuple[int, int]) -> int:
    """One where a run takes seconds."""
    return RUNS if size[0] * size[1] < LARGE[0] * LARGE[1] else 1


def _median_s(work: Callable, runs: int = RUNS) -> float:
    work()  # the first run pays for what is set up once
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)
