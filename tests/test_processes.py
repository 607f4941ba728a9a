"""Two processes make one training: the same weights, patches of their own, one checkpoint, and one end."""

import datetime
import math
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from rgru_lab import checkpoints, processes, runs
from rgru_lab.config import TrainConfig, TrainingError
from rgru_lab.training import Trainer
from tests.teachers import RECIPE, TINY, load, same, values

TOGETHER = {**RECIPE, "stochastic": True, "curriculum": ((0.5, 1, 32, 1), (1.0, 2, 32, 1))}


def _one_of_two(rank, folder):
    """What each of two processes does; it writes what it found for the tests to look at."""
    torch.set_num_threads(1)
    meet = f"file://{folder / 'meet'}"
    limit = datetime.timedelta(seconds=60)
    distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=2, timeout=limit)
    pictures = list(np.load(folder / "pictures.npy"))
    found = {"writes": 0}
    write = checkpoints.write

    def counted(*words, **options):
        found["writes"] += 1
        write(*words, **options)

    checkpoints.write = counted

    def make(steps=6, model=TINY, **changes):
        return Trainer(model, TrainConfig(**{**TOGETHER, **changes}), pictures, steps=steps)

    joined = make(curriculum=RECIPE["curriculum"], stochastic=False)
    batch = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(5)) - 0.5
    found["loss"] = joined.step(batch[2 * rank : 2 * rank + 2]).loss
    found["joined"] = joined.model.state_dict()
    found["gradients"] = [p.grad.clone() for p in joined.model.parameters()]

    gains = make(model=replace(TINY, reconstruction="residual-scaled"))  # its network is not used in the first stage
    found["gains"] = [len(gains.step().residuals) for _ in range(6)]

    rated = make(
        rate=1.0, skip=2, curriculum=RECIPE["curriculum"]
    )  # of what predicts the bits each step uses another part
    needed = [rated.step().bits_per_bit for _ in range(6)]
    found["rated"], found["needed"] = values(rated), needed

    whole = make()
    found["drawn"] = whole.patches.draw(32, 1)
    whole = make()
    list(runs.run(whole, folder / "whole"))
    first = make()
    steps = runs.run(first, folder / "run")
    for _ in range(3):
        next(steps)
    steps.close()
    distributed.barrier()
    found["state"] = checkpoints.read(folder / "run")["random"]
    second = make()
    load(second, folder / "run")
    found["elapsed_s"] = second.elapsed_s
    list(runs.run(second, folder / "resumed"))
    found["whole"], found["resumed"] = values(whole), values(second)

    stopped = make()
    if rank == 1:  # the signal comes to one of them only
        draw = stopped.patches.draw
        stopped.patches.draw = lambda *size: (signal.raise_signal(signal.SIGTERM), draw(*size))[1]
    try:
        list(runs.run(stopped, folder / "stopped"))
    except KeyboardInterrupt:
        found["stopped"] = stopped.step_count

    broken = make()
    try:
        broken.step(torch.full((1, 3, 32, 32), math.nan if rank else 0.0))
    except TrainingError as error:
        found["diverged"] = str(error)

    torch.save(found, folder / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory, sample):
    """What two processes found, and the folder in which they met."""
    folder = tmp_path_factory.mktemp("two")
    np.save(folder / "pictures.npy", [sample("astronaut", 48, 64), sample("coffee", 48, 64)])
    started = multiprocessing.spawn(_one_of_two, (folder,), nprocs=2, join=False)
    try:
        end = time.monotonic() + 120
        while not started.join(timeout=1):
            assert time.monotonic() < end, "two processes wait for each other"
    finally:
        for process in started.processes:
            process.kill()
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_processes_make_the_step_of_one_on_the_joined_batch(two, pictures):
    _, found = two
    alone = Trainer(TINY, TrainConfig(**RECIPE), pictures, steps=6)
    batch = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(5)) - 0.5
    before = [value.clone() for value in alone.model.state_dict().values()]
    loss = alone.step(batch).loss
    assert found[0]["loss"] != found[1]["loss"]
    assert (found[0]["loss"] + found[1]["loss"]) / 2 == pytest.approx(loss, abs=1e-6)
    for gradient, parameter in zip(found[0]["gradients"], alone.model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-6)
    after = list(alone.model.state_dict().values())
    for theirs, ours, start in zip(found[0]["joined"].values(), after, before, strict=True):
        assert not torch.equal(ours, start)
        torch.testing.assert_close(theirs, ours, rtol=0, atol=2e-6)


def test_both_processes_have_the_same_weights_after_a_step_and_after_a_training(two):
    _, (a, b) = two
    assert same(list(a["joined"].values()), list(b["joined"].values()))
    assert same(a["whole"], b["whole"])


def test_each_process_draws_patches_of_its_own_and_both_random_states_are_in_the_checkpoint(two):
    _, (a, b) = two
    assert not torch.equal(a["drawn"], b["drawn"])
    states = a["state"]
    assert len(states) == 2
    assert not torch.equal(states[0]["patches"], states[1]["patches"])
    assert not torch.equal(states[0]["torch"], states[1]["torch"])


def test_two_processes_resume_bit_for_bit(two):
    _, (a, b) = two
    assert same(a["whole"], a["resumed"])
    assert same(b["whole"], b["resumed"])
    assert a["elapsed_s"] == b["elapsed_s"] > 0


def test_the_first_process_alone_writes(two):
    folder, found = two
    assert found[0]["writes"] > 0
    assert found[1]["writes"] == 0
    assert sorted(p.name for p in (folder / "whole").iterdir()) == ["checkpoint-00000006-1of1.pt", "log.jsonl"]
    assert len((folder / "whole" / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_a_gain_network_that_a_stage_does_not_use_holds_nothing_up(two):
    assert [one["gains"] for one in two[1]] == [[1, 1, 1, 1, 2, 2]] * 2


def test_with_a_rate_both_processes_learn_the_same_model_of_the_bits_from_bits_of_their_own(two):
    _, (a, b) = two
    assert same(a["rated"], b["rated"])
    assert a["needed"] != b["needed"]
    assert [len(bits) for bits in a["needed"]] == [2, 2, 2, 2, 3, 3]  # one iteration was skipped in two steps


def test_a_signal_to_one_process_stops_both_after_the_same_step_with_a_checkpoint(two):
    folder, found = two
    assert [one["stopped"] for one in found] == [1, 1]
    assert checkpoints.read(folder / "stopped")["step_count"] == 1


def test_what_is_not_finite_in_one_process_stops_both(two):
    assert all("diverged at step 0" in one["diverged"] for one in two[1])


def test_resuming_with_another_number_of_processes_is_refused(two, pictures):
    folder, _ = two
    alone = Trainer(TINY, TrainConfig(**TOGETHER), pictures, steps=6)
    before = [value.clone() for value in values(alone)]
    with pytest.raises(TrainingError, match="made by 2 processes; resume with as many"):
        load(alone, folder / "run")
    assert same(values(alone), before)
    assert alone.step_count == 0


def test_processes_part_and_one_alone_has_nobody_to_part_from():
    processes.leave()
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    processes.leave()
    assert not distributed.is_initialized()
