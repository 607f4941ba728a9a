"""A photo's way through codec and file: for every iteration the picture, its real bytes and its quality.

Everything that shows or measures takes a `Progression`. It holds ours alone; JPEG stands beside it in `opponents`.
"""

import os
from collections.abc import Iterator
from functools import cached_property
from typing import Literal

import numpy as np

from rgru_lab import bitnet, bitstream, codec, images, metrics, model
from rgru_lab.bitmodel import BitModel
from rgru_lab.files import read_bytes
from rgru_lab.search import Searching, check_steps


class Decoded:
    """A photo that came out of a file, beside the original. The readings are computed when first asked for.

    Attributes:
        original: I, (H, W, 3) uint8.
        photo: what the file decodes to, (H, W, 3) uint8.
        size_bytes: of the file, header and all.
        raw_bytes: what the file would take if its bits were stored as they are; None for other codecs.
    """

    raw_bytes: int | None = None

    def __init__(self, original: np.ndarray, photo: np.ndarray, size_bytes: int, raw_bytes: int | None = None):
        self.original = original
        self.photo = photo
        self.size_bytes = size_bytes
        self.raw_bytes = raw_bytes

    @property
    def bpp(self) -> float:
        """Bits per pixel."""
        return metrics.bits_per_pixel(self.size_bytes, self.original)

    @cached_property
    def psnr_db(self) -> float:
        """Peak signal-to-noise ratio in decibels."""
        return metrics.psnr_db(self.original, self.photo)

    @cached_property
    def ms_ssim(self) -> float | None:
        """MS-SSIM, 0 to 1; None where a side is 160 px or less and there is none."""
        return metrics.ms_ssim(self.original, self.photo) if metrics.has_ms_ssim(self.original) else None

    @cached_property
    def mean_abs_residual(self) -> float:
        """Mean |R| in 8-bit levels."""
        return metrics.mean_abs_residual(self.original, self.photo)

    @property
    def residual(self) -> np.ndarray:
        """R = I - P, (H, W, 3) int16, -255 to 255."""
        return self.original.astype(np.int16) - self.photo


class Progression:
    """P[1], P[2], ... of one photo, each as the file cut after that iteration decodes to.

    Args:
        weights: a loaded `model.Weights`.
        photo: I, (H, W, 3) uint8.
        bit_model: gives the bits their probabilities; the one that `bitnet.find` has for the weights if left out,
            and None for a file whose bits are stored as they are.
        counts: (h, w), the number of iterations that each position sends, for an adaptive file; None: all send all.
            See `adaptive`.
        search: so many steps the encoder takes to find better bits, see `search`; 0: none.

    Raises:
        InputError: the photo is none, or the steps are out of range.

    Example:
        progression = Progression(model.load("small"), images.load("photo.jpg"))
        for i, decoded in progression.run(8):
            print(i, decoded.size_bytes, decoded.psnr_db)
        progression.file(3)  # the bytes of the .rgru file with three iterations
    """

    def __init__(
        self,
        weights,
        photo: np.ndarray,
        bit_model: BitModel | Literal["find"] | None = "find",
        counts: np.ndarray | None = None,
        search: int = 0,
    ):
        height, width = images.check_photo(photo).shape[:2]
        self.weights = weights
        self.original = photo
        self.decoded: list[Decoded] = []
        self.bit_model = bitnet.asked_for(weights, bit_model)
        self.counts = counts
        self.search = search and check_steps(search)
        self._header = bitstream.Header.of(weights, height, width, self.bit_model, counts is not None).pack()
        self._segments: list[bytes] = []

    def run(self, iterations: int) -> Iterator[tuple[int, Decoded]]:
        """Compute iterations 1..N, yielding (i, decoded) after each; a caller may stop at any of them.

        With counts it ends with their largest: after that nothing is left to send.
        """
        iterations = self.at_most(iterations)
        coder = self.weights.model
        if self.search:
            coder = Searching(coder, self.search, self.bit_model, self.counts)
        steps = codec.encode(coder, self.original, iterations, self.counts)
        self.decoded, self._segments = [], []
        planes = []
        for i, (plane, frame) in enumerate(steps, start=1):
            self._segments.append(bitstream.write_segment(self._header, i, plane, planes, self.bit_model))
            planes.append(plane)
            file = bitstream.parse(self.file(i))
            self.decoded.append(Decoded(self.original, frame, file.ends_bytes[-1], file.raw_bytes[-1]))
            yield i, self.decoded[-1]

    def at_most(self, iterations: int) -> int:
        """So many iterations, or fewer where counts say that nothing is sent after them."""
        return iterations if self.counts is None else min(iterations, int(self.counts.max()))

    def __len__(self) -> int:
        return len(self.decoded)

    def __getitem__(self, i: int) -> Decoded:
        """Iteration i, from 1."""
        if not 1 <= i <= len(self):
            raise IndexError(f"iteration {i} is not there; 1 to {len(self)} are")
        return self.decoded[i - 1]

    def file(self, i: int) -> bytes:
        """The bytes of the `.rgru` file cut after iteration i, from 1."""
        if not 1 <= i <= len(self._segments):
            raise IndexError(f"iteration {i} is not there; 1 to {len(self._segments)} are")
        return self._header + b"".join(self._segments[:i])


