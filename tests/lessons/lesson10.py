"""Right answers in other words, and mistakes, for the exercises of lesson 10."""

import numpy as np
import torch

from rgru_lab.lessons import find


def _first(errors, limit):
    n, h, w = errors.shape
    return [
        [next((i + 1 for i in range(n) if errors[i, y, x] <= limit), n) for x in range(w)] for y in range(h)
    ]  # fmt: skip


def _reference(errors, limit):
    return find("10.2").reference()(errors, limit)


def _one_price(errors, budget):
    """Every block for itself: the number at which error + price x iterations is least; the price by halving."""
    number = np.arange(1, len(errors) + 1)[:, None, None]
    low, high = 0.0, float(errors.max())
    for _ in range(60):
        price = (low + high) / 2
        n = (errors + price * number).argmin(axis=0) + 1
        low, high = (price, high) if n.sum() > budget else (low, price)
    return (errors + high * number).argmin(axis=0) + 1


def _sorted_gains(errors, budget):
    n = np.ones(errors.shape[1:], int)
    order = np.argsort(-(errors[:-1] - errors[1:]).ravel(), kind="stable")
    np.add.at(n.reshape(-1), order[: budget - n.size] % n.size, 1)
    return torch.from_numpy(n)


def _largest_error(errors, budget):
    n = np.ones(errors.shape[1:], int)
    for _ in range(budget - n.size):
        now = np.take_along_axis(errors, n[None] - 1, axis=0)[0]
        n.flat[np.where(n < len(errors), now, -np.inf).argmax()] += 1
    return n


def _least_error(errors, budget):
    n = np.ones(errors.shape[1:], int)
    for _ in range(budget - n.size):
        now = np.take_along_axis(errors, n[None] - 1, axis=0)[0]
        n.flat[np.where(n < len(errors), now, np.inf).argmin()] += 1
    return n


def _everywhere(errors, budget):
    return np.full(errors.shape[1:], budget // errors[0].size)


VARIANTS = {
    "10.1": [
        lambda s: (1 - s) / (1 - s.mean()),
        lambda s: ((1 - s) * s.numel() / (1 - s).sum()).numpy(),
    ],
    "10.2": [
        _first,
        lambda e, t: np.concatenate([e[:-1] <= t, np.ones_like(e[:1], bool)]).argmax(axis=0) + 1,
    ],
    "10.3": [_one_price, _sorted_gains, lambda e, b: find("10.3").reference()(e, b).tolist()],
}

MISTAKES = {
    "10.1": [
        (lambda s: s, "unchanged"),
        (lambda s: s.neg_().add_(1).div(s.mean()), "changes its input"),
        (lambda s: s / s.mean(), "turned round"),
        (lambda s: 1 - s, "not 1"),
        (lambda s: (1 - s) / (1 - s).sum(), "sum to 1"),
        (lambda s: (1 - s) / (1 - s).mean((2, 3), keepdim=True), "own mean"),
        (lambda s: (1 - s) / (1 - s).max(), "in proportion"),
        (lambda s: ((1 - s) / (1 - s).mean()).mean(1), "shape"),
    ],
    "10.2": [
        (lambda e, t: e, "(h, w)"),
        (lambda e, t: (e <= t).any(axis=0), "says only whether"),
        (lambda e, t: (e <= t).argmax(axis=0), "count iterations from 1"),
        (lambda e, t: (e <= t).argmax(axis=0) + 1, "never gets there"),
        (lambda e, t: (e <= t).sum(axis=0), "good enough"),
        (lambda e, t: len(e) - (e <= t)[::-1].argmax(axis=0), "the last good one"),
        (lambda e, t: len(e) - np.minimum((e <= t).sum(axis=0), len(e)) + ((e <= t).any(axis=0)), "rise again"),
        (lambda e, t: np.where((e <= t).any(axis=0), (e <= t).argmax(axis=0) + 1, 0), "never gets there"),
        (lambda e, t: np.where((e <= t).argmax(axis=0), (e <= t).argmax(axis=0) + 1, len(e)), "at once"),
        (lambda e, t: _reference(e, np.nextafter(t, 0)), "exactly the limit"),
    ],
    "10.3": [
        (lambda e, b: e, "(h, w)"),
        (lambda e, b: np.ones(e.shape[1:], int), "n.flatten() is a copy"),
        (_everywhere, "gain at least half"),
        (_largest_error, "no plan"),
        (lambda e, b: np.ones(e.shape[1:])[e[0].size - 1], "n.flat"),
        (lambda e, b: e[len(e)], "more than N"),
        (_least_error, "no plan"),
        (lambda e, b: np.full(e.shape[1:], len(e)), "the budget is"),
        (lambda e, b: find("10.3").reference()(e, b) - 1, "within 1"),
        (lambda e, b: find("10.3").reference()(e, b - 5), "spends only"),
        (lambda e, b: np.full(e.shape[1:], 1.5), "fractions"),
    ],
}
