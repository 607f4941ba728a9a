"""A set of pictures through codec and opponents: the bytes and qualities of every file, one row each.

Long, so it can be stopped: what is done stands in a file of its own until all is done, and need not be done again.
"""

import csv
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from rgru_lab import __version__, adaptive, bitnet, bitstream, codec, images, machine, metrics
from rgru_lab.bitmodel import Counts
from rgru_lab.config import MAX_ITERATIONS, InputError
from rgru_lab.files import write_atomically
from rgru_lab.opponents import CODECS, Ladder
from rgru_lab.progression import Decoded, Progression
from rgru_lab.progression import read as read_file

READINGS = ("psnr_db", "ssim", "ms_ssim", "ms_ssim_moved", "mean_abs_residual", "shift_r", "shift_g", "shift_b")
SIZES = ("size_bytes", "raw_bytes", "counted_bytes", "bpp")
COLUMNS = ("picture", "codec", "point", *SIZES, *READINGS, "encode_s", "decode_s")
"""Of a row. `point` is the iteration, the number of the slope from 1, or the opponent's quality; `raw_bytes` is what
our file would take if its bits were stored as they are, `counted_bytes` if they were coded with counts alone;
`encode_s` and `decode_s` are the processor seconds from the photo to our file and back, which other work on the machine
hardly changes. Opponents have none of these four, a file that had been made beforehand has no `encode_s`."""


PROCESS_BYTES = 250e6
"""What a process takes before it has seen a picture: Python, torch, the weights."""


def check(paths: Iterable[Path]):
    """Raise an `InputError`, before hours are spent, if a picture cannot be read or is too small for MS-SSIM."""
    for path in paths:
        photo = images.load(path)
        if not metrics.has_ms_ssim(photo):
            raise metrics.MetricError(
                f"{path} is {photo.shape[1]} x {photo.shape[0]} px, too small for MS-SSIM; leave out pictures with a "
                f"side under {metrics.MS_SSIM_MIN_SIDE} px"
            )


def affordable_jobs(weights, paths: Iterable[Path], jobs: int, times: float = 1.0) -> int:
    """As many pictures at a time, `jobs` at most and one at least, as memory holds for the largest of them.

    `times`: as much memory as the codec alone takes, see `codec.Sending`.
    """
    from PIL import Image

    sizes = []
    for path in paths:
        with Image.open(path) as picture:
            sizes.append(picture.size)
    largest = max(machine.memory_bytes(weights.model.config, height, width) for width, height in sizes)
    return max(1, min(jobs, int(machine.free_bytes() / (times * largest + PROCESS_BYTES))))


def ours(weights, path: Path, iterations: int, bit_model="find", search: int = 0) -> Iterator[dict]:
    """One row per iteration of one picture; the quality is that of what the file itself decodes to.

    `bit_model` and `search` as in `Progression`.
    """
    photo = images.load(path)
    progression = Progression(weights, photo, bit_model, search=search)
    encode_s = [seconds for seconds, _ in _timed(progression.run(iterations))]
    file = bitstream.parse(progression.file(iterations))
    learned = progression.bit_model if file.header.coding == "learned" else None
    bits_s, planes = zip(*_timed(bitstream.planes(file, learned)), strict=True)
    codes = codec.Codes(*photo.shape[:2], planes)
    header = bitstream.Header.of(weights, *photo.shape[:2], Counts())
    counted_bytes = bitstream.parse(bitstream.write(header, codes, Counts())).ends_bytes
    frames = _timed(codec.decode(weights.model, codes))
    for i, (network_s, frame) in enumerate(frames, start=1):
        decoded = Decoded(photo, frame, progression[i].size_bytes, progression[i].raw_bytes)
        taken = counted_bytes[i - 1], encode_s[i - 1], bits_s[i - 1] + network_s
        yield _row(path, weights.name, i, decoded, readings(decoded), *taken)


def ours_adaptive(
    weights,
    path: Path,
    slopes: Sequence[float],
    bit_model="find",
    iterations: int = MAX_ITERATIONS,
    search: int = 0,
    files: Path | None = None,
) -> Iterator[dict]:
    """One row per slope of one picture: the whole adaptive file that it leads to.

    `bit_model` as in `Progression`; `slopes` as in `adaptive.counts`; `search` as in `adaptive.reaching`; a position
    sends so many iterations at most. `files`: a folder that keeps the files; one that lies there is not made again, and
    what encoding took is not known.

    Raises:
        BitstreamError: what lies in the folder is damaged, or was made with other weights.
    """
    photo = images.load(path)
    size = photo.shape[:2]
    making = _AdaptiveFiles(weights, photo, bit_model, iterations, search)
    for point, slope in enumerate(slopes, start=1):
        file, encode_s = making.read_or_make(slope, files and files / kept_name(path, iterations, search, slope))
        learned = making.bit_model if file.header.coding == "learned" else None
        *_, (bits_s, _) = planes = [*_timed(bitstream.planes(file, learned))]
        codes = codec.Codes(*size, tuple(plane for _, plane in planes))
        raw, counted = (
            len(bitstream.write(bitstream.Header.of(weights, *size, each, adaptive=True), codes, each))
            for each in (None, Counts())
        )
        *_, (network_s, frame) = _timed(codec.decode(weights.model, codes))
        decoded = Decoded(photo, frame, file.ends_bytes[-1], raw)
        yield _row(path, weights.name, point, decoded, readings(decoded), counted, encode_s, bits_s + network_s)


