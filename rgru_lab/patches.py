"""What training looks at: photographs in the device's memory, and square patches cut from them there."""

import io
import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from rgru_lab import images
from rgru_lab.config import MIDPOINT, InputError

FOLDER_LIMIT_BYTES = 3_000_000_000

NAMED = 3
"""Of the pictures that cannot be read, so many are named."""


class PatchesError(InputError):
    """There is nothing to train on; the message says why."""


class Found(NamedTuple):
    """The pictures of a folder, and what of it was not taken."""

    photos: list[np.ndarray]
    unreadable: list[str]
    """Their names."""
    left_out: int
    beyond_limit: int

    def __str__(self) -> str:
        said = [f"{len(self.photos)} pictures"]
        said += [f"{self.left_out} kept for validation"] if self.left_out else []
        names = ", ".join(self.unreadable[:NAMED]) + (", …" if self.unreadable[NAMED:] else "")
        said += [f"{len(self.unreadable)} unreadable ({names})"] if self.unreadable else []
        said += [f"{self.beyond_limit} beyond {FOLDER_LIMIT_BYTES / 1e9:.0f} GB"] if self.beyond_limit else []
        return ", ".join(said)


def pictures_in(
    folder: str | os.PathLike, *, leave_out: frozenset[str] = frozenset(), progress: Callable = iter
) -> Found:
    """All pictures of a folder and its sub-folders as photos, in the order of their names, up to 3 GB of pixels.

    Args:
        folder: where to look.
        leave_out: file names to skip, the validation photographs for one.
        progress: wraps the list of paths, tqdm for one.

    Raises:
        PictureError: there is no such folder.
        PatchesError: there is no readable picture in it.
    """
    paths = images.paths_in(folder)
    wanted = [path for path in paths if path.name not in leave_out]
    photos, size_bytes, unreadable = [], 0, []
    for path in progress(wanted):
        try:
            photo = images.load(path)
        except images.PictureError:
            unreadable.append(path.name)  # one damaged file among thousands must not stop a training
            continue
        size_bytes += photo.nbytes
        if size_bytes > FOLDER_LIMIT_BYTES:
            break
        photos.append(photo)
    if paths and not wanted:
        raise PatchesError(f"all pictures in {folder} are kept to validate on (data/validation.txt); add others")
    if not photos:
        raise PatchesError(f"{folder} holds no readable picture ({', '.join(images.SUFFIXES)}); give another folder")
    return Found(photos, unreadable, len(paths) - len(wanted), len(wanted) - len(unreadable) - len(photos))


class Patches:
    """Random square patches, half of them mirrored.

    All pixels lie one after the other in one uint8 tensor on the device; a batch of patches is one look-up in it, so
    that nothing has to be loaded or moved while training goes on.

    Args:
        pictures: photos (H, W, 3) uint8.
        seed: of the choice; the generator's state is part of a checkpoint.
        hard: the share of the places in each picture that patches are cut from: of its tiles, those that PNG compresses
            worst. 1: every pixel may be a patch's corner. The paper's "high entropy" set keeps 0.11.
        device: where the pixels lie.
    """

    def __init__(self, pictures: list[np.ndarray], *, seed: int, hard: float = 1.0, device: str = "cpu"):
        self.sizes = torch.tensor([picture.shape[:2] for picture in pictures])
        counts = self.sizes.prod(1)
        self.starts = counts.cumsum(0) - counts
        self.pixels = torch.empty(int(counts.sum()), 3, dtype=torch.uint8, device=device)
        for start, count, picture in zip(self.starts.tolist(), counts.tolist(), pictures, strict=True):
            self.pixels[start : start + count] = torch.from_numpy(picture.reshape(-1, 3))
        self.hard = hard
        self.generator = torch.Generator().manual_seed(seed)
        self._places = {}

    def __len__(self) -> int:
        """How many pictures there are."""
        return len(self.sizes)

    def draw(self, size: int, count: int) -> Tensor:
        """(count, 3, size, size) float32 in [-0.5, 0.5] on the device, in the memory format channels_last.

        Raises:
            PatchesError: no picture is as large as a patch.
        """
        place, down, right, mirror = torch.rand(4, count, dtype=torch.float64, generator=self.generator)
        if self.hard < 1:
            chosen = self._hard_places(size)
            picture, top, left = chosen[(place * len(chosen)).long()].T
        else:
            large = self._large(size)
            picture = large[(place * len(large)).long()]
            top, left = ((torch.stack([down, right], 1) * (self.sizes[picture] - size + 1)).long()).T
        width = self.sizes[picture, 1]
        corner = self.starts[picture] + top * width + left
        # What is left is work for the device: the index of every single pixel.
        corner, width, mirrored = torch.stack([corner, width, (mirror < 0.5).long()]).to(self.pixels.device)
        along = torch.arange(size, device=self.pixels.device)
        columns = torch.where(mirrored[:, None] > 0, along.flip(0), along)
        rows = along * width[:, None]
        index = corner[:, None, None] + rows[:, :, None] + columns[:, None, :]
        patches = self.pixels[index]  # (count, size, size, 3)
        return patches.permute(0, 3, 1, 2).float() / 255 - MIDPOINT

    def _large(self, size: int) -> Tensor:
        large = (self.sizes.amin(1) >= size).nonzero()[:, 0]
        if not len(large):
            raise PatchesError(f"none of the {len(self)} pictures has {size} px on both sides; use larger ones")
        return large

    def _hard_places(self, size: int) -> Tensor:
        """(n, 3): picture, top and left of each picture's tiles that PNG compresses worst."""
        if size not in self._places:
            places = []
            for picture in self._large(size).tolist():
                height, width = self.sizes[picture].tolist()
                start = int(self.starts[picture])
                photo = self.pixels[start : start + height * width].view(height, width, 3).cpu().numpy()
                corners = [
                    (top, left)
                    for top in range(0, height - size + 1, size)
                    for left in range(0, width - size + 1, size)
                ]
                corners.sort(key=lambda at: png_bytes(photo[at[0] : at[0] + size, at[1] : at[1] + size]), reverse=True)
                places += [(picture, *corner) for corner in corners[: max(1, round(self.hard * len(corners)))]]
            self._places[size] = torch.tensor(places)
        return self._places[size]


def png_bytes(tile: np.ndarray) -> int:
    """What PNG makes of a tile (H, W, 3) uint8: the more bytes, the harder it is."""
    buffer = io.BytesIO()
    Image.fromarray(tile).save(buffer, "png", compress_level=6)
    return buffer.tell()
