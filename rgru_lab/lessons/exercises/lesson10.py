"""Exercises of lesson 10, beyond the paper."""

import numpy as np
import torch

from rgru_lab.lessons import Wrong, exercise
from rgru_lab.lessons.exercises import given, untouched


def _ssim_weight():
    def ssim_weight(ssim):
        unlike = 1 - ssim
        return unlike / unlike.mean()

    return ssim_weight


@exercise("10.1", "weights for the loss", _ssim_weight)
def ssim_weight(answer):
    ssim = torch.rand(1, 3, 12, 16) * torch.tensor([0.9, 0.5, 0.2])[:, None, None]
    handed = ssim.clone()
    got = given(answer(handed))
    got = torch.as_tensor(got).float()
    if got.shape != ssim.shape:
        raise Wrong(f"it returns the shape {tuple(got.shape)}; give one weight for each value, {tuple(ssim.shape)}")
    untouched(handed, ssim)
    unlike = 1 - ssim
    if torch.allclose(got, unlike / unlike.mean(), atol=1e-4):
        return
    if torch.allclose(got, ssim):
        raise Wrong("it returns SSIM unchanged")
    if torch.allclose(got, ssim / ssim.mean(), atol=1e-4):
        raise Wrong("it is turned round: it weighs most where the pictures are alike; use 1 - SSIM")
    if torch.allclose(got, unlike, atol=1e-4):
        raise Wrong(
            f"these weights are in proportion, but their mean is {got.mean():.3f}, not 1: the learning rate moves"
        )
    if torch.allclose(got, unlike / unlike.sum(), atol=1e-6):
        raise Wrong("the weights sum to 1; their mean should be 1")
    if torch.allclose(got, unlike / unlike.mean((2, 3), keepdim=True), atol=1e-4):
        raise Wrong("each colour is scaled by its own mean; take one mean over all values, or a bad colour looks good")
    raise Wrong(f"the weights are not in proportion to 1 - SSIM with a mean of 1; their mean is {got.mean():.3f}")


def _needed():
    def needed(errors, limit):
        reached = errors <= limit
        return np.where(reached.any(axis=0), reached.argmax(axis=0) + 1, len(errors))

    return needed


@exercise("10.2", "the same quality everywhere", _needed)
def needed(answer):
    falling = np.array([[[90, 40, 90]], [[80, 30, 60]], [[70, 20, 30]], [[60, 10, 20]]], float)
    got = given(answer(falling.copy(), 35.0))
    got = np.asarray(got)
    if got.shape != (1, 3):
        raise Wrong(f"for errors of shape (4, 1, 3) it returns the shape {got.shape}; the map is (h, w), (1, 3) here")
    never, second, third = got[0].tolist()
    said = f"a block with errors 40, 30, 20, 10 gets {second} and one with 90, 60, 30, 20 gets {third} at a limit of 35"
    if got.dtype == bool or set(got.ravel().tolist()) <= {0, 1}:
        raise Wrong("it says only whether, or the first of all: asked is the number of the iteration, 1 to N")
    if (second, third) == (1, 2):
        raise Wrong(f"{said}; count iterations from 1, so 2 and 3")
    if (second, third) == (3, 2):
        raise Wrong(f"{said}: that is how many iterations are good enough; asked is the first of them, 2 and 3")
    if (second, third) == (4, 4):
        raise Wrong(f"{said}: that is the last good one; asked is the first, 2 and 3")
    if (second, third) != (2, 3):
        raise Wrong(f"{said}; 2 and 3 are right")
    if never != 4:
        raise Wrong(f"a block that never gets there, with errors 90, 80, 70, 60, gets {never}; it should get all 4")
    at_once = np.asarray(answer(falling.copy(), 95.0))
    if at_once.min() != 1 or at_once.max() != 1:
        raise Wrong("a block that is good enough at once gets more than 1; argmax says 0 there as well as for never")
    rising = np.array([50.0, 20.0, 40.0, 10.0]).reshape(4, 1, 1)
    if np.asarray(answer(rising, 35.0)).item() != 2:
        raise Wrong(
            "errors may rise again: with 50, 20, 40, 10 and a limit of 35 the second is the first that reaches it"
        )
    if np.asarray(answer(falling.copy(), 40.0))[0, 1] != 1:
        raise Wrong("a block whose error is exactly the limit has reached it; use <= and not <")
    random = np.random.default_rng(0).random((6, 4, 5))
    if not np.array_equal(answer(random, 0.3), _needed()(random, 0.3)):
        raise Wrong("it is right on small examples, but not on a map of 4 x 5 blocks")


def _next_gain(errors, n):
    last = len(errors) - 1
    now = np.take_along_axis(errors, n[None] - 1, axis=0)[0]
    then = np.take_along_axis(errors, np.minimum(n, last)[None], axis=0)[0]
    return np.where(n <= last, now - then, -np.inf)


def _plan():
    def plan(errors, budget):
        n = np.ones(errors.shape[1:], int)
        for _ in range(budget - n.size):
            n.flat[_next_gain(errors, n).argmax()] += 1
        return n

    return plan


def _blocks():
    """(6, 5, 7): errors that fall, each block's from its own height at its own speed; every third hardly at all."""
    random = np.random.default_rng(10)
    height, speed = random.uniform(50, 400, (5, 7)), random.uniform(0.1, 0.9, (5, 7))
    height.flat[::3], speed.flat[::3] = 900, 0.01
    return height * np.exp(-speed * np.arange(6)[:, None, None])


def _left(errors, n):
    return np.take_along_axis(errors, n[None] - 1, axis=0).mean()


@exercise("10.3", "design a plan", _plan)
def plan(answer):
    errors = _blocks()
    for each in (2, 3):
        budget = each * errors[0].size
        try:
            got = given(answer(errors.copy(), budget))
        except IndexError as error:
            if f"size {len(errors)}" in str(error):
                raise Wrong(f"a block gets more than N iterations, here {len(errors)}; `argmax` avoids -inf") from None
            raise Wrong("argmax counts through all rows; as an index of a map it needs `n.flat[...]`") from None
        n = np.asarray(got)
        if n.shape != errors[0].shape:
            raise Wrong(f"for errors of shape (6, 5, 7) it returns the shape {n.shape}; the map is (h, w), (5, 7) here")
        if not np.array_equal(n, np.rint(n)):
            raise Wrong("the map holds fractions; a block gets a whole number of iterations")
        n = n.astype(int)
        if (n == 1).all():
            raise NotImplementedError("every block still has 1; fill the gap (n.flatten() is a copy, n.flat is not)")
        if n.min() > len(errors):  # `n.flat[...] += 1` raises all blocks at once
            raise NotImplementedError
        if n.min() < 1 or n.max() > len(errors):
            raise Wrong(f"it gives blocks {n.min()} to {n.max()} iterations; keep within 1 and N, here {len(errors)}")
        if n.sum() > budget:
            raise Wrong(f"it spends {n.sum()} iterations where the budget is {budget}")
        if n.sum() < budget:
            raise Wrong(f"it spends only {n.sum()} of {budget} iterations; spend them all")
        same, best = _left(errors, np.full_like(n, each)), _left(errors, _plan()(errors, budget))
        left = _left(errors, n)
        said = f"the error left is {left:.1f}; with {each} iterations everywhere {same:.1f}, and {best:.1f} is possible"
        if left > same:
            raise Wrong(f"{said}: it is worse than no plan")
        if left > (same + best) / 2:
            raise Wrong(f"{said}: it should gain at least half of that; is the whole budget spent where it helps most?")
