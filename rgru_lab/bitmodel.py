"""The probability of the next bit, from what the decoder already has; exact on every machine.

A model of the bits goes through one iteration's plane in a fixed order of *passes*. In each it names some positions
and says how probable +1 is there; then it is told the bits, and the next pass may build on them. Encoder and decoder
run the very same walk, and differ only in who tells the bits. One probability that differed by one step would lose all
bits after it, so models compute in whole numbers only.

`Counts` is the baseline: neighbours vote, and counting tells how far to trust them. `bitnet.Learned` does better. The
paper has a recurrent network in its place (Toderici et al. 2017, section 4), in floating point.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from rgru_lab import rangecoder
from rgru_lab.rangecoder import ONE

Tell = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""tell(where, probabilities): the bits, 1 for +1 and 0 for -1, at flat indices of the plane; all three (n,).

Probabilities are integers in units of 2^-16, 1 to 65535.
"""


class BitModel(Protocol):
    """What gives the bits of a plane their probabilities."""

    coding: str
    """Its name in `config.CODINGS`."""
    fingerprint: bytes
    """8 bytes that tell its weights from all others; zeros if it has none."""

    def walk(
        self,
        earlier: Sequence[np.ndarray],
        shape: tuple[int, int, int],
        tell: Tell,
        sent: np.ndarray | None = None,
    ) -> np.ndarray:
        """Go through a plane, pass by pass.

        Args:
            earlier: the planes before it, (K, h, w) int8 each.
            shape: (K, h, w).
            tell: called once for every pass; every bit that is sent is in exactly one pass.
            sent: (h, w) bool, the positions whose bits are sent; None: all.

        Returns:
            The plane, (K, h, w) int8, -1 and +1, and 0 where it is not sent.
        """


class Counts:
    """An adaptive context model that has nothing to learn beforehand.

    For each bit six neighbours of the same channel that are known already vote with their own value:

        .  .  1  .  .        the four that touch in row or column or lie two away in it, and two diagonal ones;
        .  1  2  1  .        the sum, -8 to 8, is the vote. Its sign is the guess, its size the context:
        1  2  ?              of all guesses with a vote of this size so far, how many were right?

    The counts begin anew in every iteration and are shared by all channels. Bits on one knight's diagonal x + 2 y
    do not see each other and make one pass.
    """

    coding = "counts"
    fingerprint = bytes(8)
    votes = ((0, -1, 2), (-1, 0, 2), (-1, -1, 1), (-1, 1, 1), (0, -2, 1), (-2, 0, 1))
    """(rows down, columns right, weight) of each neighbour."""

    def walk(
        self,
        earlier: Sequence[np.ndarray],
        shape: tuple[int, int, int],
        tell: Tell,
        sent: np.ndarray | None = None,
    ) -> np.ndarray:
        """See `BitModel`; the earlier planes are not looked at."""
        bits, h, w = shape
        plane = np.zeros((bits, h + 2, w + 4), np.int8)  # a border of zeros, who vote for nothing
        rows, columns = np.divmod(np.arange(h * w), w)
        diagonal = columns + 2 * rows
        order = np.argsort(diagonal, kind="stable")
        order = order if sent is None else order[sent.ravel()[order]]
        passes = np.split(order, np.flatnonzero(np.diff(diagonal[order])) + 1)
        channel = np.arange(bits)[:, None]
        right, seen = np.zeros(9, np.int64), np.zeros(9, np.int64)
        for where in passes:
            y, x = rows[where] + 2, columns[where] + 2
            vote = sum(weight * plane[:, y + down, x + along] for down, along, weight in self.votes).ravel()
            size, guess = np.abs(vote), vote >= 0
            trust = (2 * right[size] + 1) * ONE // (2 * seen[size] + 2)
            probabilities = np.clip(np.where(guess, trust, ONE - trust), 1, ONE - 1)
            told = tell((channel * (h * w) + where).ravel(), probabilities)
            plane[:, y, x] = (2 * told - 1).reshape(bits, len(where))
            seen += np.bincount(size, minlength=9)
            right += np.bincount(size[told == guess], minlength=9)
        return plane[:, 2:, 2 : 2 + w].copy()


def encode(
    bit_model: BitModel, plane: np.ndarray, earlier: Sequence[np.ndarray], going_on: np.ndarray | None = None
) -> bytes:
    """A plane as bytes, range-coded with the model's probabilities.

    Args:
        bit_model: gives the bits their probabilities.
        plane: (K, h, w) int8, -1 and +1, and 0 at positions that are not sent.
        earlier: the planes before it.
        going_on: (h, w) bool, the positions that may send bits in an adaptive file: of each it is told first, coded by
            `Counts`, whether it does. None: all do, and nothing is told of that.
    """
    sent, flat = plane.any(axis=0), (plane > 0).ravel().astype(np.int32)
    flags = sent.ravel().astype(np.int32)
    told, said = _walk(
        bit_model, earlier, plane.shape, lambda where, _: flags[where], lambda where, _: flat[where], going_on
    )[1:]
    return rangecoder.encode(told, said)


def decode(
    bit_model: BitModel,
    payload: bytes,
    earlier: Sequence[np.ndarray],
    shape: tuple[int, int, int],
    going_on: np.ndarray | None = None,
) -> np.ndarray:
    """The plane that `encode` was given.

    Raises:
        RangeCoderError: these are not the bytes that `encode` makes of any plane.
    """
    decoder = rangecoder.Decoder(payload)

    def tell(_, probabilities):
        return decoder.decode(probabilities)

    plane, told, said = _walk(bit_model, earlier, shape, tell, tell, going_on)
    if rangecoder.encode(told, said) != payload:
        raise rangecoder.RangeCoderError("the encoder makes other bytes of these bits; copy the file again")
    return plane


def _walk(bit_model: BitModel, earlier: Sequence[np.ndarray], shape, tell_flag: Tell, tell: Tell, going_on):
    """The plane, all that was told of it in the order of the passes, and its probabilities."""
    told, said = [], []

    def kept(tell):
        def both(where, probabilities):
            said.append(probabilities)
            told.append(tell(where, probabilities))
            return told[-1]

        return both

    sent = None
    if going_on is not None:
        sent = Counts().walk([], (1, *shape[1:]), kept(tell_flag), going_on)[0] > 0
    plane = bit_model.walk(earlier, shape, kept(tell), sent)
    return plane, np.concatenate(told), np.concatenate(said)
