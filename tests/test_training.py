"""Training learns, follows its schedule, stops before it breaks anything, and goes on exactly where it stood."""

import json
import math
import signal
from itertools import islice

import numpy as np
import pytest
import torch

from rgru_lab import images, training
from rgru_lab.codec import unroll
from rgru_lab.config import ModelConfig, TrainConfig, preset
from rgru_lab.training import Patches, Trainer, TrainingError

TINY = ModelConfig(encoder=(4, 4, 4, 4), decoder=(4, 8, 8, 8, 8), bits=4, alpha_x=1.0)
RECIPE = {"curriculum": ((1.0, 2),), "patch": 32, "batch": 2, "bf16": False, "warmup_steps": 4}


@pytest.fixture(scope="module")
def pictures(sample):
    return [sample("astronaut", 64, 80), sample("coffee", 48, 64)]


@pytest.fixture
def trainer(pictures):
    """trainer(steps=..., model=..., **changes to the recipe)"""

    def make(*, steps=20, model=TINY, **changes):
        return Trainer(model, TrainConfig(**{**RECIPE, **changes}), pictures, steps=steps)

    return make


def _values(trainer):
    """All numbers that training changes, in one list."""
    moments = [value for of in trainer.optimiser.state_dict()["state"].values() for value in of.values()]
    return [*trainer.model.state_dict().values(), *trainer.average.values(), *moments]


def _same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_a_hundred_steps_on_one_batch_at_least_halve_the_loss(trainer):
    teacher = trainer(steps=100, model=preset("micro"), learning_rate=3e-3, warmup_steps=10)
    batch = teacher.patches.draw(4)
    losses = [teacher.step(batch).loss for _ in range(100)]
    assert losses[-1] < losses[0] / 2


def test_the_loss_is_the_mean_of_the_residuals_weighted_by_their_iteration(trainer):
    teacher = trainer()
    batch = teacher.patches.draw(2)
    with torch.no_grad():
        first, state = teacher.model.decode(teacher.model.encode(batch)[0])
        _, memory = teacher.model.encode(batch)
        second, _ = teacher.model.decode(teacher.model.encode(batch - first, memory)[0], state)
    record = teacher.step(batch)
    expected = [float((batch - picture).abs().mean()) for picture in (first, second)]
    assert record.residuals == pytest.approx(expected, abs=1e-6)
    assert record.loss == pytest.approx((expected[0] + 2 * expected[1]) / 3, abs=1e-6)


@pytest.mark.parametrize("stochastic", [False, True], ids=["sign", "drawn"])
def test_an_interrupted_training_ends_bit_for_bit_where_the_uninterrupted_one_does(trainer, tmp_path, stochastic):
    whole = trainer(steps=6, stochastic=stochastic)
    records = [whole.step() for _ in range(6)]

    first = trainer(steps=6, stochastic=stochastic)
    for _ in range(3):
        first.step()
    training.save_checkpoint(first, tmp_path)
    torch.rand(7)  # whatever else drew random numbers in between
    second = trainer(steps=6, stochastic=stochastic)
    training.load_checkpoint(second, tmp_path)
    resumed = [second.step() for _ in range(3)]

    assert _same(_values(whole), _values(second))
    assert [r.residuals for r in resumed] == [r.residuals for r in records[3:]]
    assert [r.learning_rate for r in resumed] == [r.learning_rate for r in records[3:]]
    assert [r.step for r in resumed] == [4, 5, 6]
    assert second.finished


@pytest.mark.parametrize("stochastic", [False, True], ids=["sign", "drawn"])
def test_the_same_seed_trains_the_same_weights_and_another_seed_others(trainer, stochastic):
    def trained(seed):
        teacher = trainer(seed=seed, stochastic=stochastic)
        teacher.step(), teacher.step()
        return _values(teacher)

    assert _same(trained(0), trained(0))
    assert not _same(trained(0), trained(1))


