"""JPEG, WebP and AVIF beside us: the same photo at the same bytes or the same quality. Fair: each may take its time.

Every file here is what Pillow writes, without metadata, and its size is that of the file. The JPEG that the kit
compares with (libjpeg-turbo) is baseline, 4:2:0, with Huffman tables optimised for the photo and the standard's
quantisation tables; its kin, with other tables of either kind or with colour at full size, show what difference that
makes. WebP (libwebp) is lossy, by the slowest and best
method; AVIF (libavif) is 4:2:0, at a speed where slower ones gain little. A grey photo is written without colour.
"""

import io
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from rgru_lab import images
from rgru_lab.config import InputError
from rgru_lab.progression import Decoded


class Codec(NamedTuple):
    """A way to write photos.

    Attributes:
        label: what people call it.
        settings: what Pillow is told. A quantisation table among them ("qtables", 64 steps row by row, for brightness
            and colour alike) is that of quality 50.
        qualities: which there are.
        points: those that a set of pictures is measured at.
        max_side: pixels of the longest side it can hold.
        encoder: Pillow's name for the library that does the work.
    """

    label: str
    settings: dict
    qualities: range
    points: tuple[int, ...]
    max_side: int
    encoder: str

    def told(self, quality: int) -> dict:
        """What Pillow is told for a file of this quality."""
        if "qtables" not in self.settings:
            return {"quality": quality, **self.settings}
        factor = 50 / quality if quality < 50 else 2 - quality / 50  # libjpeg's own way from quality to steps
        return self.settings | {"qtables": 2 * [scaled(self.settings["qtables"], factor)]}

    @property
    def version(self) -> str:
        """The encoder and its version, such as "libjpeg_turbo 3.2.0"; "libjpeg" where Pillow has another one."""
        from PIL import features

        return f"{self.encoder} {features.version(self.encoder)}" if features.check(self.encoder) else "libjpeg"


def _jpeg(label: str, **settings) -> Codec:
    points = (1, 2, 3, 5, 6, 7, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60, 70, 80, 90, 95)
    return Codec(label, {"format": "JPEG", **settings}, range(1, 101), points, 65_500, "libjpeg_turbo")


MOZJPEG_TABLE = [
    *(16, 16, 16, 18, 25, 37, 56, 85),
    *(16, 17, 20, 27, 34, 40, 53, 75),
    *(16, 20, 24, 31, 43, 62, 91, 135),
    *(18, 27, 31, 40, 53, 74, 106, 156),
    *(25, 34, 43, 53, 69, 94, 131, 189),
    *(37, 40, 62, 74, 94, 124, 169, 238),
    *(56, 53, 91, 106, 131, 169, 226, 311),
    *(85, 75, 135, 156, 189, 238, 311, 418),
]
"""The quantisation table that mozjpeg takes if it is told nothing else, by Nicolas Robidoux. (What else mozjpeg does,
its trellis and its scans, Pillow's libjpeg-turbo does not: mozjpeg's own files are smaller still.)"""

CODECS = {
    "jpeg": _jpeg("JPEG", optimize=True, subsampling="4:2:0"),
    "jpeg-default": _jpeg("JPEG, tables as they come", subsampling="4:2:0"),
    "jpeg-progressive": _jpeg("JPEG, progressive", optimize=True, progressive=True, subsampling="4:2:0"),
    "jpeg-mozjpeg-table": _jpeg("JPEG, mozjpeg's table", optimize=True, subsampling="4:2:0", qtables=MOZJPEG_TABLE),
    "jpeg-444": _jpeg("JPEG 4:4:4", optimize=True, subsampling="4:4:4"),
    "jpeg-444-default": _jpeg("JPEG 4:4:4, tables as they come", subsampling="4:4:4"),
    "jpeg-444-progressive": _jpeg("JPEG 4:4:4, progressive", optimize=True, progressive=True, subsampling="4:4:4"),
    "webp": Codec(
        "WebP",
        {"format": "WEBP", "method": 6},
        range(101),
        (0, 1, 2, 5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 85, 90, 95),
        16_383,
        "webp",
    ),
    "avif": Codec(
        "AVIF",
        {"format": "AVIF", "speed": 4, "subsampling": "4:2:0", "max_threads": 1},
        range(1, 101),
        (1, 5, 7, 9, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55, 60, 65, 70, 80, 90),
        65_536,
        "avif",
    ),
}

