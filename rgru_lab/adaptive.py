"""Spatially adaptive bit rates: each position of the code sends as many iterations as pay (Johnston et al. 2018).

First the whole photo goes through all iterations, and after each it is looked at how far every position's 16 x 16
pixels are from the original. An iteration pays at a position if it takes away more of that than it costs in bits, both
weighed by one number, the slope (the λ of rate and distortion). Then the photo goes through once more; a position that
stopped sends nothing, which the decoder reads as 0. A smooth sky may stop after one iteration where fur sends seven.
"""

from collections.abc import Callable, Iterator

import numpy as np

from rgru_lab import codec, images, machine, metrics
from rgru_lab.config import MAX_ITERATIONS
from rgru_lab.losses import Similarity, at_both_places
from rgru_lab.model import ResidualCoder, Weights
from rgru_lab.progression import Progression
from rgru_lab.search import Searching

ALL = -1.0
"""A slope at which every iteration pays, up to the one that is best for the whole photo. At 0 a position still stops
where its own pixels gain nothing more, though those of its neighbours do."""

SLOPES = (ALL, 0.0, *np.geomspace(1e-5, 1.0, 400).tolist())
"""Among these the right one is looked for; at the last only the first iteration pays."""

SHOWN = (0.3, 0.1, 0.05, 0.025, 0.012, 0.006, 0.003, 0.0015, 0.0005, ALL)
"""The slopes of an evaluation."""

TRIES = 6
"""How often at most a photo goes through the codec to find the slope; what is predicted is near after two."""

SEARCH_PAYS = 0.002
"""The slope from which better bits are searched for, if at all: under it a search is long and gains next to nothing."""

TIMES_MEMORY = 1.3
"""What looking at every position takes beside what the codec alone takes: measured."""

NEAR = 0.01
"""Found, if what may remain of unlikeness or bytes is used up to so small a share."""


def unlikeness(model: ResidualCoder, photo: np.ndarray, iterations: int = MAX_ITERATIONS) -> Iterator[np.ndarray]:
    """How far each position's pixels are from the original after iteration 1, 2, ... if all send all their bits.

    Args:
        model: the networks.
        photo: I, (H, W, 3) uint8.
        iterations: how many.

    Yields:
        (h, w) float32, see `losses.Similarity.local_unlikeness`; the mean of two places of its grid.
    """
    sending = codec.Sending(model)
    sending.times_memory = TIMES_MEMORY
    steps = codec.encode(sending, photo, iterations)  # refuses what is too large
    similarity = Similarity(at_both_places(images.centred(photo)))
    for _, picture in steps:
        yield similarity.local_unlikeness(at_both_places(images.centred(picture))).mean(0).numpy()


def counts(curves: np.ndarray, slope: float) -> np.ndarray:
    """The number of iterations that each position sends, (h, w) int64 from 1: the one with the least total cost.

    None sends more than the photo as a whole can use: an iteration that makes most of it worse is not sent for those
    few positions that it makes better, since they lean on what their neighbours send.

    Args:
        curves: (N, h, w), what `unlikeness` gave.
        slope: what one more iteration must take away from a position's unlikeness to pay; 0: anything; `ALL`: nothing.
    """
    curves = curves[: curves.mean((1, 2)).argmin() + 1]
    sent = np.arange(1, len(curves) + 1)[:, None, None]
    return (curves + slope * sent).argmin(0) + 1


def search_steps(search: int, slope: float) -> int:
    """How many steps an encoder that may take `search` of them (see `Progression`) takes for a file of this slope."""
    return search if slope >= SEARCH_PAYS else 0


def reaching(
    weights: Weights,
    photo: np.ndarray,
    quality: float,
    bit_model="find",
    *,
    iterations: int = MAX_ITERATIONS,
    search: int = 0,
    progress: Callable = lambda steps, total: steps,
) -> Progression:
    """The photo's way into the smallest adaptive file that reaches an MS-SSIM; if none does, into the best one.

    Args:
        weights: a loaded `model.Weights`.
        photo: I, (H, W, 3) uint8, sides over 160 px.
        quality: the MS-SSIM, 0 to 1.
        bit_model: as in `Progression`.
        iterations: how many a position may send.
        search: as in `Progression`; where only a slope under `SEARCH_PAYS` gets there, nothing is searched.
        progress: called with the steps of each way through the codec, and how many they are.

    Raises:
        MetricError: the photo is too small for MS-SSIM.
    """
    metrics.check_ms_ssim(photo)  # better said now than after a minute

    def predicted(curves, sent):
        return float(np.take_along_axis(curves, sent[None] - 1, 0).mean())

    def actual(progression):
        return 1 - progression[len(progression)].ms_ssim

    return _find(weights, photo, bit_model, iterations, search, progress, predicted, actual, 1 - quality, SLOPES)


def fitting(
    weights: Weights,
    photo: np.ndarray,
    limit_bytes: int,
    bit_model="find",
    *,
    iterations: int = MAX_ITERATIONS,
    search: int = 0,
    progress: Callable = lambda steps, total: steps,
) -> Progression:
    """The photo's way into the best adaptive file that is not larger than so many bytes; if all are, the smallest.

    The other arguments are those of `reaching`.
    """

    def predicted(_, sent):
        return float(sent.sum()) * weights.model.config.bits / 8

    def actual(progression):
        return progression[len(progression)].size_bytes

    return _find(weights, photo, bit_model, iterations, search, progress, predicted, actual, limit_bytes, SLOPES[::-1])


def _find(weights, photo, bit_model, iterations, search, progress, predicted, actual, limit, slopes) -> Progression:
    """Of these slopes, each of which leads to as much as the one before or more, the last that keeps within the limit.

    If the first one leads beyond it already, that is what comes back; where nothing else was within, it is tried last.

    What is predicted and what comes out are nearly in proportion, so each time the next prediction is put right; once
    one was within and one beyond, a straight line between them says where the limit lies.
    """
    if search:
        machine.check_memory(weights.model.config, *photo.shape[:2], Searching.times_memory)
    curves = np.stack(list(progress(unlikeness(weights.model, photo, iterations), iterations)))
    choices = {sent.tobytes(): (sent, slope) for sent, slope in ((counts(curves, slope), slope) for slope in slopes)}
    choices = list(choices.values())
    forecasts = np.array([predicted(curves, sent) for sent, _ in choices]).clip(1e-9)
    best, least, proportion, within, over, came = None, None, 1.0, -1, len(choices), {}
    for left in reversed(range(TRIES)):
        aim = limit / proportion
        if within in came and over in came:
            share = (limit - came[within]) / (came[over] - came[within])
            aim = forecasts[within] + share * (forecasts[over] - forecasts[within])
        k = int(np.searchsorted(forecasts, aim, side="right")) - 1
        k = min(max(k, within + 1), over - 1) if best or left else 0
        if not within < k < over:
            break
        sent, slope = choices[k]
        progression = Progression(weights, photo, bit_model, sent, search_steps(search, slope))
        longest = int(sent.max())
        for _ in progress(progression.run(longest), longest):
            pass
        reached = came[k] = actual(progression)
        if reached <= limit:
            best, within = progression, k
            if reached > (1 - NEAR) * limit:
                break
        else:
            least, over = progression, k
        proportion = reached / forecasts[k]
    return best or least