def test_drawn_bits_train_other_weights_than_signs(trainer):
    drawn, sign = trainer(stochastic=True), trainer(stochastic=False)
    drawn.step(), sign.step()
    assert not _same(_values(drawn), _values(sign))


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"learning_rate": 2e-3}, "learning_rate"), ({"seed": 1}, "seed"), ({"model": preset("micro")}, "encoder")],
    ids=["learning rate", "seed", "model"],
)
def test_resuming_with_another_recipe_is_refused_and_names_the_difference(trainer, tmp_path, changes, named):
    training.save_checkpoint(trainer(), tmp_path)
    other = trainer(**changes)
    before = [value.clone() for value in _values(other)]
    with pytest.raises(TrainingError, match=rf"made with .*{named}.*resume with the same settings"):
        training.load_checkpoint(other, tmp_path)
    assert _same(_values(other), before)


def test_resuming_without_a_checkpoint_is_refused(trainer, tmp_path):
    with pytest.raises(TrainingError, match=r"checkpoint\.pt"):
        training.load_checkpoint(trainer(), tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_batch_that_is_not_finite_stops_the_training_and_spares_the_weights(trainer, value):
    teacher = trainer()
    teacher.step()
    before = [v.clone() for v in _values(teacher)]
    with pytest.raises(TrainingError, match=r"diverged at step 1 .*a learning rate under 0\.001"):
        teacher.step(torch.full((1, 3, 32, 32), value))
    assert _same(_values(teacher), before)
    assert all(torch.isfinite(v).all() for v in _values(teacher))
    assert teacher.step_count == 1


def test_the_learning_rate_warms_up_then_falls_along_a_cosine_to_a_hundredth(trainer):
    teacher = trainer(steps=40, learning_rate=0.01)
    rates = []
    for _ in range(40):
        rates.append(teacher.step().learning_rate)
        assert teacher.optimiser.param_groups[0]["lr"] == rates[-1]

    def cosine(step):
        return 0.01 * (0.01 + 0.99 * (1 + math.cos(math.pi * step / 40)) / 2)

    assert rates[:4] == pytest.approx([cosine(k) * (k + 1) / 4 for k in range(4)])
    assert rates[4:] == pytest.approx([cosine(k) for k in range(4, 40)])
    assert rates[20] == pytest.approx(0.01 * 0.505)
    assert rates[-1] == pytest.approx(0.01 * 0.01, rel=0.2)


def test_the_curriculum_unrolls_more_iterations_as_training_goes_on(trainer):
    teacher = trainer(steps=10, curriculum=((0.2, 1), (0.5, 2), (1.0, 3)))
    assert [len(teacher.step().residuals) for _ in range(10)] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 3]


def test_a_time_budget_alone_moves_the_progress(pictures):
    teacher = Trainer(TINY, TrainConfig(**RECIPE), pictures, time_budget_s=1e-9)
    assert not teacher.finished
    assert teacher.step().progress == 1
    assert teacher.finished


@pytest.mark.parametrize("lengths", [{}, {"steps": 0}, {"steps": None, "time_budget_s": None}], ids=str)
def test_a_training_without_an_end_is_refused(pictures, lengths):
    with pytest.raises(TrainingError, match="say how long"):
        Trainer(TINY, TrainConfig(**RECIPE), pictures, **lengths)


@pytest.mark.parametrize("ema", [0.0, 0.999])
def test_the_averaged_model_follows_the_trained_one_and_is_it_without_ema(trainer, ema):
    teacher = trainer(ema=ema)
    teacher.step(), teacher.step()
    kept = teacher.averaged_model()
    assert not kept.training
    assert _same(list(kept.state_dict().values()), list(teacher.model.state_dict().values())) is (ema == 0)


def test_the_average_is_a_mean_of_the_weights_so_far(trainer):
    teacher, key = trainer(ema=0.999), "encoder.conv.bias"
    average = teacher.model.state_dict()[key].clone()
    for step in range(1, 4):
        teacher.step()
        decay = step / (step + 10)
        average = decay * average + (1 - decay) * teacher.model.state_dict()[key]
    torch.testing.assert_close(teacher.averaged_model().state_dict()[key], average)


