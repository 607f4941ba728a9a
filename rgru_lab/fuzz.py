"""Random, mutated and re-sealed files through the parser and the decoder of the bits: nothing may break.

*Plain* files are random bytes, or a good file with bytes changed, cut, doubled or swapped: each must end in a
`BitstreamError`, or in exactly the bits that were written. *Sealed* files have damage inside and all checksums made
right again, so that the models of the bits and the range decoder work on garbage: there is no right answer, but there
must be one, in bounded time and memory, and again as a `BitstreamError` where it is none.
"""

import random
import struct
import time
import tracemalloc
import zlib
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from rgru_lab import bitstream, codec
from rgru_lab.bitmodel import ONE, BitModel, Counts
from rgru_lab.codec import Codes
from rgru_lab.config import InputError
from rgru_lab.model import Weights

MEMORY_LIMIT_BYTES = 64_000_000
"""Far above what a file of the test's size needs, far below what a wrong size would take."""

TIME_LIMIT_S = 10.0
"""For one small file; a hang would be longer."""

HEIGHT_AND_WIDTH = struct.Struct("<HH")
"""As a header has them."""


class FuzzError(AssertionError):
    """A file that broke the promise; the message has it in full, so that it can be tried again."""


class Outcome(NamedTuple):
    """What a run found."""

    files: int
    refused: int
    accepted: int
    """Files that gave bits: unchanged ones, cut ones, or, if sealed, some other."""
    seconds: float
    """Of the processor, so that other work on the machine does not count."""
    slowest_s: float
    peak_bytes: int
    """Largest allocation of the sample of files whose memory was traced."""


class Seed(NamedTuple):
    """A good file to start from."""

    data: bytes
    planes: tuple[np.ndarray, ...]
    bit_model: BitModel | None


def seeds(learned: Sequence[BitModel] = ()) -> list[Seed]:
    """Small good files: raw, counted, and with each of the learned models; then the same with positions that stop."""
    draw = np.random.default_rng(0)
    made = []
    models = ((None, 5), (Counts(), 5), *((each, each.bits) for each in learned))
    for (bit_model, bits), adaptive in product(models, (False, True)):
        planes = []
        counts = draw.integers(0, 4, (4, 5)) if adaptive else np.full((4, 5), 3)
        for i in range(3):
            planes.append(_drawn(bit_model or Counts(), planes, (bits, 4, 5), draw, counts > i))
        header = bitstream.Header("fuzz-1", bytes(range(8)), 60, 70, bits, adaptive=adaptive)
        if bit_model:
            header = header._replace(coding=bit_model.coding, bit_model=bit_model.fingerprint)
        codes = Codes(60, 70, tuple(planes))
        made.append(Seed(bitstream.write(header, codes, bit_model), codes.planes, bit_model))
    return made


def coded(weights: Weights, bit_model: BitModel | None, photo: np.ndarray, iterations: int = 4) -> Seed:
    """The file of a photo, to start from."""
    planes = tuple(plane for plane, _ in codec.encode(weights.model, photo, iterations))
    header = bitstream.Header.of(weights, *photo.shape[:2], bit_model)
    return Seed(bitstream.write(header, Codes(*photo.shape[:2], planes), bit_model), planes, bit_model)


def run(
    good: Sequence[Seed], files: int, seed: int, *, sealed: bool, progress: Callable = iter, trace_every: int = 997
) -> Outcome:
    """Try so many files; see the module's text for what `sealed` means.

    Raises:
        FuzzError: a file broke something.
    """
    draw = random.Random(seed)
    refused = accepted = peak = 0
    slowest = 0.0
    started = time.process_time()
    for number in progress(range(files)):
        start = draw.choice(good)
        data = _sealed(start, draw) if sealed else _plain(start, draw)
        traced = number % trace_every == 0
        if traced:
            tracemalloc.start()
        begun = time.process_time()
        try:
            planes = bitstream.decode(bitstream.parse(data), start.bit_model).planes
        except InputError:
            planes = None
        except Exception as error:
            raise FuzzError(f"{error!r} from {data.hex()}") from error
        finally:
            slowest = max(slowest, time.process_time() - begun)
            if traced:
                peak = max(peak, tracemalloc.get_traced_memory()[1])
                tracemalloc.stop()
        if slowest > TIME_LIMIT_S or peak > MEMORY_LIMIT_BYTES:
            raise FuzzError(f"{slowest:.1f} s, {peak:,} bytes of memory for {data.hex()}")
        if planes is None:
            refused += 1
            continue
        accepted += 1
        if not sealed and not _is_start_of(planes, start.planes):
            raise FuzzError(f"other bits than were written, and no complaint, from {data.hex()}")
    return Outcome(files, refused, accepted, time.process_time() - started, slowest, peak)


