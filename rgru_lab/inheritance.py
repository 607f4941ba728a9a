"""Weights out of other weights: of a model of another size, or of several trainings."""

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict, replace

import torch
from torch.nn import functional as F

from rgru_lab.config import WEIGHTLESS
from rgru_lab.model import ResidualCoder, WeightsError


def take_over(old: ResidualCoder, new: ResidualCoder):
    """Put trained weights into a model of other channel counts.

    A model with as many or more channels computes what they computed: what each layer has more than before gets the new
    model's own, random weights; the old channels do not look at the new ones yet (those weights are 0), but the new
    ones look at all, so training can make use of them at once.

    Where there are fewer channels only the first ones stay, of a larger `hidden_kernel` its middle, or, where 1 x 1 is
    asked for, the sum over its places. Any of these leaves something else, which training has to mend; so does another
    value of what no weight belongs to (`config.WEIGHTLESS`).

    Args:
        old: the trained model.
        new: the model to be filled, in place.

    Raises:
        WeightsError: the two differ in more than that, or in the sizes of associative cells, whose keys would move.
    """
    shapes = [asdict(replace(model.config, **dict.fromkeys(WEIGHTLESS, 0))) for model in (old, new)]
    sizes = [[shape.pop(name) for name in ("encoder", "decoder", "hidden_kernel")] for shape in shapes]
    if shapes[0] != shapes[1] or (sizes[0] != sizes[1] and old.config.cell == "associative-lstm"):
        raise WeightsError(f"weights of {old.config} do not fit into {new.config}; train a preset of their kind")
    if sizes[0] == sizes[1]:
        new.load_state_dict(old.state_dict())
        return
    cells = {name: module for name, module in new.named_modules() if hasattr(module, "channels")}
    trained = old.state_dict()
    with torch.no_grad():
        for key, value in new.state_dict().items():
            cell = cells.get(key.rsplit(".", 2)[0])
            gates = value.shape[0] // cell.channels if cell else 1  # a fused convolution holds several, one by one
            into = value.view(gates, -1, *value.shape[1:])
            given = trained[key].view(gates, -1, *trained[key].shape[1:])
            outputs = min(into.shape[1], given.shape[1])
            into, given = into[:, :outputs], given[:, :outputs]
            if into.dim() > 2:  # weights, not biases: (gates, out, in, height, width)
                into.zero_()
                more = (into.shape[-1] - given.shape[-1]) // 2
                given = given.sum((-2, -1), keepdim=True) if into.shape[-1] == 1 else F.pad(given, [more] * 4)
                inputs = min(into.shape[2], given.shape[2])
                into, given = into[:, :, :inputs], given[:, :, :inputs]
            into.copy_(given)


def mean(models: Sequence[ResidualCoder], shares: Sequence[float]) -> ResidualCoder:
    """A model whose every weight is the mean of theirs, number by number.

    Of trainings that began with the same weights it is often better than either: the noise of the last steps goes out
    (Wortsman et al. 2022, Model soups). Of weights that never had a common beginning it is worth nothing.

    Args:
        models: two or more of one config.
        shares: how much of each, over 0; they are divided by their sum.

    Raises:
        WeightsError: the configs differ, or the shares are not one for each and over 0.
    """
    if len(models) < 2 or len(shares) != len(models) or not all(0 < share < math.inf for share in shares):
        given = " ".join(map(str, shares))
        raise WeightsError(
            f"a mean of {len(models)} weights with the shares {given}; give two or more, a share over 0 each"
        )
    if other := next((model.config for model in models if model.config != models[0].config), None):
        raise WeightsError(f"weights of {models[0].config} and of {other} have no mean; give weights of one kind")
    averaged = copy.deepcopy(models[0])
    states = [model.state_dict() for model in models]
    total = sum(shares)
    with torch.no_grad():
        for key, value in averaged.state_dict().items():
            value.copy_(sum(share / total * state[key].double() for share, state in zip(shares, states, strict=True)))
    return averaged
