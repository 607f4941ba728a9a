"""Trials: one change at a time, each with its own short training; rows that survive a stop; a table of all seeds."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rgru_lab import __main__ as cli
from rgru_lab import codec, images, machine, metrics, model, trials
from rgru_lab import photos as names
from rgru_lab.config import NAME_LIMIT, InputError, TrainConfig, preset

RECIPE, step_s = trials.RECIPE, trials._step_s
READINGS = ("question", "setting", "budget", "seed", "steps", "parameters", "mean_abs_residual", "ms_ssim", "torch")
ADDITIVE = trials.Trial("reconstruction", "additive", {"reconstruction": "additive"})
each_trial = pytest.mark.parametrize(
    "trial", [t for t in trials.TRIALS if t.budget == "steps"], ids=lambda t: f"{t.question}, {t.setting}"
)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Trainings of four steps on patches of 32 px, measured on 48 px after one and two iterations; none is timed."""
    monkeypatch.setenv(machine.BF16_VARIABLE, "0")
    monkeypatch.setattr(trials, "STEPS", 4)
    monkeypatch.setattr(trials, "CROP", 48)
    monkeypatch.setattr(trials, "SHOWN", (1, 2))
    recipe = replace(trials.RECIPE, curriculum=((0.25, 1, 32, 1), (1.0, 2, 32, 1)), warmup_steps=2)
    monkeypatch.setattr(trials, "RECIPE", recipe)
    monkeypatch.setattr(trials, "_step_s", lambda *_: 0.5)


@pytest.fixture(scope="module")
def photos(sample):
    return [sample("astronaut", 144, 160), sample("coffee", 144, 144)]


@pytest.fixture(scope="module")
def validation(sample):
    return [sample("chelsea", 60, 70), sample("rocket", 48, 48)]


def _run(photos, validation, folder, *, weights=None):
    return trials.run(
        photos, validation, folder / "trials.json", weights, (trials.COMMON, ADDITIVE), data="four photos"
    )


def _readings(rows):
    """All that must be the same every time: no seconds."""
    return [[row[key] for key in READINGS] for row in rows]


@pytest.fixture
def trained(monkeypatch):
    """The settings and seeds that are trained from now on."""
    seen, one = [], trials._one

    def counted(trial, seed, *rest):
        seen.append((trial.setting, seed))
        return one(trial, seed, *rest)

    monkeypatch.setattr(trials, "_one", counted)
    return seen


def test_a_stopped_run_goes_on_without_training_again_what_is_there(photos, validation, tmp_path, trained):
    whole = list(_run(photos, validation, tmp_path))
    wanted = [(trial.setting, seed) for trial in (trials.COMMON, ADDITIVE) for seed in trials.SEEDS]
    assert trained == wanted
    assert json.loads((tmp_path / "trials.json").read_text(encoding="utf-8")) == whole

    trained.clear()
    (tmp_path / "b").mkdir()
    first = _run(photos, validation, tmp_path / "b")
    kept = [next(first), next(first), next(first)]
    first.close()
    assert json.loads((tmp_path / "b" / "trials.json").read_text(encoding="utf-8")) == kept
    assert trained == wanted[:3]

    again = list(_run(photos, validation, tmp_path / "b"))
    assert trained == wanted
    assert again[:3] == kept
    assert json.loads((tmp_path / "b" / "trials.json").read_text(encoding="utf-8")) == again
    assert _readings(again) == _readings(whole)  # and all is decided by the seeds


def test_a_trial_that_came_later_stands_at_its_place_in_the_table(photos, validation, tmp_path, monkeypatch):
    first, between, last = trials.TRIALS[:3]
    rows = [
        {"question": trial.question, "setting": trial.setting, "budget": trial.budget, "seed": seed}
        for trial in (first, last)
        for seed in trials.SEEDS
    ]
    (tmp_path / "trials.json").write_text(json.dumps(rows), encoding="utf-8")
    made = {"question": between.question, "setting": between.setting, "budget": between.budget}
    monkeypatch.setattr(trials, "_one", lambda trial, seed, *rest: made | {"seed": seed})
    every = (first, between, last)
    found = list(trials.run(photos, validation, tmp_path / "trials.json", None, every, data="two photos"))
    assert json.loads((tmp_path / "trials.json").read_text(encoding="utf-8")) == found
    assert [row["setting"] for row in found[2:4]] == [between.setting] * 2


