"""JPEG beside us: the same photo at the same bytes, or at the same quality. Fair: it may optimise its tables.

Every JPEG here is what Pillow (libjpeg-turbo) writes with 4:2:0 chroma and `optimize=True`, baseline, without
metadata; its size is that of the file.
"""

import io
from bisect import bisect_left
from functools import cached_property

import numpy as np

from rgru_lab import images
from rgru_lab.progression import Decoded

JPEG_SETTINGS = {"format": "JPEG", "optimize": True, "subsampling": "4:2:0"}
QUALITIES = range(1, 101)
PROBES = (1, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100)


class Jpeg(Decoded):
    """One JPEG of a photo: `quality` (1 to 100), `data` (the file), and all readings of `Decoded`."""

    def __init__(self, original: np.ndarray, quality: int, data: bytes):
        self.original = original
        self.quality = quality
        self.data = data
        self.size_bytes = len(data)

    @cached_property
    def photo(self) -> np.ndarray:
        return images.load(self.data)


class JpegLadder:
    """The JPEGs of one photo at all qualities, encoded once (about a second for 768 x 512).

    Args:
        photo: (H, W, 3) uint8.
    """

    def __init__(self, photo: np.ndarray):
        self.original = images.check_photo(photo)

    @cached_property
    def rungs(self) -> list[Jpeg]:
        """One JPEG per quality, in rising order."""
        return [Jpeg(self.original, quality, _encode(self.original, quality)) for quality in QUALITIES]

    @property
    def smallest(self) -> Jpeg:
        """The smallest file that JPEG can make of this photo."""
        return min(self.rungs, key=lambda rung: rung.size_bytes)

    def fitting(self, size_bytes: int) -> Jpeg | None:
        """The JPEG of the largest quality whose file is not larger than this; None if even the smallest is."""
        return next((rung for rung in reversed(self.rungs) if rung.size_bytes <= size_bytes), None)

    def reaching(self, ms_ssim: float) -> Jpeg | None:
        """The JPEG of the least quality whose MS-SSIM is at least this; None if no quality gets there.

        MS-SSIM is measured on thirteen rungs, then on a few more found by halving between two of them, then on the
        three below: about 20 measurements instead of 100. It rises with the quality but for ripples, so on a small
        photo a still lower quality may, in rare cases, reach as far.
        """
        rungs = {rung.quality: rung for rung in self.rungs}
        probe = next((q for q in PROBES if rungs[q].ms_ssim >= ms_ssim), None)
        if probe is None:
            return None
        below = max((q for q in PROBES if q < probe), default=0)
        between = range(below + 1, probe + 1)
        found = between[bisect_left(between, ms_ssim, key=lambda q: rungs[q].ms_ssim)]
        neighbours = range(max(1, found - 3), found)
        return rungs[next((q for q in neighbours if rungs[q].ms_ssim >= ms_ssim), found)]


def _encode(photo: np.ndarray, quality: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(photo).save(buffer, quality=quality, **JPEG_SETTINGS)
    return buffer.getvalue()
