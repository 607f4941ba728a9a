"""Bits that a codec makes of photographs, for a model of the bits to learn from and to be validated on.

A codec's first two iterations have by far most to gain, and cost least to make: of every ten crops eight go through
two iterations, one through four and one through all sixteen.
"""

import io
import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rgru_lab import codec, images
from rgru_lab.config import MAX_ITERATIONS, TrainingError
from rgru_lab.files import write_atomically
from rgru_lab.losses import Similarity, good_enough
from rgru_lab.model import ResidualCoder, Weights

DEPTHS = (2, 2, 2, 4, 2, 2, 2, 2, 2, 16)
"""Iterations of one crop after the other."""

CROP = 256
"""Side of the crops in pixels: 16 x 16 positions."""

VALIDATION_PICTURES, VALIDATION_SIDE = 8, 512
"""How many pictures are validated on, and how much of each: the middle."""


def collect(
    model: ResidualCoder,
    paths: Sequence[Path],
    *,
    seconds: float,
    seed: int = 0,
    adaptive: float = 0.0,
) -> Iterator[np.ndarray]:
    """Bits of random crops, (N, K, 16, 16) int8 with N from `DEPTHS`, for so many seconds; at least one of each depth.

    Pictures that are small or cannot be read are passed over. In a share `adaptive` of the crops positions stop sending
    once they are good enough, as in training; their bits are 0 from then on.

    Raises:
        TrainingError: no picture is left, or the share is not from 0 to 1.
    """
    if not 0 <= adaptive <= 1:
        raise TrainingError(f"adaptive is {adaptive}; choose 0 (off) to 1 (all crops)")
    draw, count, started = random.Random(seed), 0, time.perf_counter()
    paths = list(paths)
    while paths and (count < len(DEPTHS) or time.perf_counter() - started < seconds):
        path = draw.choice(paths)
        try:
            photo = images.load(path)
        except images.PictureError:
            photo = np.zeros((0, 0, 3), np.uint8)
        if min(photo.shape[:2]) < CROP:
            paths.remove(path)
            continue
        top, left = (draw.randrange(side - CROP + 1) for side in photo.shape[:2])
        crop, enough = photo[top : top + CROP, left : left + CROP], None
        if adaptive and draw.random() < adaptive:
            enough = good_enough(torch.tensor(draw.random()))
        yield codes_of(model, crop, DEPTHS[count % len(DEPTHS)], enough)
        count += 1
    if not paths:
        raise TrainingError(f"none of the pictures can be read and has {CROP} px on both sides; give larger ones")


def split(folder: str | os.PathLike, names: frozenset[str]) -> tuple[list[Path], list[Path]]:
    """Paths of the pictures in a folder and its sub-folders to learn from, and of at most eight to validate on.

    Args:
        folder: where to look.
        names: file names of those to validate on; where a folder has none of them, a few others are set aside.

    Raises:
        PictureError: there is no such folder.
        TrainingError: there are not even two pictures in it, or only some to validate on.
    """
    paths = images.paths_in(folder)
    if len(paths) < 2:
        raise TrainingError(f"{folder} holds {len(paths)} pictures; give a folder with at least two")
    aside = [path for path in paths if path.name in names]
    aside = aside or paths[:: max(2, -(-len(paths) // VALIDATION_PICTURES))]
    apart = [path for path in paths if path not in set(aside) and path.name not in names]
    if not apart:
        raise TrainingError(f"all pictures in {folder} are kept to validate on; add others to learn from")
    return apart, aside[:: -(-len(aside) // VALIDATION_PICTURES)]


def validation_codes(model: ResidualCoder, path: Path) -> np.ndarray:
    """All sixteen iterations' bits of the middle of a picture, at most 512 x 512 px."""
    photo = images.load(path)
    top, left = (max(0, (side - VALIDATION_SIDE) // 2) for side in photo.shape[:2])
    return codes_of(model, photo[top : top + VALIDATION_SIDE, left : left + VALIDATION_SIDE], MAX_ITERATIONS)


def save_codes(folder: Path, weights: Weights, codes: Sequence[np.ndarray], made: dict):
    """Keep what `collect` gave in `codes.npz`, so that a training can be resumed; `made` says with what it was made."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, *codes, fingerprint=np.frombuffer(weights.fingerprint, np.uint8), made=json.dumps(made))
    write_atomically(folder / "codes.npz", buffer.getvalue())


def load_codes(folder: Path, weights: Weights, made: dict) -> list[np.ndarray]:
    """What `save_codes` kept; nothing if there is nothing.

    Raises:
        TrainingError: the bits are of another codec, or were made with something else.
    """
    path = folder / "codes.npz"
    if not path.exists():
        return []
    with np.load(path) as kept:
        if kept["fingerprint"].tobytes() != weights.fingerprint:
            raise TrainingError(f"{path} holds bits of another codec than {weights.name}; choose another --output")
        before = json.loads(str(kept["made"]))
        if before != made:
            said = ", ".join(f"{name} {value}" for name, value in before.items())
            raise TrainingError(f"{path} was made with {said}; say the same again, or choose another --output")
        return [kept[name] for name in kept.files if name.startswith("arr_")]


def codes_of(model: ResidualCoder, photo: np.ndarray, iterations: int, enough: Tensor | None = None) -> np.ndarray:
    """B[1] .. B[N] of a photo, (N, K, h, w) int8; 0 where a position's unlikeness was `enough` before."""
    sending, planes = codec.Sending(model), []
    similarity = Similarity(images.centred(photo)) if enough is not None else None
    for plane, frame in codec.encode(sending, photo, iterations):
        planes.append(plane)
        if enough is not None:
            sending.stop(similarity.local_unlikeness(images.centred(frame)) <= enough)
    return np.stack(planes)
