"""A small network that predicts a codec's bits: trained once for each codec (see `bittraining`), exact everywhere.

It computes with whole numbers: bits of -1, 0 (not known yet) and +1, weights and activations of at most 127,
nonlinearities by clipping, probabilities from a table that is stored with the weights. No sum can reach 2^24, which is
proved from the weights when they are loaded; float32 holds every whole number up to there, so products of matrices give
the same on any processor, with any library, in any order of summation.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
import torch

from rgru_lab.bitmodel import ONE, BitModel, Counts, Tell
from rgru_lab.config import MAX_ITERATIONS, InputError
from rgru_lab.files import write_atomically
from rgru_lab.machine import one_thread
from rgru_lab.model import Weights, digest

PHASES = ((0, 0), (1, 1), (0, 1), (1, 0))
"""Within a group, every second position of every second row makes a pass; these are (first row, first column)."""

REACH = 2
"""Rows and columns around a position that the network sees of this plane; of the planes before it one less."""

BANKS = 3
"""Sets of weights: for iteration 1, for iteration 2, for all later ones."""

TOP = 127
"""Largest size of a weight, and largest activation."""

WEIGHT_STEPS, ACTIVATION_STEPS, LOGIT_STEPS = 64, 16, 64
"""What the integers count: a weight of 1.0 is 64, an activation of 1.0 is 16; the table has 64 entries per unit."""

TABLE = 2048
"""Entries of the table of probabilities: P(+1) for logits from -16 to 16."""

EXACT = 1 << 24
"""float32 holds every integer up to here."""


SUFFIX = ".bits"
"""Of the file of a learned model, which stands beside the codec's weights: `small-1.bits`, `small-1.safetensors`."""


class BitNetError(InputError):
    """A learned model of the bits that is damaged or not the one asked for; the message says what to do."""


class Layers(NamedTuple):
    """The network of one bank and one group, as float32 that holds integers; shapes in `Learned`."""

    near: np.ndarray
    direct: np.ndarray
    earlier: np.ndarray
    hidden_bias: np.ndarray
    middle: np.ndarray
    middle_bias: np.ndarray
    out: np.ndarray
    out_bias: np.ndarray


