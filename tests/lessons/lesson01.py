"""Right answers in other words, and mistakes, for the exercises of lesson 01."""

import math

import numpy as np
import torch
from scipy.fft import dctn, idctn

from rgru_lab.lessons.exercises.lesson01 import dct_matrix

C = dct_matrix()


def _with_scipy(block, Q):
    return idctn(np.rint(dctn(block, norm="ortho") / Q) * Q, norm="ortho").tolist()


def _back(stored):
    """There and back with another way of making whole numbers of Y and Q."""
    return lambda block, Q: C.T @ (stored(C @ block @ C.T, Q) * Q) @ C


def _mse(a, b):
    return np.mean((a.astype(float) - b) ** 2)


VARIANTS = {
    "01.1": [
        lambda size_bytes, height, width: size_bytes / height / width * 8,
        lambda size_bytes, height, width: torch.tensor(8.0 * size_bytes) / (height * width),
    ],
    "01.2": [
        _with_scipy,
        lambda block, Q: (C.T @ (np.round(C @ block @ C.T / Q) * Q) @ C).round(),
        lambda block, Q: (C.T @ (np.round(C @ block @ C.T / Q) * Q) @ C).clip(-128, 127),
        lambda block, Q: torch.from_numpy(C.T @ (np.floor(C @ block @ C.T / Q + 0.5) * Q) @ C),
    ],
    "01.3": [
        lambda a, b: 20 * math.log10(255 / math.sqrt(_mse(a, b))),
        lambda a, b: -10 * np.log10(_mse(a / 255, b / 255)),
        lambda a, b: 10 * torch.log10(255**2 / (torch.tensor(a).int() - torch.tensor(b)).float().square().mean()),
    ],
}

MISTAKES = {
    "01.1": [
        (lambda size_bytes, height, width: size_bytes / (height * width), "bytes per pixel"),
        (lambda size_bytes, height, width: size_bytes / 8 / (height * width), "multiplied by 8"),
        (lambda size_bytes, height, width: 8 * size_bytes / (height * width * 3), "each colour"),
        (lambda size_bytes, height, width: height * width / (8 * size_bytes), "turn the fraction"),
        (lambda size_bytes, height, width: 8 * size_bytes, "whole file"),
        (lambda size_bytes, height, width: 8 * size_bytes // (height * width), "cut off"),
        (lambda size_bytes, height, width: size_bytes, "instead of"),
        (lambda size_bytes, height, width: str(8 * size_bytes / (height * width)), "str"),
        (lambda size_bytes, height, width: 8 * size_bytes / height * width, "put brackets"),
        (lambda size_bytes, height, width: size_bytes > height, "bool"),
        (lambda size_bytes, height, width: (8, size_bytes), "tuple"),
    ],
    "01.2": [
        (lambda block, Q: block, "unchanged"),
        (lambda block, Q: C.T @ (C @ block @ C.T / Q * Q) @ C, "unchanged"),
        (lambda block, Q: np.round(C @ block @ C.T / Q), "stored numbers; the decoder"),
        (lambda block, Q: C.T @ np.round(C @ block @ C.T / Q) * Q @ C, "put brackets"),
        (lambda block, Q: C.T @ (np.round(C @ block @ C.T / Q) @ Q) @ C, "matrix product"),
        (lambda block, Q: C.T @ (np.round(C @ block @ C.T) * Q) @ C, "not divided by Q before"),
        (lambda block, Q: np.round(C @ block @ C.T / Q) * Q, "still coefficients"),
        (lambda block, Q: C.T @ np.round(C @ block @ C.T / Q) @ C, "without being multiplied"),
        (lambda block, Q: C @ (np.round(C @ block @ C.T / Q) * Q) @ C.T, "way there again"),
        (lambda block, Q: np.round(block / Q) * Q, "rounds the pixels"),
        (lambda block, Q: C.T @ np.round(C @ block @ C.T) @ C, "does not divide"),
        (_back(lambda Y, Q: np.trunc(Y / Q)), "towards 0"),
        (_back(lambda Y, Q: Y // Q), "rounded down"),
        (lambda block, Q: C.T @ (np.round(C @ block @ C.T / Q) * Q) @ C + 128, "128 was added"),
        (lambda block, Q: 3, "shape"),
        (lambda block, Q: "block", "str"),
        (lambda block, Q: np.zeros((8, 8)), "levels are not"),
    ],
    "01.3": [
        (_mse, "mean squared error; PSNR"),
        (lambda a, b: 10 * np.log10(255**2 / (_mse(a, b) * a.size)), "summed"),
        (lambda a, b: 10 * np.log10(_mse(a, b) / 255**2), "upside down"),
        (lambda a, b: np.log10(255**2 / _mse(a, b)), "bels"),
        (lambda a, b: 20 * np.log10(255**2 / _mse(a, b)), "squared already"),
        (lambda a, b: 10 * np.log(255**2 / _mse(a, b)), "natural"),
        (lambda a, b: 10 * np.log10(255 / _mse(a, b)), "peak has to be squared"),
        (lambda a, b: 20 * np.log10(255 / _mse(a, b)), "over its root with 20"),
        (lambda a, b: 10 * np.log10(255**2 / _mse(a / 255, b / 255)), "the peak is 1"),
        (lambda a, b: 10 * np.log10(255**2 / np.mean(a.astype(float) - b) ** 2), "the mean is squared"),
        (lambda a, b: 10 * np.log10(1 / _mse(a, b)), "peak is missing"),
        (lambda a, b: 10 * np.log10(255**2 / np.mean((a - b) ** 2)), "uint8"),
        (lambda a, b: 10 * np.log10(255**2 / np.abs(a.astype(float) - b).mean()), "not squared"),
        (lambda a, b: 10 * np.log10(float(a.max()) ** 2 / _mse(a, b)), "not the largest in the photo"),
        (lambda a, b: 10 * np.log10(255**2 / np.mean((a.astype(np.int16) - b) ** 2)), "int16"),
        (lambda a, b: a, "ndarray"),
        (lambda a, b: 30, "compare it"),
    ],
}
