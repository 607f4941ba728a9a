"""The `.rgru` file: a header, then one segment per iteration. Cut it after any segment and it is still a file.

    header    4 B  magic "RGRU"
              1 B  format version, 1
              1 B  flags: none defined yet, 0
              1 B  reconstruction mode: 0 one-shot, 1 additive, 2 residual-scaled
              1 B  priming: extra iterations before the code is taken, 0
              1 B  K, bits per position and iteration
              2 B  height in pixels
              2 B  width in pixels
              8 B  fingerprint of the codec's weights
              8 B  fingerprint of the bit model's weights; zeros: the bits are stored as they are
              1 B  length of the name, then the name of the weights in ASCII, at most 13 B
              4 B  CRC-32 of all of the above
    segment   1 B  kind: 1 an iteration; bit 7 set: a reader that does not know this kind may skip it
              3 B  length of the payload in bytes
              4 B  CRC-32 of header without its own CRC, index of the segment (4 B), kind, length and payload
              ...  payload. For an iteration: B[i], channel by channel, row by row, one bit each (1 for +1, 0 for -1),
                   most significant bit first, the last byte filled with zeros

Numbers are little-endian. Every size is checked against the limits before anything of that size is allocated.
"""

import struct
import zlib
from typing import NamedTuple

import numpy as np

from rgru_lab.codec import Codes
from rgru_lab.config import MAX_ITERATIONS, MAX_PIXELS, NAME_LIMIT, RECONSTRUCTIONS, InputError
from rgru_lab.images import grid_size
from rgru_lab.model import Weights

MAGIC = b"RGRU"
VERSION = 1
ITERATION = 1
SKIPPABLE = 0x80
NO_FINGERPRINT = bytes(8)

_FIXED = struct.Struct("<4sBBBBBHH8s8sB")
_SEGMENT = struct.Struct("<B3sI")


class BitstreamError(InputError):
    """Bytes that are no whole, undamaged `.rgru` file; the message says what is wrong and what to do."""


class Header(NamedTuple):
    """What a file says before its first bit."""

    name: str
    """Of the weights, `small-1` for one: ASCII, at most 13 characters."""
    fingerprint: bytes
    """8 bytes that tell these weights from all others."""
    height: int
    width: int
    bits: int
    """K."""
    reconstruction: str = "one-shot"

    @classmethod
    def of(cls, weights: Weights, height: int, width: int) -> "Header":
        """The header of a file that these weights write for a photo of height x width pixels."""
        config = weights.model.config
        return cls(weights.name, weights.fingerprint, height, width, config.bits, config.reconstruction)

    def pack(self) -> bytes:
        """The header as bytes, its checksum included."""
        name = self.name.encode("ascii")
        if len(name) > NAME_LIMIT:
            raise BitstreamError(f"the name {self.name!r} has {len(name)} characters; a file takes {NAME_LIMIT}")
        mode = RECONSTRUCTIONS.index(self.reconstruction)
        sizes = (self.bits, self.height, self.width)
        fixed = _FIXED.pack(MAGIC, VERSION, 0, mode, 0, *sizes, self.fingerprint, NO_FINGERPRINT, len(name))
        return fixed + name + struct.pack("<I", zlib.crc32(fixed + name))


class File(NamedTuple):
    """A parsed file."""

    header: Header
    codes: Codes
    ends_bytes: tuple[int, ...]
    """Size of the file cut after iteration 1, 2, ...: what that many iterations cost, header included."""
    left_over_bytes: int
    """Bytes after the last whole iteration; not 0 if the file was cut in the middle of one."""


def write_segment(header: bytes, index: int, plane: np.ndarray) -> bytes:
    """One iteration as a segment.

    Args:
        header: the packed header; the checksum covers it, so that a segment fits no other file.
        index: i, from 1.
        plane: B[i], (K, h, w) int8, -1 and +1.

    Raises:
        BitstreamError: there are more than 16 iterations, or the plane holds other values, 0 (not sent) included,
            which this form cannot store.
    """
    if index > MAX_ITERATIONS:
        raise BitstreamError(f"a file holds at most {MAX_ITERATIONS} iterations; this is number {index}")
    if not np.isin(plane, (-1, 1)).all():
        raise BitstreamError(f"B[{index}] holds values besides -1 and +1; this file format stores only those")
    payload = np.packbits(plane.ravel() > 0).tobytes()
    return _SEGMENT.pack(*_seal(header, index, ITERATION, payload)) + payload