def test_a_run_that_is_closed_early_leaves_a_checkpoint_to_go_on_from(trainer, tmp_path):
    steps = training.run(trainer(steps=5), tmp_path / "a" / "b")
    next(steps), next(steps)
    steps.close()
    resumed = trainer(steps=5)
    training.load_checkpoint(resumed, tmp_path / "a" / "b")
    assert resumed.step_count == 2
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["checkpoint.pt"]


def test_a_run_to_the_end_leaves_a_checkpoint_and_a_log_and_nothing_else(trainer, tmp_path):
    teacher = trainer(steps=3)
    records = list(training.run(teacher, tmp_path, save_every_s=0))
    assert [r.step for r in records] == [1, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "log.jsonl"]
    (line,) = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(line) == {**records[-1]._asdict(), "residuals": list(records[-1].residuals)}


def test_a_run_that_diverges_leaves_the_last_good_checkpoint_alone(trainer, tmp_path, monkeypatch):
    teacher = trainer()
    steps = training.run(teacher, tmp_path, save_every_s=0)
    next(steps)
    monkeypatch.setattr(teacher.patches, "draw", lambda count: torch.full((count, 3, 32, 32), math.nan))
    with pytest.raises(TrainingError, match="step 1"):
        next(steps)
    resumed = trainer()
    training.load_checkpoint(resumed, tmp_path)
    assert resumed.step_count == 1
    assert all(torch.isfinite(v).all() for v in _values(resumed))