def kept_name(path: Path, iterations: int, search: int, slope: float) -> str:
    """The name of the file that a slope leads to: `kodim01-b56de4ac-16-0.05.rgru`, or `…-0.05-search-20.rgru`.

    Beside the picture's name stand eight digits of its SHA-256, so that no other picture's file is taken for it.
    """
    steps = adaptive.search_steps(search, slope)
    picture = f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}"
    return f"{picture}-{iterations}-{slope:g}{f'-search-{steps}' if steps else ''}.rgru"


class _AdaptiveFiles:
    """The adaptive files of one photo. What all of them need is computed once, for the first that is made."""

    def __init__(self, weights, photo: np.ndarray, bit_model, iterations: int, search: int):
        self.weights = weights
        self.photo = photo
        self.bit_model = bitnet.asked_for(weights, bit_model)
        self.iterations = iterations
        self.search = search
        self.curves = self.looking_s = None

    def read_or_make(self, slope: float, kept: Path | None) -> tuple[bitstream.File, float | None]:
        """The file, and the seconds that making it took; None if it lay there."""
        if kept is not None and kept.exists():
            return self._checked(read_file(kept), kept), None
        data, seconds = self._make(slope)
        if kept is not None:
            write_atomically(kept, data)
        return bitstream.parse(data), seconds

    def _make(self, slope: float) -> tuple[bytes, float]:
        if self.curves is None:
            seen = [*_timed(adaptive.unlikeness(self.weights.model, self.photo, self.iterations))]
            self.looking_s, self.curves = seen[-1][0], np.stack([curve for _, curve in seen])
        counts, steps = adaptive.counts(self.curves, slope), adaptive.search_steps(self.search, slope)
        progression = Progression(self.weights, self.photo, self.bit_model, counts, steps)
        *_, (seconds, _) = _timed(progression.run(int(counts.max())))
        return progression.file(len(progression)), self.looking_s + seconds

    def _checked(self, file: bitstream.File, path: Path) -> bitstream.File:
        if file.left_over_bytes:
            raise bitstream.BitstreamError(f"{path} was cut, or something was added to it; remove it: it is made again")
        ours = bitstream.Header.of(self.weights, *self.photo.shape[:2], self.bit_model, adaptive=True)
        if file.header != ours:
            raise bitstream.BitstreamError(
                f"{path} was made with other weights than {self.weights.name}, or another model of their bits; remove "
                "it, or name another folder"
            )
        return file


def theirs(codecs: Iterable[str], path: Path) -> Iterator[dict]:
    """One row per opponent and quality (`Codec.points`) of one picture.

    Files that decode to the same pixels, as JPEGs with other Huffman tables do, are looked at once.
    """
    photo = images.load(path)
    known = {}
    for name in codecs:
        ladder = Ladder(photo, name)
        for quality in CODECS[name].points:
            rung = ladder[quality]
            pixels = hashlib.sha256(rung.photo).digest()
            if pixels not in known:
                known[pixels] = readings(rung)
            yield _row(path, name, quality, rung, known[pixels])


def readings(decoded: Decoded) -> dict:
    """The qualities of a row."""
    shift = metrics.colour_shift(decoded.original, decoded.photo)
    ssim = metrics.ssim(decoded.original, decoded.photo)
    moved = metrics.ms_ssim_moved(decoded.original, decoded.photo)
    values = (decoded.psnr_db, ssim, decoded.ms_ssim, moved, decoded.mean_abs_residual, *shift)
    return dict(zip(READINGS, values, strict=True))


def _timed(steps: Iterator) -> Iterator[tuple[float, object]]:
    """(seconds since the first step began, what it gave); the time between two steps is not counted."""
    passed = 0.0
    while True:
        started = time.process_time()
        try:
            value = next(steps)
        except StopIteration:
            return
        passed += time.process_time() - started
        yield passed, value