class Learned:
    """A small network for each group of channels and each bank of weights.

    Channels are coded group by group; a group knows all positions of the groups before it.

        this plane      5 x 5 positions, channels up to this group; 0: not known yet   --+----------- direct ------+
                                                                                         +--> hidden --> middle --> P
        two before it   3 x 3 positions, all channels; iteration; phase                --+

    Args:
        tensors: integers by name: `table` (entries), and for bank b, group g with c channels, n with all before it:
            `b.g.near` (25 n, hidden), `b.g.direct` (25 n, c), `b.g.earlier` (9 K planes, hidden), `b.g.hidden_bias`
            (iterations, phases, hidden), `b.g.middle` (hidden, middle), `b.g.middle_bias` (middle,), `b.g.out`
            (middle, c), `b.g.out_bias` (iterations, c). Inputs run over rows, columns, then channels; the last plane
            before its predecessor.
        codec: 8 bytes, the fingerprint of the codec whose bits these are.
        record: how it was trained.

    Raises:
        BitNetError: tensors are missing, do not fit together, or could lead out of exact arithmetic.
    """

    coding = "learned"

    def __init__(self, tensors: dict[str, np.ndarray], codec: bytes, record: dict):
        self.tensors = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
        self.codec, self.record = codec, record
        self.fingerprint = digest(codec, self.tensors)[:8]  # which tell this model from all others
        try:
            if not all(value.dtype.kind == "i" for value in self.tensors.values()):
                raise ValueError("not all of it are whole numbers")
            self.groups = max(1, sum(name.startswith("0.") and name.endswith(".out") for name in tensors))
            self.sizes = [tensors[f"0.{group}.out"].shape[1] for group in range(self.groups)]
            self.bits = sum(self.sizes)
            self._table = tensors["table"].astype(np.int64)
            self._banks = [
                [
                    Layers(*(tensors[f"{bank}.{group}.{name}"].astype(np.float32) for name in Layers._fields))
                    for group in range(self.groups)
                ]
                for bank in range(BANKS)
            ]
            _check(self._table, self._banks, self.bits)
        except (KeyError, IndexError, ValueError) as error:
            raise BitNetError(f"its numbers do not fit together: {error}") from None

    @one_thread()
    def walk(
        self,
        earlier: Sequence[np.ndarray],
        shape: tuple[int, int, int],
        tell: Tell,
        sent: np.ndarray | None = None,
    ) -> np.ndarray:
        """See `BitModel`.

        Raises:
            BitNetError: the plane has another K than the model.
        """
        bits, h, w = shape
        if bits != self.bits:
            raise BitNetError(
                f"the model of the bits is for {self.bits} per position, and the plane has {bits}; take its own"
            )
        bank = min(len(earlier), BANKS - 1)
        iteration = len(earlier) - bank
        now = np.zeros((h + 2 * REACH, w + 2 * REACH, bits), np.float32)
        before = [_framed(plane) for plane in list(earlier)[::-1][:bank]]
        number = np.arange(h * w).reshape(h, w)
        start = 0
        for layers in self._banks[bank]:
            end = start + layers.out.shape[1]
            for phase, (row, column) in enumerate(PHASES):
                here = number[row::2, column::2]
                if not here.size:
                    continue
                chosen = ... if sent is None else sent[row::2, column::2].ravel()
                known = _windows(now[..., :end], row, column, here.shape, REACH)[chosen]
                hidden = _product(known, layers.near) + layers.hidden_bias[iteration, phase]
                if before:
                    seen = [_windows(plane, row, column, here.shape, 1)[chosen] for plane in before]
                    hidden += _product(np.hstack(seen), layers.earlier)
                middle = _product(_activate(hidden, WEIGHT_STEPS), layers.middle) + layers.middle_bias
                logit = _product(_activate(middle, WEIGHT_STEPS * ACTIVATION_STEPS), layers.out)
                logit += layers.out_bias[iteration] + ACTIVATION_STEPS * _product(known, layers.direct)
                entry = np.floor(logit * (LOGIT_STEPS / WEIGHT_STEPS / ACTIVATION_STEPS)) + TABLE // 2
                probabilities = self._table[np.clip(entry, 0, TABLE - 1).astype(np.int64)]
                where = here.reshape(-1, 1)[chosen] + np.arange(start, end) * (h * w)
                told = np.zeros((here.size, end - start), np.float32)
                told[chosen] = 2 * tell(where.ravel(), probabilities.ravel()).reshape(where.shape) - 1
                now[REACH + row : REACH + h : 2, REACH + column : REACH + w : 2, start:end] = told.reshape(
                    *here.shape, end - start
                )
            start = end
        return now[REACH : REACH + h, REACH : REACH + w].transpose(2, 0, 1).astype(np.int8)


def save(model: Learned, path: str | os.PathLike):
    """Write a learned model as safetensors, the codec's fingerprint, the record and a hash inside."""
    metadata = {
        "codec": model.codec.hex(),
        "record": json.dumps(model.record),
        "fingerprint": model.fingerprint.hex(),
    }
    write_atomically(path, safetensors.numpy.save(model.tensors, metadata))


def load(path: str | os.PathLike) -> Learned:
    """Read a learned model.

    Raises:
        BitNetError: there is none at this path, or it is damaged.
    """
    try:
        with safetensors.safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        codec, record = bytes.fromhex(metadata["codec"]), json.loads(metadata["record"])
        model = Learned(tensors, codec, record)
    except (
        *(OSError, safetensors.SafetensorError, BitNetError),
        *(KeyError, TypeError, ValueError, AttributeError, RecursionError),
    ) as error:
        raise BitNetError(
            f"{path} holds no model of the bits ({error}); fetch it again or run train-bits --force"
        ) from None
    if model.fingerprint.hex() != metadata.get("fingerprint"):
        raise BitNetError(f"{path} is damaged: its numbers do not match its fingerprint; fetch the file again")
    return model


