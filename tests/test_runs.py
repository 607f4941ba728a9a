"""A training in a folder: what lies there after every way to stop, and that it goes on exactly where it stood."""

import json
import math
import signal
import time

import pytest
import torch

from rgru_lab import runs
from rgru_lab.config import TrainingError
from tests.teachers import load, same, values


def test_what_was_logged_after_the_last_checkpoint_is_not_logged_twice(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "LOG_EVERY", 2)
    steps = runs.run(trainer(steps=9), tmp_path)
    for _ in range(4):
        next(steps)
    steps.close()
    log = tmp_path / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    more = [lines[-1].replace('"step": 4', f'"step": {step}') for step in (6, 8)]
    damaged = ['{"a": 1}\n', "[1]\n", more[0][:20]]
    log.write_bytes("".join([*lines, *more, *damaged]).encode() + b"\xff\n" + lines[0].strip().encode())  # killed
    resumed = trainer(steps=9)
    load(resumed, tmp_path)
    list(runs.run(resumed, tmp_path))
    found = [json.loads(line)["step"] for line in log.read_text(encoding="utf-8").splitlines()]
    assert found == [2, 4, 6, 8, 9]


def test_a_folder_with_a_later_checkpoint_is_left_alone(trainer, tmp_path):
    list(runs.run(trainer(steps=3), tmp_path))
    with pytest.raises(TrainingError, match="holds a checkpoint of step 3, and this training is at step 0; load that"):
        next(runs.run(trainer(steps=5), tmp_path))
    assert [p.name for p in tmp_path.glob("*.pt")] == ["checkpoint-00000003-1of1.pt"]


def test_a_run_that_is_closed_early_leaves_a_checkpoint_to_go_on_from(trainer, tmp_path):
    steps = runs.run(trainer(steps=5), tmp_path / "a" / "b")
    next(steps), next(steps)
    steps.close()
    resumed = trainer(steps=5)
    load(resumed, tmp_path / "a" / "b")
    assert resumed.step_count == 2
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["checkpoint-00000002-1of1.pt"]


def test_a_run_to_the_end_leaves_a_checkpoint_and_a_log_and_nothing_else(trainer, tmp_path):
    teacher = trainer(steps=3)
    records = list(runs.run(teacher, tmp_path, save_every_s=0))
    assert [r.step for r in records] == [1, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-00000003-1of1.pt", "log.jsonl"]
    (line,) = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == json.loads(json.dumps(records[-1]._asdict()))


def test_a_run_writes_its_checkpoints_in_parts_of_the_stated_size(trainer, tmp_path):
    teacher = trainer(steps=2)
    list(runs.run(teacher, tmp_path, save_every_s=0, part_bytes=10_000))
    parts = list(tmp_path.glob("checkpoint-00000002-*.pt"))
    assert len(parts) > 2
    assert max(part.stat().st_size for part in parts) == 10_000
    assert len(list(tmp_path.glob("*checkpoint*"))) == len(parts)
    resumed = trainer(steps=2)
    load(resumed, tmp_path)
    assert same(values(resumed), values(teacher))


def test_a_run_saves_as_often_as_it_is_told(trainer, tmp_path, monkeypatch):
    """Half a minute a step; a checkpoint a minute, so that a kill loses a minute at most."""
    clock = iter(range(0, 10_000, 30))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    found = []
    for record in runs.run(trainer(steps=9), tmp_path):
        found.append([int(p.name.split("-")[1]) for p in tmp_path.glob("checkpoint*")])
        assert record.step - (found[-1] or [0])[0] <= 2
    assert found[-1] > found[3] > [0]


def test_a_run_that_diverges_leaves_the_last_good_checkpoint_alone(trainer, tmp_path, monkeypatch):
    teacher = trainer()
    steps = runs.run(teacher, tmp_path, save_every_s=0)
    next(steps)
    monkeypatch.setattr(teacher.patches, "draw", lambda size, count: torch.full((count, 3, size, size), math.nan))
    with pytest.raises(TrainingError, match="step 1"):
        next(steps)
    resumed = trainer()
    load(resumed, tmp_path)
    assert resumed.step_count == 1
    assert all(torch.isfinite(v).all() for v in values(resumed))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step_waits_for_its_end(trainer, tmp_path, monkeypatch, number):
    whole = trainer(steps=5)
    list(runs.run(whole, tmp_path / "whole"))
    cut = trainer(steps=5)
    before = signal.getsignal(number)
    draw = cut.patches.draw
    monkeypatch.setattr(cut.patches, "draw", lambda *size: (signal.raise_signal(number), draw(*size))[1])
    with pytest.raises(KeyboardInterrupt):
        list(runs.run(cut, tmp_path / "cut"))
    assert signal.getsignal(number) is before
    resumed = trainer(steps=5)
    load(resumed, tmp_path / "cut")
    assert resumed.step_count == 1
    list(runs.run(resumed, tmp_path / "cut"))
    assert same(values(resumed), values(whole))
