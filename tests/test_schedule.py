"""The schedule: which of two limits ends it, the learning rate by hand, and a running mean that starts quickly."""

import pytest
import torch
from torch import nn

from rgru_lab.config import TrainingError
from rgru_lab.schedule import Schedule, averaged, state_copy


@pytest.mark.parametrize(("steps", "seconds"), [(None, None), (0, 0.0), (-1, None), (None, -2.0)])
def test_a_training_without_a_length_is_refused(steps, seconds):
    with pytest.raises(TrainingError, match="say how long to train"):
        Schedule(steps, seconds)


@pytest.mark.parametrize(
    ("done", "elapsed_s", "progress"), [(0, 0.0, 0.0), (5, 0.0, 0.5), (1, 15.0, 0.75), (10, 1.0, 1.0), (0, 30.0, 1.0)]
)
def test_whichever_ends_first_says_how_far_it_is(done, elapsed_s, progress):
    schedule = Schedule(10, 20.0)
    schedule.step_count, schedule.elapsed_s = done, elapsed_s
    assert schedule.progress == progress
    assert schedule.finished == (progress == 1)


@pytest.mark.parametrize(("done", "rate"), [(0, 0.2), (49, 0.01 + 0.99 / 2), (100, 0.01)])
def test_the_learning_rate_by_hand(done, rate):
    schedule = Schedule(100) if done else Schedule(time_budget_s=1.0)
    schedule.step_count = done + (done == 49)
    assert schedule.learning_rate(3.0, 5) == pytest.approx(3 * rate)


def test_the_running_mean_leaves_the_start_sooner_than_its_decay_says():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    average, schedule = state_copy(network), Schedule(100)
    nn.init.ones_(network.weight)
    assert average["weight"].item() == 0  # a copy
    schedule.step_count = 10
    schedule.follow(average, network, 0.9)
    assert average["weight"].item() == pytest.approx(1 - 10 / 20)
    schedule.step_count = 1000
    schedule.follow(average, network, 0.9)
    assert average["weight"].item() == pytest.approx(1 - 0.5 * 0.9)
    assert not average["weight"].requires_grad
    assert isinstance(average["weight"], torch.Tensor)


def test_the_copy_that_is_kept_is_the_network_as_it_is_but_for_its_weights():
    network = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Dropout()).to(memory_format=torch.channels_last)
    network[0].padding_mode = "reflect"  # changed in place: no constructor knows
    average = state_copy(network)
    network(torch.rand(1, 2, 4, 4)).sum().backward()
    with torch.no_grad():
        network[0].weight.add_(1)
    before = torch.get_rng_state()
    kept = averaged(network, average)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(kept[0].weight, average["0.weight"])
    assert torch.equal(network[0].weight, average["0.weight"] + 1)
    assert kept[0].padding_mode == "reflect"
    assert kept[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert kept[0].weight.grad is None
    assert not kept.training
    assert network.training