JPEG_SETTINGS = CODECS["jpeg"].settings
RIPPLE = 3
"""How many neighbours are tried too, because neither size nor quality rises with every single step."""

SPREAD = 20
"""A photograph's best file is more than so many times as large as its smallest. Where it is not, the picture is a
drawing, flat, or tiny, and sizes go up and down with the quality: they have to be tried one by one."""

TRIED_PIXELS = 100_000
"""Up to so many pixels every quality of such a picture is tried, and over it those of `Codec.points`."""


def scaled(table: Iterable[int], factor: float) -> list[int]:
    """A JPEG's quantisation table times a factor, its steps from 1 to 255."""
    return [min(255, max(1, round(factor * step))) for step in table]


def check_codec(codec: str) -> None:
    """Raise an `InputError` if there is no such codec, or if this Pillow was built without it."""
    from PIL import features

    if codec not in CODECS:
        raise InputError(f"there is no codec {codec!r} to compare with; choose from {', '.join(CODECS)}")
    if not features.check(CODECS[codec].encoder) and CODECS[codec].encoder != "libjpeg_turbo":
        raise InputError(f"this Pillow was built without {CODECS[codec].label}; pip install --upgrade pillow")


class Rung(Decoded):
    """One file of a photo: `codec` ("jpeg"), `quality`, `data` (the file), and all readings of `Decoded`."""

    def __init__(self, original: np.ndarray, codec: str, quality: int):
        from PIL import Image

        buffer = io.BytesIO()
        grey = (original[:, :, :1] == original).all()
        Image.fromarray(original[:, :, 0] if grey else original).save(buffer, **CODECS[codec].told(quality))
        self.original = original
        self.codec = codec
        self.quality = quality
        self.data = buffer.getvalue()
        self.size_bytes = len(self.data)

    @property
    def label(self) -> str:
        """What people call the codec."""
        return CODECS[self.codec].label

    @cached_property
    def photo(self) -> np.ndarray:
        return images.load(self.data)