def test_a_row_says_what_was_trained_and_how_near_it_comes(photos, validation, tmp_path):
    a, b, *_ = _run(photos, validation, tmp_path)
    assert (a["question"], a["setting"]) == (trials.COMMON.question, trials.COMMON.setting)
    assert (a["seed"], b["seed"]) == trials.SEEDS
    assert a["steps"] == 4
    assert a["parameters"] == sum(p.numel() for p in model.ResidualCoder(trials.MODEL).parameters())
    assert len(a["mean_abs_residual"]) == len(a["ms_ssim"]) == 2
    assert a["mean_abs_residual"] != b["mean_abs_residual"]
    assert a["cpu_seconds_per_step"] == 0.5


def test_the_processor_seconds_of_a_step_are_measured(photos):
    assert step_s(trials.COMMON, 0, photos) > 0


def test_readings_are_the_mean_over_all_validation_photographs_of_the_8_bit_pictures(sample, weights, monkeypatch):
    """The middle of each, coded one by one; nine are one more than are measured at once."""
    monkeypatch.setattr(trials, "CROP", 176)
    sizes, names = ((176, 176), (180, 191), (231, 200)), ("astronaut", "coffee", "rocket")
    validation = [sample(name, *size) for size in sizes for name in names]
    residuals, similarities = trials._measure(weights.model, torch.cat([trials._middle(p) for p in validation]))
    by_hand = []
    for photo in validation:
        top, left = (photo.shape[0] - 176) // 2, (photo.shape[1] - 176) // 2
        crop = photo[top : top + 176, left : left + 176]
        shown = [picture for _, picture in codec.encode(weights.model, crop, 2)]
        by_hand.append([[measure(crop, p) for p in shown] for measure in (metrics.mean_abs_residual, metrics.ms_ssim)])
    expected = np.mean(by_hand, 0)
    assert residuals == pytest.approx(expected[0], abs=2e-3)
    assert similarities == pytest.approx(expected[1], abs=1e-4)


def test_a_validation_photograph_that_is_too_small_is_named_before_anything_is_trained(
    photos, noise, tmp_path, trained
):
    with pytest.raises(InputError, match=r"has 60 x 47 px; leave out those with a side under 48"):
        next(_run(photos, [noise(47, 60)], tmp_path))
    assert trained == []


# The settings


@each_trial
def test_every_setting_builds_a_trainer_and_makes_a_step(photos, trial):
    teacher = trials._trainer(trial, 0, photos, steps=4)
    before = [value.clone() for value in teacher.model.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(before, teacher.average.values(), strict=True))
    assert np.isfinite(teacher.step().loss)
    assert any(not torch.equal(a, b) for a, b in zip(before, teacher.model.state_dict().values(), strict=True))


def test_every_setting_asks_something_else():
    keys = [(trial.question, trial.setting, trial.budget) for trial in trials.TRIALS]
    assert len(set(keys)) == len(keys)
    changes = [(str(t.model), str(t.recipe), t.prepare, t.restart, t.budget) for t in trials.TRIALS]
    assert len(set(changes)) == len(changes)
    assert trials.TRIALS[0] is trials.COMMON


@each_trial
def test_every_setting_differs_from_the_common_one(trial):
    if trial is trials.COMMON:
        return
    changed = trial.prepare or trial.restart
    changed = changed or replace(trials.MODEL, **trial.model) != trials.MODEL
    assert changed or replace(RECIPE, **trial.recipe) != RECIPE


def test_a_setting_that_begins_anew_half_way_trains_to_the_end(photos, validation, tmp_path, monkeypatch):
    """Half the steps each in two trainers: one begins with the other's averaged weights, and its own are measured."""
    made, begun, measured = [], [], []

    class Watched(trials.Trainer):
        def __init__(self, *given, **options):
            super().__init__(*given, **options)
            made.append(self)

        def start_from(self, weights):
            super().start_from(weights)
            begun.append({name: value.clone() for name, value in self.model.state_dict().items()})

    monkeypatch.setattr(trials, "Trainer", Watched)
    monkeypatch.setattr(trials, "_measure", lambda coder, crops: measured.append(coder.state_dict()) or ([1.0], [0.5]))
    (trial,) = [trial for trial in trials.TRIALS if trial.restart]
    next(trials.run(photos, validation, tmp_path / "trials.json", trials=(trial,), data="four photos"))
    first, second = made
    assert (first.step_count, second.step_count, second.finished) == (2, 2, True)
    assert _same(begun[0], first.average)
    assert not _same(begun[0], first.model.state_dict())
    assert _same(measured[0], second.average)
    assert not _same(measured[0], begun[0])


def _same(a, b):
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def test_with_a_budget_of_seconds_a_slow_setting_makes_fewer_steps(photos, validation, tmp_path, monkeypatch):
    """A step of 0.5 s against 0.25 s of the common setting: 2 steps instead of 4."""
    monkeypatch.setattr(trials, "_step_s", lambda trial, *_: 0.25 if trial is trials.COMMON else 0.5)
    slow = replace(ADDITIVE, budget="seconds")
    rows = list(trials.run(photos, validation, tmp_path / "trials.json", trials=(ADDITIVE, slow), data="four photos"))
    assert [row["steps"] for row in rows] == [4, 4, 2, 2]


