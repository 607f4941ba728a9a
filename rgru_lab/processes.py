"""Several processes train one codec: how they meet and part, who is who, and what they tell each other.

A process that is alone need not know: it is number 0 of 1, and what it says is what all say.
"""

import os

import torch
from torch import distributed


def join() -> str:
    """Meet the other processes that `torchrun` started, if it did; returns this one's device.

    One process per GPU talks over NCCL; without GPUs all compute on the CPU and talk over gloo.
    """
    cuda = torch.cuda.is_available()
    if "LOCAL_RANK" not in os.environ:
        return "cuda" if cuda else "cpu"
    device = f"cuda:{os.environ['LOCAL_RANK']}" if cuda else "cpu"
    if cuda:
        torch.cuda.set_device(device)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if cuda else "gloo")
    return device


def leave():
    """Part from the others, if there are any: a process that ends while their threads still run may be aborted."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def place() -> tuple[int, int]:
    """(this process's number from 0, how many there are)."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()


def largest(*values: float) -> list[float]:
    """Each value's maximum over all processes."""
    if place()[1] == 1:
        return list(values)
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(tensor, distributed.ReduceOp.MAX)
    return tensor.tolist()


def gather(value) -> list:
    """Everybody's value, in the order of the processes."""
    values = [value] * place()[1]
    if len(values) > 1:
        distributed.all_gather_object(values, value)
    return values