class Ladder:
    """The files that one codec makes of a photo, one per quality; each is encoded when first asked for.

    Args:
        photo: (H, W, 3) uint8.
        codec: a key of `CODECS`.

    Raises:
        PictureError: it is no photo, or too long for the codec.
        InputError: there is no such codec, or not in this Pillow.
    """

    def __init__(self, photo: np.ndarray, codec: str = "jpeg"):
        check_codec(codec)
        self.original = images.check_photo(photo)
        self.codec = codec
        self._qualities = CODECS[codec].qualities
        self._rungs: dict[int, Rung] = {}
        if max(photo.shape[:2]) > CODECS[codec].max_side:
            raise images.PictureError(
                f"the photo is {photo.shape[1]} x {photo.shape[0]} px, but {self.label} holds sides up to "
                f"{CODECS[codec].max_side}; scale it down, or compare without {self.label}"
            )

    @property
    def label(self) -> str:
        """What people call the codec."""
        return CODECS[self.codec].label

    def __getitem__(self, quality: int) -> Rung:
        if quality not in self._rungs:
            if quality not in self._qualities:
                raise IndexError(f"{self.label} has no quality {quality}; {self._qualities[0]} to 100 are")
            self._rungs[quality] = Rung(self.original, self.codec, quality)
        return self._rungs[quality]

    @property
    def rungs(self) -> list[Rung]:
        """One file per quality, in rising order (768 x 512: JPEG a second, WebP twenty, AVIF minutes)."""
        return [self[quality] for quality in self._qualities]

    @property
    def smallest(self) -> Rung:
        """The smallest file that the codec can make of this photo; of a drawing the smallest of those tried."""
        candidates = (*self._one_by_one, *(self[quality] for quality in self._qualities[:RIPPLE]))
        return min(candidates, key=lambda rung: rung.size_bytes)

    @property
    def _one_by_one(self) -> list[Rung]:
        """The files to try of a picture whose sizes do not rise with the quality; of a photograph none."""
        if self.best.size_bytes > SPREAD * self[self._qualities[0]].size_bytes:
            return []
        few = self.original.shape[0] * self.original.shape[1] <= TRIED_PIXELS
        return [self[quality] for quality in (self._qualities if few else CODECS[self.codec].points)]

    @property
    def best(self) -> Rung:
        """The file of the highest quality."""
        return self[self._qualities[-1]]

    def fitting(self, size_bytes: int) -> Rung | None:
        """The file of the largest quality that is not larger than this; None if even the smallest is.

        Of a photograph the size rises with the quality but for ripples; it is found by halving, about ten files are
        encoded. Of a drawing (see `SPREAD`) it is the best of those tried, which over `TRIED_PIXELS` are not all.
        """
        above = bisect_right(self._qualities, size_bytes, key=lambda quality: self[quality].size_bytes)
        tried = [self[quality] for quality in self._qualities[max(0, above - 1) : above + RIPPLE]]
        fits = [rung for rung in (*tried, *self._one_by_one, self.smallest) if rung.size_bytes <= size_bytes]
        return max(fits, key=lambda rung: rung.quality, default=None)

    def reaching(self, level: float, by: str = "ms_ssim") -> Rung | None:
        """The file of the least quality whose reading is at least this; None if no quality gets there.

        Of a photograph it is found by halving, then the three qualities below are tried too: about ten measurements
        instead of 100. The reading rises with the quality but for ripples, so a still lower quality may, in rare cases,
        reach as far. Of a drawing (see `SPREAD`) it is the smallest file of those tried that reach it.

        Args:
            level: what to reach.
            by: "ms_ssim", or "psnr_db" for photos that are too small for MS-SSIM.
        """

        def read(quality: int) -> float:
            return getattr(self[quality], by)

        place = bisect_left(self._qualities, level, key=read)
        tried = self._qualities[max(0, place - RIPPLE) : place + 1]
        found = next((quality for quality in tried if read(quality) >= level), None)
        while found is not None and found - 1 in self._qualities and read(found - 1) >= level:
            found -= 1
        smaller = [rung for rung in self._one_by_one if found is None or rung.size_bytes < self[found].size_bytes]
        for rung in sorted(smaller, key=lambda rung: rung.size_bytes):
            if getattr(rung, by) >= level:
                return rung
            vars(rung).pop("photo", None)  # decoded to be read; a hundred of them would fill the memory
        return None if found is None else self[found]


def jpeg_between(photo: np.ndarray, ms_ssim: float) -> Decoded:
    """The kit's JPEG of a colour photo at an MS-SSIM, as near as tables go: low qualities are far apart.

    A quality q up to 50 is the standard's two tables times 50 / q; here the factor may be any from 1 to 50, so what
    quality 50 does not reach, this does not either.
    """
    from PIL import Image

    with Image.open(io.BytesIO(Ladder(photo)[50].data)) as picture:
        tables = list(picture.quantization.values())

    def written(factor: float) -> Decoded:
        buffer = io.BytesIO()
        steps = [scaled(table, factor) for table in tables]
        Image.fromarray(photo).save(buffer, qtables=steps, **JPEG_SETTINGS)
        return Decoded(photo, images.load(buffer.getvalue()), buffer.tell())

    factors = np.geomspace(50, 1, 256)
    tried = {}

    def read(k: int) -> float:
        tried[k] = written(factors[k])
        return tried[k].ms_ssim

    bisect_left(range(len(factors)), ms_ssim, key=read)
    return min(tried.values(), key=lambda jpeg: abs(jpeg.ms_ssim - ms_ssim))
