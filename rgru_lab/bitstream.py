"""The `.rgru` file: a header, then one segment per iteration. Cut it after any segment and it is still a file.

    header    4 B  magic "RGRU"
              1 B  format version, 2
              1 B  coding of the bits: 0 raw, as they are; 1 raw or counted; 2 raw, counted or learned
              1 B  reconstruction mode: 0 one-shot, 1 additive, 2 residual-scaled
              1 B  1 if positions may stop sending bits, else 0
              1 B  K, bits per position and iteration
              2 B  height in pixels
              2 B  width in pixels
              8 B  fingerprint of the codec's weights
              8 B  fingerprint of the learned model of the bits; zeros for the other codings
              1 B  length of the name, then the name of the weights in printable ASCII, at most 13 B
              4 B  CRC-32 of all of the above
    segment   1 B  kind: 1 an iteration, raw; 2 an iteration, range-coded with probabilities by `bitmodel.Counts`;
                   3 an iteration, range-coded with probabilities by the learned model; bit 7 set: a reader that does
                   not know this kind may skip it
              3 B  length of the payload in bytes
              4 B  CRC-32 of header without its own CRC, index of the segment (4 B), kind, length and payload
              ...  payload. Raw: B[i], channel by channel, row by row, one bit each (1 for +1, 0 for -1), most
                   significant bit first, the last byte filled with zeros. Range-coded: the model of the bits
                   gives their order and probabilities, and `rangecoder` makes the bytes, always fewer than raw. In a
                   file whose positions may stop, both begin with a flag for each position that sent bits in the
                   segment before (in the first: for all), row by row: 1 if it does here, too. Raw, they are bits as
                   the others; range-coded, `Counts` gives them their probabilities. What is not sent takes no room

Numbers are little-endian. Every size is checked against the limits before anything of that size is allocated.
Version 1 is the same without codings 1 and 2, kinds 2 and 3 and positions that stop. `data/FORMAT.md` walks through a
file byte by byte.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from rgru_lab import bitmodel, rangecoder
from rgru_lab.bitmodel import BitModel, Counts
from rgru_lab.codec import Codes
from rgru_lab.config import CODINGS, MAX_ITERATIONS, MAX_PIXELS, NAME_LIMIT, RECONSTRUCTIONS, InputError
from rgru_lab.images import grid_size
from rgru_lab.model import Weights

MAGIC = b"RGRU"
VERSION = 2
VERSIONS = (1, 2)
RAW, COUNTED, LEARNED = 1, 2, 3
SKIPPABLE = 0x80
NO_FINGERPRINT = bytes(8)

_FIXED = struct.Struct("<4sBBBBBHH8s8sB")
_SEGMENT = struct.Struct("<B3sI")
_ADAPTIVE_AT = 7


class BitstreamError(InputError):
    """Bytes that are no whole, undamaged `.rgru` file; the message says what is wrong and what to do."""


class DamagedSegment(BitstreamError):
    """A segment that cannot be trusted, after `whole` iterations that can."""

    def __init__(self, message: str, whole: int):
        super().__init__(message)
        self.whole = whole

    def __reduce__(self):  # or it could not come back from another process
        return type(self), (str(self), self.whole)


class Header(NamedTuple):
    """What a file says before its first bit."""

    name: str
    """Of the weights, `small-1` for one: printable ASCII, at most 13 characters."""
    fingerprint: bytes
    """8 bytes that tell these weights from all others."""
    height: int
    width: int
    bits: int
    """K."""
    reconstruction: str = "one-shot"
    coding: str = "raw"
    """Of the bits: "raw", "counts" or "learned"."""
    bit_model: bytes = NO_FINGERPRINT
    """8 bytes that tell the learned model of the bits from all others; zeros for the other codings."""
    adaptive: bool = False
    """Whether positions may stop sending bits, each after an iteration of its own."""

    @classmethod
    def of(
        cls, weights: Weights, height: int, width: int, bit_model: BitModel | None = None, adaptive: bool = False
    ) -> "Header":
        """The header of a file that these weights and this model of the bits write for a photo of height x width."""
        config = weights.model.config
        start = (weights.name, weights.fingerprint, height, width, config.bits, config.reconstruction)
        coding = (bit_model.coding, bit_model.fingerprint) if bit_model else ("raw", NO_FINGERPRINT)
        return cls(*start, *coding, adaptive)

    def pack(self) -> bytes:
        """The header as bytes, its checksum included.

        Raises:
            BitstreamError: the weights' name is longer than a file takes.
        """
        name = self.name.encode("ascii")
        if len(name) > NAME_LIMIT:
            raise BitstreamError(f"the name {self.name!r} has {len(name)} characters; a file takes {NAME_LIMIT}")
        coding, mode = CODINGS.index(self.coding), RECONSTRUCTIONS.index(self.reconstruction)
        sizes = (self.bits, self.height, self.width)
        fixed = _FIXED.pack(
            MAGIC, VERSION, coding, mode, self.adaptive, *sizes, self.fingerprint, self.bit_model, len(name)
        )
        return fixed + name + struct.pack("<I", zlib.crc32(fixed + name))


class Segment(NamedTuple):
    """One iteration as it stands in a file, its checksum and length found right."""

    index: int
    """Its place among all segments, from 1."""
    kind: int
    payload: bytes


class File(NamedTuple):
    """A parsed file: its parts are whole, its bits not decoded yet; see `decode`."""

    header: Header
    segments: tuple[Segment, ...]
    """One per iteration."""
    ends_bytes: tuple[int, ...]
    """Size of the file cut after iteration 1, 2, ...: what that many iterations cost, header included."""
    left_over_bytes: int
    """Bytes after the last of these iterations; not 0 if the file was cut in the middle of one."""

    @property
    def iterations(self) -> int:
        """How many it holds."""
        return len(self.segments)

    @property
    def bits_per_bit(self) -> tuple[float, ...]:
        """Bits of payload per bit of B[i], those that are not sent counted in, for i = 1, 2, ..."""
        bits, h, w = _shape(self.header)
        return tuple(8 * len(segment.payload) / (bits * h * w) for segment in self.segments)

    @property
    def raw_bytes(self) -> tuple[int, ...]:
        """What `ends_bytes` would be if all bits, of all positions, were stored as they are."""
        bits, h, w = _shape(self.header)
        saved = accumulate(_raw_size(bits * h * w) - len(segment.payload) for segment in self.segments)
        return tuple(end + more for end, more in zip(self.ends_bytes, saved, strict=True))


def write_segment(
    header: bytes, index: int, plane: np.ndarray, earlier: Sequence[np.ndarray] = (), bit_model: BitModel | None = None
) -> bytes:
    """One iteration as a segment: learned, counted or raw, whichever is shortest.

    Args:
        header: the packed header; the checksum covers it, so that a segment fits no other file.
        index: i, from 1.
        plane: B[i], (K, h, w) int8, -1 and +1; where the header says that positions may stop, 0 at those that have.
        earlier: B[1] .. B[i-1].
        bit_model: the best that the header allows; None: raw.

    Raises:
        BitstreamError: there are more than 16 iterations; or the plane holds other values, zeros in a file whose
            positions may not stop or at a part of a position's bits included; or a position sends bits that had
            stopped; or none sends any.
    """
    if index > MAX_ITERATIONS:
        raise BitstreamError(f"a file holds at most {MAX_ITERATIONS} iterations; this is number {index}")
    going_on = _going_on(earlier, plane.shape) if header[_ADAPTIVE_AT] else None
    sent = _check_plane(plane, index, going_on)
    payload = _pack(plane, sent, going_on)
    kind = RAW
    candidates = [(COUNTED, Counts())] if bit_model else []
    candidates += [(LEARNED, bit_model)] if bit_model and bit_model.coding == "learned" else []
    for other, each in candidates:
        coded = bitmodel.encode(each, plane, earlier, going_on)
        if len(coded) < len(payload):
            kind, payload = other, coded
    return seal(header, index, kind, payload)


def seal(header: bytes, index: int, kind: int, payload: bytes) -> bytes:
    """A payload as a segment: the one place that knows how."""
    length = len(payload).to_bytes(3, "little")
    return _SEGMENT.pack(kind, length, _checksum(header, index, kind, payload)) + payload


def write(header: Header, codes: Codes, bit_model: BitModel | None = None) -> bytes:
    """A whole file from header, codes and the model of the bits that the header names.

    Raises:
        BitstreamError: a plane has another shape than the header says; or as `write_segment`.
    """
    packed, planes = header.pack(), codes.planes
    for i, plane in enumerate(planes, start=1):
        if plane.shape != _shape(header):
            raise BitstreamError(f"B[{i}] has the shape {plane.shape}, but the header is of {_shape(header)}")
    return packed + b"".join(
        write_segment(packed, i + 1, plane, planes[:i], bit_model) for i, plane in enumerate(planes)
    )


def read_header(data: bytes) -> tuple[Header, int]:
    """The header of a file, and its length in bytes.

    Raises:
        BitstreamError: no `.rgru` file, a newer one, a damaged header, or a size over the limits.
    """
    if not data:
        raise BitstreamError("the file is empty (0 bytes); copy it again")
    if data[:4] != MAGIC:
        begins = repr(data[:4]).removeprefix("b")
        raise BitstreamError(f"this is no .rgru file: it begins with {begins}, not 'RGRU'; give one that compress made")
    if len(data) > 4 and data[4] not in VERSIONS:
        raise BitstreamError(f"the file has format version {data[4]}; this kit reads 1 to {VERSION}: update the kit")
    end = _FIXED.size + data[_FIXED.size - 1] + 4 if len(data) >= _FIXED.size else len(data) + 1
    if len(data) < end:
        raise BitstreamError(f"the file is cut inside its header ({len(data)} bytes); copy it again")
    if struct.pack("<I", zlib.crc32(data[: end - 4])) != data[end - 4 : end]:
        raise BitstreamError("the header is damaged (its checksum differs); copy the file again")
    _, version, coding, mode, adaptive, bits, height, width, fingerprint, bit_model, _ = _FIXED.unpack_from(data)
    if len(data[_FIXED.size : end - 4]) > NAME_LIMIT:
        raise BitstreamError(f"the name of the weights is longer than {NAME_LIMIT} characters; copy the file again")
    unknown = adaptive > (version > 1) or mode >= len(RECONSTRUCTIONS) or coding >= (len(CODINGS) if version > 1 else 1)
    if unknown or not bits or (bit_model != NO_FINGERPRINT) != (coding == CODINGS.index("learned")):
        raise BitstreamError("the file uses features that this kit does not know; update the kit")
    name = data[_FIXED.size : end - 4]
    if not (name.isascii() and name.decode("ascii").isprintable()):
        raise BitstreamError("the name of the weights is not in printable ASCII; copy the file again")
    if not 0 < height * width <= MAX_PIXELS:
        raise BitstreamError(f"the picture is {width} x {height} px; the limit is {MAX_PIXELS / 1e6:.0f} megapixels")
    codings = (RECONSTRUCTIONS[mode], CODINGS[coding], bit_model, bool(adaptive))
    return Header(name.decode("ascii"), fingerprint, height, width, bits, *codings), end


def parse(data: bytes, limit: int | None = None) -> File:
    """All whole iterations of a file, or the first `limit` of them: what follows is not looked at.

    A file that was cut in the middle of a segment gives the iterations before it, and says so in `left_over_bytes`.

    Raises:
        BitstreamError: see `read_header`; or there are more than 16 iterations; or not even one is whole.
        DamagedSegment: a segment is damaged, foreign, of an unknown kind or of a wrong length.
    """
    header, position = read_header(data)
    packed = data[:position]
    bits, h, w = _shape(header)
    most = _raw_size((bits + header.adaptive) * h * w)
    segments, ends, index = [], [], 0
    while len(data) - position >= _SEGMENT.size and (limit is None or len(segments) < limit):
        kind, length, checksum = _SEGMENT.unpack_from(data, position)
        index += 1
        size = int.from_bytes(length, "little")
        _check_segment(index, kind, size, most, len(segments), header)
        start, end = position + _SEGMENT.size, position + _SEGMENT.size + size
        if end > len(data):
            break
        if _checksum(packed, index, kind, data[start:end]) != checksum:
            raise DamagedSegment(
                f"segment {index} is damaged (its checksum differs); copy the file again", len(segments)
            )
        position = end
        if kind in (RAW, COUNTED, LEARNED):
            if len(segments) == MAX_ITERATIONS:
                raise BitstreamError(f"the file holds more than {MAX_ITERATIONS} iterations; the limit is that many")
            segments.append(Segment(index, kind, data[start:end]))
            ends.append(end)
    if not segments:
        raise BitstreamError(f"the file ends before its first iteration is whole ({len(data)} bytes); copy it again")
    return File(header, tuple(segments), tuple(ends), len(data) - position)


def decode(file: File, bit_model: BitModel | None = None, iterations: int | None = None) -> Codes:
    """The bits of a parsed file.

    Args:
        file: from `parse`.
        bit_model: the learned model that the header names; not needed where no segment uses it.
        iterations: how many to decode, at most those in the file; all if left out.

    Raises:
        BitstreamError: the file needs a learned model, and this is not it.
        DamagedSegment: a segment's checksum is right, and its bytes are still not what an encoder writes.
    """
    return Codes(file.header.height, file.header.width, tuple(planes(file, bit_model, iterations)))


def planes(file: File, bit_model: BitModel | None = None, iterations: int | None = None) -> Iterator[np.ndarray]:
    """B[1], B[2], ... of a parsed file, one after the other; arguments and errors as of `decode`."""
    shape = _shape(file.header)
    earlier = []
    for segment in file.segments[:iterations]:
        going_on = _going_on(earlier, shape) if file.header.adaptive else None
        try:
            if segment.kind == RAW:
                plane = _unpack(segment.payload, shape, going_on)
            else:
                model = Counts() if segment.kind == COUNTED else _needed(file.header, bit_model)
                plane = bitmodel.decode(model, segment.payload, earlier, shape, going_on)
            if going_on is not None:
                _check_sent(plane, segment, going_on)
        except rangecoder.RangeCoderError:
            raise DamagedSegment(
                f"segment {segment.index} is damaged (no encoder writes such bytes); copy the file again", len(earlier)
            ) from None
        earlier.append(plane)
        yield plane


def _going_on(earlier: Sequence[np.ndarray], shape: tuple[int, int, int]) -> np.ndarray:
    """(h, w) bool: the positions that sent bits in the last plane."""
    return earlier[-1].any(axis=0) if earlier else np.ones(shape[1:], bool)


def _check_plane(plane: np.ndarray, index: int, going_on: np.ndarray | None) -> np.ndarray:
    """Which positions are sent, (h, w) bool."""
    if going_on is None:
        if not np.isin(plane, (-1, 1)).all():
            raise BitstreamError(f"B[{index}] holds values besides -1 and +1; this file stores only those")
        return np.ones(plane.shape[1:], bool)
    sent = plane.any(axis=0)
    if not np.isin(plane, (-1, 0, 1)).all() or (sent != plane.all(axis=0)).any():
        raise BitstreamError(f"B[{index}] holds positions whose bits are not all -1 or +1, nor all 0; send all or none")
    if not sent.any() or (sent & ~going_on).any():
        raise BitstreamError(f"B[{index}] sends nothing, or bits of positions that had stopped; end the file before it")
    return sent


def _check_sent(plane: np.ndarray, segment: Segment, going_on: np.ndarray):
    # What `_check_segment` could not know: how long the bits are as they are.
    sent = plane.any(axis=0)
    raw = _raw_size(going_on.sum() + sent.sum() * len(plane))
    if not sent.any() or (segment.kind != RAW and len(segment.payload) >= raw):
        raise rangecoder.RangeCoderError("no bits, or more bytes than they take as they are")


def _pack(plane: np.ndarray, sent: np.ndarray, going_on: np.ndarray | None) -> bytes:
    flags = sent[going_on] if going_on is not None else sent[:0]
    return np.packbits(np.concatenate([flags.ravel(), (plane[:, sent] > 0).ravel()])).tobytes()


def _unpack(payload: bytes, shape: tuple[int, int, int], going_on: np.ndarray | None) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(payload, np.uint8))
    sent = np.ones(shape[1:], bool)
    if going_on is not None:
        flags, bits = np.split(bits, [going_on.sum()])
        if len(flags) < going_on.sum():
            raise rangecoder.RangeCoderError("the flags are not all there")
        sent = np.zeros(shape[1:], bool)
        sent[going_on] = flags
    count = shape[0] * int(sent.sum())
    if not count <= len(bits) < count + 8 or bits[count:].any():
        raise rangecoder.RangeCoderError("the last byte is not filled with zeros")
    plane = np.zeros(shape, np.int8)
    plane[:, sent] = bits[:count].astype(np.int8).reshape(shape[0], -1) * 2 - 1
    return plane


def _needed(header: Header, bit_model: BitModel | None) -> BitModel:
    if bit_model is None or bit_model.fingerprint != header.bit_model:
        here = f"the one here has {bit_model.fingerprint.hex()}" if bit_model else "there is none here"
        raise BitstreamError(
            f"the file needs the model of the bits with fingerprint {header.bit_model.hex()}, but {here}; "
            "get the one that wrote it"
        )
    return bit_model


def _check_segment(index: int, kind: int, size: int, raw_size: int, whole: int, header: Header):
    if kind == RAW and (size > raw_size if header.adaptive else size != raw_size):
        most = "at most " if header.adaptive else ""
        problem = f"segment {index} says {size} bytes where {most}{raw_size} belong; copy the file again"
    elif kind in (COUNTED, LEARNED) and kind - RAW > CODINGS.index(header.coding):
        problem = f"segment {index} is range-coded in a way that the header does not allow; copy the file again"
    elif kind in (COUNTED, LEARNED) and (size % rangecoder.WORD_BYTES or not 0 < size < raw_size):
        problem = f"segment {index} says {size} range-coded bytes where {raw_size} suffice raw; copy the file again"
    elif kind not in (RAW, COUNTED, LEARNED) and not kind & SKIPPABLE:
        problem = f"segment {index} is of kind {kind}, unknown to this kit; update it, or copy the file"
    else:
        return
    raise DamagedSegment(problem, whole)


def _shape(header: Header) -> tuple[int, int, int]:
    return header.bits, *grid_size(header.height, header.width)


def _raw_size(bits: int) -> int:
    return -(-bits // 8)


def _checksum(header: bytes, index: int, kind: int, payload: bytes) -> int:
    # Without the header's own checksum: a CRC run over data and its CRC ends in the same state for all data.
    length = len(payload).to_bytes(3, "little")
    return zlib.crc32(payload, zlib.crc32(header[:-4] + struct.pack("<IB", index, kind) + length))