# Changes that no config offers


@pytest.fixture
def coder(make_coder):
    """Random weights with biases that are not 0."""
    return make_coder()


def _convs(coder):
    return {name: module for name, module in coder.named_modules() if isinstance(module, nn.Conv2d)}


@pytest.mark.parametrize("mode", ["reflect", "replicate"])
def test_padding_reaches_every_convolution_that_sees_a_neighbour(coder, mode):
    trials.padding(mode)(coder)
    for name, conv in _convs(coder).items():
        assert conv.padding_mode == (mode if conv.kernel_size[0] > 1 else "zeros"), name


@pytest.mark.parametrize("make", [trials.depthwise, trials.factorised])
def test_cheaper_memories_see_as_far_and_learn(photos, make):
    trainer = trials._trainer(trials.Trial("memory", "cheaper", prepare=trials.cheaper(make)), 0, photos, steps=4)
    cells = (trainer.model.decoder.cell3, trainer.model.decoder.cell4)
    before = [value.clone() for cell in cells for name, value in cell.state_dict().items() if name.startswith("U")]
    for _ in range(3):  # the first unrolls one iteration, which has no memory
        trainer.step()
    after = [value for cell in cells for name, value in cell.state_dict().items() if name.startswith("U")]
    assert len(after) == 8
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    for cell in cells:
        dot = torch.zeros(1, cell.channels, 5, 5)
        dot[:, :, 2, 2] = 1
        for memory, channels in ((cell.U_gates, 2 * cell.channels), (cell.U, cell.channels)):
            seen = memory(dot)
            assert seen.shape == (1, channels, 5, 5)
            assert (seen.ne(0).any(1)[0] == torch.nn.functional.pad(torch.ones(3, 3), (1,) * 4).bool()).all()


def test_the_model_that_is_measured_has_the_padding_of_the_one_that_was_trained(
    photos, validation, tmp_path, monkeypatch
):
    measured = []
    monkeypatch.setattr(trials, "_measure", lambda coder, crops: measured.append(coder) or ([1.0], [0.5]))
    reflect = next(trial for trial in trials.TRIALS if trial.setting == "reflect")
    next(trials.run(photos, validation, tmp_path / "trials.json", trials=(reflect,), data="four photos"))
    assert {conv.padding_mode for conv in _convs(measured[0]).values() if conv.kernel_size[0] > 1} == {"reflect"}


def test_a_gate_bias_moves_the_biases_of_all_update_gates_and_no_others(coder, make_coder):
    with torch.no_grad():
        trials.gate_bias(-1.0)(coder)
    moved = 0
    for (name, value), old in zip(coder.state_dict().items(), make_coder().state_dict().values(), strict=True):
        if name.endswith(".W.bias") and "cell" in name:
            third = len(value) // 3
            assert (value[:third] == -1).all()
            assert torch.equal(value[third:], old[third:])
            moved += 1
        else:
            assert torch.equal(value, old), name
    assert moved == 7


def test_orthogonal_weights_read_the_memory_without_stretching_it(coder):
    torch.manual_seed(0)
    with torch.no_grad():
        trials.orthogonal(coder)
    memories = 0
    for name, conv in _convs(coder).items():
        outputs = conv.weight.shape[0]
        matrix = conv.weight.detach().reshape(outputs, -1).double()
        if name.split(".")[-1] in ("U", "U_gates"):
            gram = matrix @ matrix.T if outputs <= matrix.shape[1] else matrix.T @ matrix
            torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=1e-5)
            memories += 1
        else:
            area = conv.kernel_size[0] ** 2
            bound = (6 / ((conv.in_channels + outputs) * area)) ** 0.5
            assert matrix.abs().max() <= bound, name
            assert matrix.numel() < 100 or matrix.abs().max() > 0.9 * bound, name
        assert conv.bias is None or (conv.bias == 0).all()
    assert memories == 14


# What is kept


def test_the_weights_of_the_comparison_of_cells_are_kept_and_load(photos, validation, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "SEEDS", (1,))
    cell = next(trial for trial in trials.TRIALS if trial.model.get("cell") == "lstm")
    other = next(trial for trial in trials.TRIALS if trial.question == "gain")
    seconds = replace(cell, budget="seconds")
    monkeypatch.setattr(trials, "_step_s", lambda trial, *_: 0.25 if trial is trials.COMMON else 0.5)
    folder = tmp_path / "kept"
    list(
        trials.run(
            photos, validation, tmp_path / "t.json", folder, (trials.COMMON, cell, other, seconds), data="four photos"
        )
    )
    assert sorted(path.name for path in folder.iterdir()) == ["lstm-s1.safetensors", "resgru-s1.safetensors"]
    loaded = model.load(folder / "lstm-s1.safetensors")
    assert loaded.model.config == replace(preset("micro"), cell="lstm")
    assert loaded.record["steps"] == 4
    assert TrainConfig(**loaded.record["config"]).seed == 1


