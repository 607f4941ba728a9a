"""A step that is played from a record is the step that was recorded; each kind of step has a record of its own."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from rgru_lab.config import ModelConfig, TrainConfig
from rgru_lab.graphs import Graphs
from rgru_lab.training import Trainer

TINY = ModelConfig(encoder=(8, 8, 8, 8), decoder=(4, 8, 8, 8, 8), bits=4, alpha_x=1.0)
RECIPE = TrainConfig(
    curriculum=((0.5, 2, 32, 2), (1.0, 3, 48, 1)), skip=2, loss="ms-ssim", rate=0.5, bf16=False, warmup_steps=1
)


class FakeGraph:
    """Stands in for a CUDA graph: does the work anew, and puts what comes out where the record keeps it."""

    made = 0

    def __init__(self, work, parameters):
        type(self).made += 1
        self.work, self.parameters = work, parameters
        self.readings = work()
        self.gradients = [parameter.grad for parameter in parameters]

    def __call__(self):
        readings = self.work()
        self.readings.copy_(readings)
        for kept, parameter in zip(self.gradients, self.parameters, strict=True):
            if kept is not None:
                kept.copy_(parameter.grad)


@pytest.fixture
def pictures(sample):
    return [sample("astronaut", 64, 80), sample("coffee", 48, 64)]


def _recording(trainer):
    """The trainer, playing fake graphs."""
    parameters = [p for group in trainer.optimiser.param_groups for p in group["params"]]

    def record(work):
        graph = FakeGraph(work, parameters)
        return graph, graph.readings

    trainer.passes = Graphs(trainer._passes, parameters, record)
    return trainer


def test_a_training_from_records_is_the_training_without(pictures):
    plain = Trainer(TINY, RECIPE, pictures, steps=12)
    played = _recording(Trainer(TINY, RECIPE, pictures, steps=12))
    FakeGraph.made = 0
    for _ in range(12):
        one, other = plain.step(), played.step()
        assert one[5:] == other[5:]  # loss, residuals, losses, bits per bit
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(played.model.state_dict()[name], value)
    keys = set(played.passes.recorded)
    assert FakeGraph.made == len(keys)
    assert {key[0][-1] for key in keys} == {32, 48}
    assert len({key[2] for key in keys}) > 1  # with and without skipped iterations


def test_each_record_has_its_own_batch_and_its_own_gradients():
    parameter = nn.Parameter(torch.ones(2))

    def work(x, times):
        parameter.grad = None
        loss = (times * x * parameter).sum()
        loss.backward()
        return loss.detach()[None]

    def record(work):
        graph = FakeGraph(work, [parameter])
        return graph, graph.readings

    graphs = Graphs(work, [parameter], record)
    first, second = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0])
    assert graphs(first, 1).item() == 3
    assert parameter.grad.tolist() == [1, 2]
    assert graphs(first, 4).item() == 12
    assert parameter.grad.tolist() == [4, 8]
    assert graphs(second, 1).item() == 8
    assert parameter.grad.tolist() == [3, 5]
    assert len(graphs.recorded) == 2
    assert first.tolist() == [1, 2]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("bf16", [False, True])
def test_cuda_graphs_train_what_a_gpu_trains_without_them(pictures, bf16):
    recipe = replace(RECIPE, bf16=bf16)
    plain = Trainer(TINY, recipe, pictures, steps=12, device="cuda", graphs=False)
    played = Trainer(TINY, recipe, pictures, steps=12, device="cuda")
    assert isinstance(played.passes, Graphs)
    for _ in range(12):
        one, other = plain.step(), played.step()
        assert other.loss == pytest.approx(one.loss, rel=0.02 if bf16 else 1e-3)
        assert other.residuals == pytest.approx(one.residuals, rel=0.02 if bf16 else 1e-3)
        assert other.bits_per_bit == pytest.approx(one.bits_per_bit, rel=0.05 if bf16 else 1e-2)