def read(source: str | os.PathLike | bytes, limit: int | None = None) -> bitstream.File:
    """Read and check a `.rgru` file, or the first `limit` iterations of it.

    Args:
        source: a path, or the bytes of a file.
        limit: how many iterations to look at; damage after them is not noticed.

    Raises:
        BitstreamError: it is missing, cannot be read, or is damaged.
    """
    if isinstance(source, bytes):
        return bitstream.parse(source, limit)
    try:
        data = read_bytes(source)
    except (OSError, ValueError) as error:
        raise bitstream.BitstreamError(
            f"cannot read {str(source)!r} ({error.strerror or error}); check the path"
        ) from None
    try:
        return bitstream.parse(data, limit)
    except bitstream.BitstreamError as error:
        error.args = (f"{source}: {error}",)
        raise


def decode(file: bitstream.File, iterations: int, model_name: str | None = None) -> Iterator[np.ndarray]:
    """P[1], P[2], ... of a parsed file, (H, W, 3) uint8.

    Args:
        file: from `read` or `bitstream.parse`.
        iterations: how many to decode, at most those in the file.
        model_name: weights to use instead of those that the file names; they must be the same ones.

    Raises:
        WeightsError: the weights are not here, or others than the file needs.
        BitstreamError: the learned model of the bits is not here, or another than the file needs; or the header says
            other things of the weights than they do.
        InputError: the picture is over the kit's limits, or needs more memory than is free.
        DamagedSegment: a segment's checksum is right, and its bytes are still not what an encoder writes.
    """
    header = file.header
    try:
        weights = model.load(model.newest(header.name) if model_name is None else model_name)
    except model.WeightsError as error:
        if model_name is None:
            error.args = (f"the file was made with the weights {header.name}, and {error}",)
        raise
    if weights.fingerprint != header.fingerprint:
        raise model.WeightsError(
            f"the file needs {header.name} with fingerprint {header.fingerprint.hex()}, but {weights.name} here has "
            f"{weights.fingerprint.hex()}; name no weights if {header.name} is here, else get those that wrote it"
        )
    config = weights.model.config
    if (header.bits, header.reconstruction) != (config.bits, config.reconstruction):
        raise bitstream.BitstreamError(
            f"the header says {header.bits} bits per position and {header.reconstruction}, and {weights.name} has "
            f"{config.bits} and is {config.reconstruction}; copy the file again"
        )
    codec.check_decoding(config, header.height, header.width)  # before bits are decoded, which may take a minute
    bit_model = bitnet.find(weights) if header.coding == "learned" else None
    return codec.decode(weights.model, bitstream.decode(file, bit_model, iterations))