def test_a_kill_while_saving_leaves_the_former_checkpoint_whole(trainer, tmp_path, monkeypatch):
    teacher = trainer()
    training.save_checkpoint(teacher, tmp_path)
    teacher.step()

    def killed(state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            training.save_checkpoint(teacher, tmp_path)
    resumed = trainer()
    training.load_checkpoint(resumed, tmp_path)
    assert resumed.step_count == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step_waits_for_its_end(trainer, tmp_path, monkeypatch, number):
    whole = trainer(steps=5)
    list(training.run(whole, tmp_path / "whole"))
    cut = trainer(steps=5)
    before = signal.getsignal(number)
    draw = cut.patches.draw
    monkeypatch.setattr(cut.patches, "draw", lambda count: (signal.raise_signal(number), draw(count))[1])
    with pytest.raises(KeyboardInterrupt):
        list(training.run(cut, tmp_path / "cut"))
    assert signal.getsignal(number) is before
    resumed = trainer(steps=5)
    training.load_checkpoint(resumed, tmp_path / "cut")
    assert resumed.step_count == 1
    list(training.run(resumed, tmp_path / "cut"))
    assert _same(_values(resumed), _values(whole))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no checkpoint at all"])
def test_a_damaged_checkpoint_is_named(trainer, tmp_path, content):
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(TrainingError, match=r"checkpoint.pt is damaged"):
        training.load_checkpoint(trainer(), tmp_path)


def test_training_starts_from_weights_of_the_same_shape_only(trainer, make_coder):
    teacher = trainer()
    weights = make_coder(TINY, seed=5)
    teacher.start_from(weights)
    assert _same(list(teacher.averaged_model().state_dict().values()), list(weights.state_dict().values()))
    with pytest.raises(TrainingError, match="same shape"):
        teacher.start_from(make_coder())


def _places(size):
    """A picture 7 x 6 whose pixels say where they are, and how often each place and side was drawn from it."""
    picture = np.zeros((7, 6, 3), np.uint8)
    picture[:, :, 0] = np.arange(7)[:, None]
    picture[:, :, 1] = np.arange(6)
    found = {}
    for patch in Patches([picture], size, seed=0).draw(600):
        photo = images.to_photo((patch + 0.5)[None])
        mirrored = bool(photo[0, 0, 1] > photo[0, -1, 1])
        photo = photo[:, ::-1] if mirrored else photo
        top, left = (int(v) for v in photo[0, 0, :2])
        assert np.array_equal(photo, picture[top : top + size, left : left + size])
        found[top, left, mirrored] = found.get((top, left, mirrored), 0) + 1
    return found


def test_patches_are_parts_of_the_picture_from_border_to_border_and_their_mirrors():
    found = _places(4)
    assert set(found) == {(top, left, m) for top in range(4) for left in range(3) for m in (False, True)}


def test_every_place_is_drawn_about_as_often():
    """600 draws from 24 places: 25 each with a standard deviation of 5."""
    assert all(5 <= count <= 45 for count in _places(4).values())


def test_patches_come_from_every_picture_that_is_large_enough(noise):
    dark, light, small = np.zeros((16, 16, 3), np.uint8), np.full((20, 16, 3), 255, np.uint8), noise(15, 40)
    values = Patches([dark, small, light], 16, seed=0).draw(64).unique().tolist()
    assert values == [-0.5, 0.5]


def test_pictures_that_are_all_too_small_are_refused(noise):
    with pytest.raises(TrainingError, match="none of the 2 pictures has 32 px"):
        Patches([noise(31, 80), noise(80, 31)], 32, seed=0)


@pytest.fixture
def folder(tmp_path, noise):
    """b.png, then sub/a.PNG, a damaged file, a text and two to leave out."""
    (tmp_path / "sub").mkdir()
    for i, name in enumerate(("b.png", "sub/a.PNG", "kodim01.png", "sub/kodim02.png")):
        (tmp_path / name).write_bytes(images.encode_png(noise(8, 8, seed=i)))
    (tmp_path / "damaged.png").write_bytes((tmp_path / "b.png").read_bytes()[:60])
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def test_all_readable_pictures_of_a_folder_are_found_but_those_to_leave_out(folder, noise):
    found = training.pictures_in(folder, leave_out=frozenset({"kodim01.png", "kodim02.png"}))
    assert len(found.photos) == 2
    assert all(np.array_equal(photo, noise(8, 8, seed=i)) for i, photo in enumerate(found.photos))
    assert (found.unreadable, found.left_out, found.beyond_limit) == (1, 2, 0)
    assert str(found) == "2 pictures, 2 kept for validation, 1 unreadable"


def test_pictures_beyond_the_limit_are_counted(folder, monkeypatch):
    monkeypatch.setattr(training, "FOLDER_LIMIT_BYTES", 8 * 8 * 3)
    found = training.pictures_in(folder)
    assert (len(found.photos), found.unreadable, found.beyond_limit) == (1, 1, 3)


def test_progress_is_shown_over_the_paths(folder):
    seen = []
    training.pictures_in(folder, progress=lambda paths: seen.extend(paths) or paths)
    assert [p.name for p in seen] == ["b.png", "damaged.png", "kodim01.png", "a.PNG", "kodim02.png"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TrainingError, match=r"no folder .*nowhere"):
        training.pictures_in(tmp_path / "nowhere")


def test_a_folder_without_pictures_is_named(tmp_path):
    with pytest.raises(TrainingError, match="holds no readable picture"):
        training.pictures_in(tmp_path)


def test_late_weighs_the_later_iterations_more(trainer):
    """With weights 1 and 2^60 the gradient is that of the last iteration alone; with 1 and 1 it is not."""
    gradients = {}
    for late in (0.0, 60.0):
        teacher = trainer(late=late, clip=1e9)
        batch = teacher.patches.draw(2)
        *_, last = islice(unroll(teacher.model.train(), batch), 2)
        expected = torch.autograd.grad(last.residual.abs().mean(), teacher.model.decoder.conv_out.weight)[0]
        teacher.step(batch)
        gradients[late] = (teacher.model.decoder.conv_out.weight.grad - expected).abs().max() / expected.abs().max()
    assert gradients[60.0] < 1e-4
    assert gradients[0.0] > 1e-2
