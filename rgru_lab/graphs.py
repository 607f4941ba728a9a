"""A training step's way forward and back as CUDA graphs: recorded once, then played without Python in between.

Ten iterations forward and back are some ten thousand small pieces of work. Python hands them to a GPU one by one, and
slower than a large GPU does them; a graph hands them over all at once. Only the numbers may differ from one playing to
the next, so there is a graph for each shape of batch and for each number of iterations.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Recorded(NamedTuple):
    """One graph and the memory that it reads and writes each time it is played."""

    play: Callable[[], None]
    x: Tensor
    readings: Tensor
    gradients: list[Tensor | None]


class Graphs:
    """Called as what it records, with the same results: readings are returned, gradients lie in the parameters.

    Args:
        work: takes a batch and whole numbers, forgets the former gradients (sets them to None), leaves new ones in the
            parameters, and returns readings as one tensor. It must not look at a number on the device.
        parameters: those that get gradients.
        record: `record`, or what stands in for it where there is no GPU.
    """

    def __init__(self, work: Callable[..., Tensor], parameters: Sequence[nn.Parameter], record: Callable):
        self.work = work
        self.parameters = list(parameters)
        self.record = record
        self.recorded: dict[tuple, Recorded] = {}

    def __call__(self, x: Tensor, *numbers: int) -> Tensor:
        key = (x.shape, *numbers)
        if key not in self.recorded:
            own = x.clone(memory_format=torch.preserve_format)
            play, readings = self.record(lambda: self.work(own, *numbers))
            gradients = [parameter.grad for parameter in self.parameters]
            self.recorded[key] = Recorded(play, own, readings, gradients)
        graph = self.recorded[key]
        graph.x.copy_(x)
        graph.play()
        for parameter, gradient in zip(self.parameters, graph.gradients, strict=True):
            parameter.grad = gradient
        return graph.readings


def record(work: Callable[[], Tensor]) -> tuple[Callable[[], None], Tensor]:
    """What does the work again, into the same memory, and the readings' place there.

    All graphs share one pool of memory: what one leaves there is used up before the next is played.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    # Once as ever: libraries choose their ways here. It is no step, so it must not use up random numbers.
    with torch.cuda.stream(stream), torch.random.fork_rng([torch.cuda.current_device()]):
        work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, pool=_pool()):
        readings = work()
    return graph.replay, readings


@cache
def _pool():
    return torch.cuda.graph_pool_handle()