def cuts(start: Seed) -> int:
    """Cut a good file at every byte: it must parse as the whole iterations before the cut, and those decode rightly.

    Decoding sees nothing of a file but its header and segments, so each number of iterations is decoded once.

    Returns:
        How many cuts were tried.

    Raises:
        FuzzError: a cut gave other iterations than the whole ones before it.
    """
    good = bitstream.parse(start.data)
    decoded = set()
    for cut in range(len(start.data) + 1):
        whole = sum(end <= cut for end in good.ends_bytes)
        try:
            file = bitstream.parse(start.data[:cut])
        except bitstream.BitstreamError:
            if whole:
                raise FuzzError(f"cut after {cut} bytes, {whole} whole iterations are refused") from None
            continue
        right = file[:2] == (good.header, good.segments[:whole]) and whole > 0
        if right and whole not in decoded:
            planes = bitstream.decode(file, start.bit_model).planes
            right = len(planes) == whole and _is_start_of(planes, start.planes)
            decoded.add(whole)
        if not right:
            raise FuzzError(f"cut after {cut} bytes, there are not the {whole} whole iterations before it")
    return len(start.data) + 1


def _drawn(bit_model: BitModel, earlier: list[np.ndarray], shape, draw: np.random.Generator, sent) -> np.ndarray:
    """A plane as the model expects it, so that coding pays."""

    def tell(_, chances):
        return (draw.random(len(chances)) * ONE < chances).astype(int)

    return bit_model.walk(earlier, shape, tell, sent)


def _is_start_of(planes: Sequence[np.ndarray], whole: Sequence[np.ndarray]) -> bool:
    return len(planes) <= len(whole) and all(np.array_equal(a, b) for a, b in zip(planes, whole, strict=False))


def _plain(start: Seed, draw: random.Random) -> bytes:
    data = bytearray(start.data)
    kind = draw.randrange(8)
    if kind == 0:
        return draw.randbytes(draw.randrange(200))
    if kind == 1:
        return bitstream.MAGIC + bytes([draw.randrange(4)]) + draw.randbytes(draw.randrange(200))
    if kind == 2:
        return bytes(data[: draw.randrange(len(data))])
    if kind == 3:
        return bytes(data) + draw.randbytes(draw.randrange(1, 40))
    if kind == 4:
        a, b, c = sorted(draw.randrange(len(data) + 1) for _ in range(3))
        return bytes(data[:a] + data[b:c] + data[a:b] + data[c:])
    for _ in range(draw.choice((1, 1, 2, 8))):
        data[draw.randrange(len(data))] = draw.choice((0, 1, 0x7F, 0x80, 0xFF, draw.randrange(256)))
    return bytes(data)


def _sealed(start: Seed, draw: random.Random) -> bytes:
    _, end = bitstream.read_header(start.data)
    body = bytearray(start.data[: end - 4])
    kind = draw.randrange(6)
    if kind == 0:  # another size; not so large that it only takes time
        body[9:13] = HEIGHT_AND_WIDTH.pack(draw.choice((0, 1, 16, 17, 33, 200)), draw.choice((0, 1, 16, 31, 64, 300)))
    elif kind == 1:
        body[draw.randrange(5, len(body))] = draw.randrange(256)
        if draw.random() < 0.9:
            body[9:13] = start.data[9:13]
    header = bytes(body) + struct.pack("<I", zlib.crc32(body))
    parts = [(segment.kind, segment.payload) for segment in bitstream.parse(start.data).segments]
    for k, (code, payload) in enumerate(parts):
        if draw.random() < 0.6:
            parts[k] = (draw.choice((code, code, code, 1, 2, 3, 0x85, draw.randrange(256))), _damage(payload, draw))
    if draw.random() < 0.2:
        draw.shuffle(parts)
    if draw.random() < 0.1:
        parts *= draw.randrange(2, 8)
    return header + b"".join(bitstream.seal(header, k, *part) for k, part in enumerate(parts, start=1))


def _damage(payload: bytes, draw: random.Random) -> bytes:
    data = bytearray(payload)
    kind = draw.randrange(6)
    if kind == 0 or not data:
        return draw.randbytes(4 * draw.randrange(8))
    if kind == 1:
        return draw.randbytes(len(data))
    if kind == 2:
        return bytes(data[: 4 * draw.randrange(1 + len(data) // 4)])
    if kind == 3:
        return draw.choice((b"\x00", b"\xff")) * len(data)
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def report(outcomes: dict[str, Outcome]) -> Iterator[str]:
    """A line for each."""
    for name, outcome in outcomes.items():
        yield (
            f"{name}: {outcome.files:,} files in {outcome.seconds:,.0f} s, {outcome.refused:,} refused, "
            f"{outcome.accepted:,} gave bits; slowest {1000 * outcome.slowest_s:.0f} ms, "
            f"peak {outcome.peak_bytes / 1e6:.1f} MB"
        )