def path_beside(weights: Weights) -> Path:
    """Where the learned model of these weights, from `model.load`, belongs: beside their own file."""
    return weights.path.with_suffix(SUFFIX)


def find(weights: Weights) -> BitModel:
    """The learned model that lies beside these weights and belongs to them, or `Counts` if there is none.

    Raises:
        BitNetError: there is one, and it is damaged.
    """
    if weights.path and path_beside(weights).is_file():
        model = load(path_beside(weights))
        if model.codec == weights.fingerprint:
            return model
    return Counts()


def asked_for(weights: Weights, bit_model: BitModel | Literal["find"] | None) -> BitModel | None:
    """The model itself, where "find" stands for what `find` has for these weights."""
    return find(weights) if bit_model == "find" else bit_model


def _product(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return (torch.from_numpy(inputs.astype(weights.dtype, copy=False)) @ torch.from_numpy(weights)).numpy()


def _framed(plane: np.ndarray) -> np.ndarray:
    """(K, h, w) to (h + 2, w + 2, K) with a frame of zeros."""
    return np.pad(plane.transpose(1, 2, 0).astype(np.float32), ((1, 1), (1, 1), (0, 0)))


def _windows(plane: np.ndarray, row: int, column: int, count: tuple[int, int], reach: int) -> np.ndarray:
    """What lies around every second position of a framed plane: (positions, (2 reach + 1)^2 channels)."""
    tall, wide = 2 * count[0] - 1, 2 * count[1] - 1
    side = range(2 * reach + 1)
    views = [
        plane[row + down : row + down + tall : 2, column + along : column + along + wide : 2]
        for down in side
        for along in side
    ]
    return np.concatenate(views, axis=2).reshape(count[0] * count[1], -1)


def _activate(sums: np.ndarray, unit: int) -> np.ndarray:
    """A ramp from 0 to its highest value, in whole steps; `unit`: the sum that stands for 1.0."""
    return np.clip(np.floor(sums * (ACTIVATION_STEPS / unit)), 0, TOP)


def _check(table: np.ndarray, banks: list[list[Layers]], bits: int):
    """Raise `ValueError` unless all shapes fit and no sum can reach 2^24."""
    if table.shape != (TABLE,) or table.min() < 1 or table.max() >= ONE:
        raise ValueError(f"the table has shape {table.shape} and runs from {table.min()} to {table.max()}")
    for bank, groups in enumerate(banks):
        iterations = 1 if bank < BANKS - 1 else MAX_ITERATIONS - BANKS + 1
        channels = np.cumsum([layers.out.shape[1] for layers in groups])
        for layers, known in zip(groups, channels.tolist(), strict=True):
            hidden, (middle, own) = layers.near.shape[1], layers.out.shape
            expected = (
                ((2 * REACH + 1) ** 2 * known, hidden),
                ((2 * REACH + 1) ** 2 * known, own),
                (9 * bits * bank, hidden),
                (iterations, len(PHASES), hidden),
                (hidden, middle),
                (middle,),
                (middle, own),
                (iterations, own),
            )
            for name, values, shape in zip(Layers._fields, layers, expected, strict=True):
                if values.shape != shape:
                    raise ValueError(f"{name} has shape {values.shape} where {shape} belongs")
            first = np.abs(layers.near).sum(0) + np.abs(layers.earlier).sum(0) + np.abs(layers.hidden_bias)
            second = TOP * np.abs(layers.middle).sum(0) + np.abs(layers.middle_bias)
            third = TOP * np.abs(layers.out).sum(0) + ACTIVATION_STEPS * np.abs(layers.direct).sum(0)
            largest = max(first.max(), second.max(), (third + np.abs(layers.out_bias)).max())
            if not largest < EXACT:
                raise ValueError(f"a sum could reach {largest:.0f}, and only those below {EXACT} are exact")
