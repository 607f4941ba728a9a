"""Bits and their probabilities to bytes and back: a range coder.

All bits of a message together choose one number between 0 and 1. Each bit cuts the interval that those before it left
over in two, in proportion to the probabilities of -1 and +1, and keeps its part; the bytes are the first digits of a
number in the last interval. A bit of probability p narrows the interval by p and so costs -log2(p) bits.

`encode_plainly` and `PlainDecoder` are the specification, in plain Python. The package constriction writes the same
bytes, much faster; `encode` and `Decoder` use it where it is installed.

    digits          words of 32 bits, big-endian; the decoder reads zeros after the last one
    interval        [lower, lower + span) in units of 2^-64, at first lower = 0 and span = 2^64 - 1; when span falls
                    below 2^32, both move up by 32 bits and the word that leaves lower is the next digit
    probability     p = P(bit = +1) in units of 2^-16, 1 to 65535: never 0 or 1, so that every bit can be coded
    cut             with unit = floor(span / 2^24), -1 keeps the first unit * 2^8 * (2^16 - p) of the span, and +1
                    the next unit * 2^8 * p
    end             the highest word of lower + 2^32 - 1, then a zero word if lower + span has the same highest word
"""

import numpy as np

from rgru_lab.config import InputError

try:
    import constriction
except ImportError:  # there is no wheel for Linux on Arm
    constriction = None

ONE = 1 << 16
"""The probability that would be certainty."""

WORD_BYTES = 4

_WORD = (1 << 32) - 1
_STATE = (1 << 64) - 1

# What constriction's Bernoulli model, which takes P(+1) as a float, must be given so that it cuts in exactly our
# place: it keeps floor((1 - P) * (2^24 - 2)) + 1 parts in 2^24 for -1, and this aims at the middle of the step.
_FLOATS = 1 - (256.0 * (ONE - np.arange(ONE)) - 0.5) / (2**24 - 2)


class RangeCoderError(InputError):
    """Probabilities that cannot be coded with, or bytes that no encoder wrote with these probabilities."""


def encode(bits: np.ndarray, probabilities: np.ndarray) -> bytes:
    """Bytes from which a `Decoder` that is given the same probabilities gets the bits back.

    Args:
        bits: (n,) integers, 1 for +1 and 0 for -1.
        probabilities: (n,) integers, P(+1) in units of 2^-16, 1 to 65535.

    Returns:
        A multiple of 4 bytes; none for no bits.

    Raises:
        RangeCoderError: a probability is out of range, or there are not as many as bits.
    """
    if constriction is None:
        return encode_plainly(bits, probabilities)
    _check(probabilities)
    _check_count(bits, probabilities)
    encoder = constriction.stream.queue.RangeEncoder()
    if len(bits):
        encoder.encode(np.asarray(bits, np.int32), _bernoulli(), _FLOATS[probabilities])
    return encoder.get_compressed().astype(f">u{WORD_BYTES}").tobytes()


def encode_plainly(bits: np.ndarray, probabilities: np.ndarray) -> bytes:
    """`encode`, in plain Python: what it means."""
    _check(probabilities)
    _check_count(bits, probabilities)
    if not len(bits):
        return b""
    words, lower, span = [], 0, _STATE
    for bit, probability in zip(bits.tolist(), probabilities.tolist(), strict=True):
        unit = span >> 24
        cut = (unit << 8) * (ONE - probability)
        if bit:
            lower += cut
            span = (unit << 24) - cut
        else:
            span = cut
        if lower > _STATE:
            lower &= _STATE
            _carry(words)
        if span <= _WORD:
            words.append(lower >> 32)
            lower = lower << 32 & _STATE
            span <<= 32
    point = lower + _WORD
    if point > _STATE:
        point &= _STATE
        _carry(words)
    words.append(point >> 32)
    if (lower + span & _STATE) >> 32 == words[-1]:
        words.append(0)
    return np.array(words, f">u{WORD_BYTES}").tobytes()


class PlainDecoder:
    """`Decoder`, in plain Python: what it means. Keeps how far the message's number lies above `lower`."""

    def __init__(self, data: bytes):
        self._words = iter(_words(data).tolist())
        self._span = _STATE
        self._offset = next(self._words, 0) << 32 | next(self._words, 0)

    def decode(self, probabilities: np.ndarray) -> np.ndarray:
        _check(probabilities)
        bits, span, offset = [], self._span, self._offset
        for probability in probabilities.tolist():
            unit = span >> 24
            cut = (unit << 8) * (ONE - probability)
            bit = offset >= cut
            if bit:
                offset -= cut
                span = (unit << 24) - cut
                if offset >= span:
                    raise _foreign()
            else:
                span = cut
            if span <= _WORD:
                span <<= 32
                offset = offset << 32 | next(self._words, 0)
            bits.append(bit)
        self._span, self._offset = span, offset
        return np.array(bits, np.int32)


class FastDecoder:
    """`Decoder`, by constriction."""

    def __init__(self, data: bytes):
        self._decoder = constriction.stream.queue.RangeDecoder(_words(data).astype(np.uint32))

    def decode(self, probabilities: np.ndarray) -> np.ndarray:
        _check(probabilities)
        if not len(probabilities):
            return np.zeros(0, np.int32)
        try:
            return self._decoder.decode(_bernoulli(), _FLOATS[probabilities])
        except AssertionError:
            raise _foreign() from None


Decoder = PlainDecoder if constriction is None else FastDecoder
"""Reads the bytes of `encode`.

`decode(probabilities)`, called as often as one likes, gives the bits for as many probabilities, (n,) int32 of 0 and 1.
It raises `RangeCoderError` where it notices that the bytes were not written with these probabilities; it cannot always
notice. To be sure, encode the bits once more and compare.
"""


def _bernoulli():
    return constriction.stream.model.Bernoulli(perfect=False)


def _carry(words: list[int]):
    """Add one to the number that the words so far make."""
    last = len(words) - 1
    while words[last] == _WORD:
        words[last] = 0
        last -= 1
    words[last] += 1


def _words(data: bytes) -> np.ndarray:
    if len(data) % WORD_BYTES:
        raise RangeCoderError(f"range-coded data comes in words of {WORD_BYTES} bytes; these are {len(data)} bytes")
    return np.frombuffer(data, f">u{WORD_BYTES}")


def _check(probabilities: np.ndarray):
    if len(probabilities) and not 1 <= probabilities.min() <= probabilities.max() < ONE:
        least, most = probabilities.min(), probabilities.max()
        raise RangeCoderError(f"probabilities run from {least} to {most}; keep them within 1 to {ONE - 1}")


def _check_count(bits: np.ndarray, probabilities: np.ndarray):
    if len(bits) != len(probabilities):
        raise RangeCoderError(f"there are {len(bits)} bits but {len(probabilities)} probabilities; give one for each")


def _foreign() -> RangeCoderError:
    return RangeCoderError("these bytes were not written with these probabilities; copy the file again")