def _row(
    path: Path,
    codec: str,
    point: int,
    decoded: Decoded,
    qualities: dict,
    counted_bytes: int | None = None,
    encode_s: float | None = None,
    decode_s: float | None = None,
) -> dict:
    """A row of one file, see `COLUMNS`; `qualities` as `readings` gives them."""
    row = {"picture": path.name, "codec": codec, "point": point, "size_bytes": decoded.size_bytes}
    row |= {"raw_bytes": decoded.raw_bytes, "counted_bytes": counted_bytes, "bpp": decoded.bpp}
    row |= qualities | {"encode_s": encode_s, "decode_s": decode_s}
    return {key: round(value, 5) if isinstance(value, float) else value for key, value in row.items()}


def write(path: Path, rows: list[dict]) -> None:
    """Write rows as a CSV file."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())


def read(path: Path) -> list[dict]:
    """The rows of a CSV file that `write` made.

    Raises:
        InputError: it is damaged.
    """
    words = ("picture", "codec")
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = csv.DictReader(file)
            if not {*words} <= {*(lines.fieldnames or ())}:
                raise ValueError(f"it has no columns {' and '.join(words)}")
            rows = list(lines)
        if any(None in row.values() for row in rows):
            raise ValueError("a line is cut")
        return [
            {key: value if key in words else _number(value) if value else None for key, value in row.items()}
            for row in rows
        ]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(f"{path} is damaged ({error}); delete it, and it is made anew") from None


def _number(text: str) -> int | float:
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)  # "inf" is one: a PSNR of equal pictures


def our_identity(weights, bit_model) -> dict:
    """All that the rows of weights depend on, besides the pictures and what a file is asked to be."""
    return {
        "weights": weights.sha256,
        "bit_model": "" if bit_model is None else bit_model.fingerprint.hex(),
        "precision": "bfloat16" if machine.uses_bf16(weights.model) else "float32",
        "smooth": machine.SMOOTH,
        "readings": list(READINGS),
        "version": __version__,
    }


def their_identity(codec: str) -> dict:
    """All that an opponent's rows depend on, besides the pictures."""
    return {
        "label": CODECS[codec].label,
        "encoder": CODECS[codec].version,
        "settings": CODECS[codec].settings,
        "points": list(CODECS[codec].points),
        "readings": list(READINGS),
    }


def every(work: partial, paths: list[Path], kept: Path, identity: dict, *, jobs: int = 1) -> Iterator[list[dict]]:
    """The rows of one picture after the other, in the order of `paths`, several pictures at a time.

    Args:
        work: `partial(ours, weights, iterations=...)` or `partial(theirs, codecs)`; called with a path.
        paths: the pictures.
        kept: a file for what is done; the next call with the same `identity` goes on from there. The caller may
            remove it when the rows are safe.
        identity: all that the rows depend on, besides the pictures; its "precision", if any, holds for all processes.
        jobs: processes, with one thread each: two of them do more than one with two threads.
    """
    done = _kept_rows(kept, identity)
    lines = [identity, *({"picture": digest, "rows": rows} for digest, rows in done.items())]
    write_atomically(kept, "".join(json.dumps(line) + "\n" for line in lines).encode())
    digests = {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    missing = [path for path in paths if digests[path] not in done]
    with open(kept, "a", encoding="utf-8") as file:
        fresh = _measured(work, missing, jobs, bf16=identity.get("precision") == "bfloat16")
        for path in paths:
            if path in missing:
                rows = done[digests[path]] = next(fresh)
                file.write(json.dumps({"picture": digests[path], "rows": rows}) + "\n")
                file.flush()
            yield [row | {"picture": path.name} for row in done[digests[path]]]


def _kept_rows(kept: Path, identity: dict) -> dict[str, list[dict]]:
    """The rows that an earlier call left, by the picture's SHA-256; none if they depend on something else."""
    try:
        first, *lines = kept.read_text(encoding="utf-8").splitlines()
        if json.loads(first) != json.loads(json.dumps(identity)):
            return {}
    except (OSError, ValueError):
        return {}
    done = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:  # it was being written when the power went
            break
        done[entry["picture"]] = entry["rows"]
    return done


def _measured(work: partial, paths: list[Path], jobs: int, *, bf16: bool) -> Iterator[list[dict]]:
    if jobs == 1 or not paths:
        yield from (list(work(path)) for path in paths)
        return
    pickled = pickle.dumps(work)  # or multiprocessing would put weights into shared memory, of which some have little
    with multiprocessing.get_context("spawn").Pool(jobs, _begin, [bf16]) as pool:
        yield from pool.imap(partial(_work, pickled), paths)


def _begin(bf16: bool):
    """One thread in each process, and one decision on bfloat16 for all of them."""
    import torch

    torch.set_num_threads(1)
    os.environ[machine.BF16_VARIABLE] = str(int(bf16))


def _work(pickled: bytes, path: Path) -> list[dict]:
    return list(pickle.loads(pickled)(path))
