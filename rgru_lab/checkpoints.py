"""A training's state on disk, so that a kill at any moment leaves the last one whole.

A checkpoint is one file, or parts of a stated size for places that take no large files: `checkpoint-STEP-1of3.pt` and
so on. It counts once all of its parts are there, and only then is every other one deleted. It ends with its CRC-32.
"""

import io
import os
import re
import zlib
from collections import defaultdict
from pathlib import Path

import torch

from rgru_lab.config import InputError
from rgru_lab.files import write_atomically

NAME = re.compile(r"checkpoint-(\d+)-(\d+)of(\d+)\.pt")
UNFINISHED = re.compile(r"\.[0-9a-f]{16}\.part")


class CheckpointError(InputError):
    """There is no checkpoint to go on from, or it is damaged; the message says what to do."""


def write(folder: str | os.PathLike, state: dict, step: int, *, part_bytes: int | None = None):
    """Write a state, then delete all others, and what kills left of any.

    Args:
        folder: an existing folder.
        state: tensors and plain values.
        step: names the checkpoint; the highest is the newest.
        part_bytes: size of the parts; None: one file.

    Raises:
        InputError: it cannot be written, for want of room perhaps. The former checkpoint is whole.
    """
    folder = Path(folder)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.write(zlib.crc32(buffer.getbuffer()).to_bytes(4, "little"))
    data = buffer.getbuffer()
    part_bytes = part_bytes or len(data)
    count = -(-len(data) // part_bytes)
    paths = [folder / f"checkpoint-{step:08}-{k + 1}of{count}.pt" for k in range(count)]
    for k, path in enumerate(paths):
        write_atomically(path, data[k * part_bytes : (k + 1) * part_bytes])
    for path in set(folder.iterdir()) - set(paths):
        if NAME.fullmatch(path.name) or UNFINISHED.fullmatch(path.name):
            path.unlink()


def exists(folder: str | os.PathLike) -> bool:
    """Whether there is a whole checkpoint in a folder."""
    return last_step(folder) is not None


def last_step(folder: str | os.PathLike) -> int | None:
    """The step of the newest whole checkpoint of a folder; None if there is none."""
    return max(_whole(Path(folder)), default=None)


def read(folder: str | os.PathLike) -> dict:
    """The newest whole checkpoint of a folder.

    Raises:
        CheckpointError: there is none, or it is damaged.
    """
    whole = _whole(Path(folder))
    if not whole:
        raise CheckpointError(f"there is no checkpoint in {folder} to resume from; leave out --resume to start anew")
    paths = whole[max(whole)]
    data = memoryview(b"".join(path.read_bytes() for path in paths))
    if len(data) <= 4 or zlib.crc32(data[:-4]) != int.from_bytes(data[-4:], "little"):
        raise CheckpointError(f"{paths[0]} is damaged; delete it, or choose another --output")
    try:
        return torch.load(io.BytesIO(data[:-4]), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch says in many ways that bytes are not what it wrote
        raise CheckpointError(
            f"{paths[0]} cannot be read ({type(error).__name__}); choose another --output, or delete it to start anew"
        ) from None


def _whole(folder: Path) -> dict[int, list[Path]]:
    """Step to the parts in order, for every checkpoint of which no part is missing."""
    found = defaultdict(dict)
    for path in folder.glob("checkpoint-*.pt"):
        if match := NAME.fullmatch(path.name):
            step, k, count = map(int, match.groups())
            found[step, count][k] = path
    return {step: [parts[k] for k in sorted(parts)] for (step, count), parts in found.items() if len(parts) == count}