def write(header: Header, codes: Codes) -> bytes:
    """A whole file from header and codes."""
    packed = header.pack()
    segments = (write_segment(packed, i, plane) for i, plane in enumerate(codes.planes, start=1))
    return packed + b"".join(segments)


def read_header(data: bytes) -> tuple[Header, int]:
    """The header of a file, and its length in bytes.

    Raises:
        BitstreamError: no `.rgru` file, a newer one, a damaged header, or a size over the limits.
    """
    if not data:
        raise BitstreamError("the file is empty (0 bytes); copy it again")
    if data[:4] != MAGIC:
        raise BitstreamError(f"this is no .rgru file: it begins with {data[:4]!r}, not {MAGIC!r}")
    if len(data) > 4 and data[4] != VERSION:
        raise BitstreamError(f"the file has format version {data[4]}; this kit reads {VERSION}: update the kit")
    end = _FIXED.size + data[_FIXED.size - 1] + 4 if len(data) >= _FIXED.size else len(data) + 1
    if len(data) < end:
        raise BitstreamError(f"the file is cut inside its header ({len(data)} bytes); copy it again")
    if struct.pack("<I", zlib.crc32(data[: end - 4])) != data[end - 4 : end]:
        raise BitstreamError("the header is damaged (its checksum differs); copy the file again")
    _, _, flags, mode, priming, bits, height, width, fingerprint, bit_model, _ = _FIXED.unpack_from(data)
    if len(data[_FIXED.size : end - 4]) > NAME_LIMIT:
        raise BitstreamError(f"the name of the weights is longer than {NAME_LIMIT} characters; copy the file again")
    unknown = flags or priming or mode >= len(RECONSTRUCTIONS) or bit_model != NO_FINGERPRINT
    if unknown or not bits or not data[_FIXED.size : end - 4].isascii():
        raise BitstreamError("the file uses features that this kit does not know; update the kit")
    if not 0 < height * width <= MAX_PIXELS:
        raise BitstreamError(f"the picture is {width} x {height} px; the limit is {MAX_PIXELS / 1e6:.0f} megapixels")
    name = data[_FIXED.size : end - 4].decode("ascii")
    return Header(name, fingerprint, height, width, bits, RECONSTRUCTIONS[mode]), end


def parse(data: bytes) -> File:
    """All whole iterations of a file.

    A file that was cut in the middle of a segment gives the iterations before it, and says so in `left_over_bytes`.

    Raises:
        BitstreamError: see `read_header`; or a segment is damaged, foreign, of an unknown kind or of a wrong length;
            or there are more than 16 iterations; or not even one is whole.
    """
    header, position = read_header(data)
    packed = data[:position]
    h, w = grid_size(header.height, header.width)
    count = header.bits * h * w
    planes, ends, index = [], [], 0
    while len(data) - position >= _SEGMENT.size:
        kind, length, checksum = _SEGMENT.unpack_from(data, position)
        index += 1
        size = int.from_bytes(length, "little")
        if kind != ITERATION and not kind & SKIPPABLE:
            raise BitstreamError(f"segment {index} is of kind {kind}, unknown to this kit; update it, or copy the file")
        if kind == ITERATION and size != -(-count // 8):
            raise BitstreamError(
                f"segment {index} says {size} bytes where {-(-count // 8)} belong; copy the file again"
            )
        start, end = position + _SEGMENT.size, position + _SEGMENT.size + size
        if end > len(data):
            break
        if _seal(packed, index, kind, data[start:end])[2] != checksum:
            raise BitstreamError(f"segment {index} is damaged (its checksum differs); copy the file again")
        position = end
        if kind == ITERATION:
            if len(planes) == MAX_ITERATIONS:
                raise BitstreamError(f"the file holds more than {MAX_ITERATIONS} iterations; the limit is that many")
            bits = np.unpackbits(np.frombuffer(data[start:end], np.uint8), count=count)
            planes.append((bits.astype(np.int8) * 2 - 1).reshape(header.bits, h, w))
            ends.append(end)
    if not planes:
        raise BitstreamError(f"the file ends before its first iteration is whole ({len(data)} bytes); copy it again")
    return File(header, Codes(header.height, header.width, tuple(planes)), tuple(ends), len(data) - position)


def _seal(header: bytes, index: int, kind: int, payload: bytes) -> tuple[int, bytes, int]:
    # Without the header's own checksum: a CRC run over data and its CRC ends in the same state for all data.
    length = len(payload).to_bytes(3, "little")
    checksum = zlib.crc32(header[:-4] + struct.pack("<IB", index, kind) + length)
    return kind, length, zlib.crc32(payload, checksum)