def test_names_of_kept_weights_fit_into_a_files_header_and_are_all_different():
    kept = [t for t in trials.TRIALS if t.question == "cell and reconstruction" and t.budget == "steps"]
    names = [f"{trials._short(trial)}-s{seed}" for trial in (trials.COMMON, *kept) for seed in trials.SEEDS]
    assert len(names) >= 10
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= NAME_LIMIT
    assert all(Path(name).name == name for name in names)


# The table


def _row(question, setting, seed, residuals, similarity, *, budget="steps", steps=200, seconds=0.1):
    keys = ("question", "setting", "seed", "mean_abs_residual", "ms_ssim", "budget", "steps", "cpu_seconds_per_step")
    return dict(zip(keys, (question, setting, seed, residuals, [0.1, similarity], budget, steps, seconds), strict=True))


def test_the_table_has_one_line_per_setting_with_all_seeds():
    rows = [
        _row("gain", "1", 0, [20.0, 15.04], 0.85, seconds=0.1),
        _row("gain", "1", 1, [21.0, 16.0], 0.86, seconds=0.3),
        _row("cell", "lstm", 0, [30.0, 25.0], 0.7),
        _row("cell", "lstm", 0, [32.0, 27.0], 0.6, budget="seconds", steps=90),
        _row("cell", "lstm", 1, [33.0, 28.0], 0.5, budget="seconds", steps=80),
    ]
    assert trials.table(rows).splitlines() == [
        "| question | setting | steps | mean \\|R[i]\\| after 1, 2 | MS-SSIM after 2 | CPU s a step |",
        "|---|---|---|---|---|---|",
        "| gain | 1 | 200 | 20.0 / 21.0 · 15.0 / 16.0 | 0.8500 / 0.8600 | 0.200 |",
        "| cell | lstm | 200 | 30.0 · 25.0 | 0.7000 | 0.100 |",
        "| cell | lstm | 90 / 80 | 32.0 / 33.0 · 27.0 / 28.0 | 0.6000 / 0.5000 | 0.100 |",
    ]


def test_every_question_has_a_decision_and_both_are_in_the_document():
    assert set(trials.DECISIONS) == {trial.question for trial in trials.TRIALS}
    rows = [_row("gain", "1", 0, [20.0, 15.0], 0.85)]
    text = trials.document(rows)
    assert trials.table(rows) in text
    assert all(f"- **{question}**: {decision}" in text for question, decision in trials.DECISIONS.items())


# The command


@pytest.fixture
def folder(tmp_path, photos, validation):
    """Photographs to train on, and one that is kept for validation."""
    kept = sorted(names.validation_names())[0]
    for name, photo in (("a.png", photos[0]), ("b.png", photos[1]), (kept, validation[0])):
        (tmp_path / "photos").mkdir(exist_ok=True)
        (tmp_path / "photos" / name).write_bytes(images.encode_png(photo))
    return tmp_path / "photos"


def test_the_command_measures_on_validation_photographs_alone_and_writes_rows_and_document(
    capsys, monkeypatch, folder, photos, validation, tmp_path
):
    given, run = [], trials.run

    def few(*arguments, data):
        given.append(arguments)
        return run(*arguments, trials=(trials.COMMON,), data=data)

    monkeypatch.setattr(trials, "run", few)
    out = tmp_path / "out"
    assert cli.main(["trials", "--images", str(folder), "--output", str(out)]) == 0
    ((trained_on, measured_on, results, weights),) = given
    assert [photo.shape for photo in trained_on] == [photo.shape for photo in photos]
    assert np.array_equal(measured_on[0], validation[0])
    assert len(measured_on) == 1
    assert weights is None
    rows = json.loads(results.read_text(encoding="utf-8"))
    assert [row["seed"] for row in rows] == list(trials.SEEDS)
    assert (out / "training.md").read_text(encoding="utf-8") == trials.document(rows)
    assert trials.table(rows) in capsys.readouterr().out


def test_without_validation_photographs_the_command_refuses(capsys, folder, tmp_path):
    for path in folder.iterdir():
        path.rename(path.with_name(f"x{path.name}"))
    assert cli.main(["trials", "--images", str(folder), "--output", str(tmp_path)]) == 2
    assert "none of the photographs named in data/validation.txt" in capsys.readouterr().err
