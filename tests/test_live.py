"""A training as a figure, and watching it in a notebook: what is drawn when, and that nothing is lost on the way."""

import io
import json
import signal
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from rgru_lab import checkpoints, codec, machine, plots, runs, training
from rgru_lab.config import InputError, ModelConfig, TrainConfig
from rgru_lab.viewer import live

TINY = ModelConfig(encoder=(4, 4, 4, 4), decoder=(4, 8, 8, 8, 8), bits=4, alpha_x=1.0)


@pytest.fixture(autouse=True)
def _float32(monkeypatch):
    monkeypatch.setenv(machine.BF16_VARIABLE, "0")


@pytest.fixture
def trainer(sample):
    """trainer(steps, **recipe): a fresh one; two iterations up to the half, four beyond."""

    def make(steps, **recipe):
        stages = ((0.5, 2, 16, 1), (1.0, 4, 16, 1))
        recipe = {"curriculum": stages, "loss": "l1", "bf16": False, "warmup_steps": 2} | recipe
        return training.Trainer(TINY, TrainConfig(**recipe), [sample("astronaut", 48, 64)], steps=steps)

    return make


@pytest.fixture
def photo(sample):
    return sample("chelsea", 32, 48)


# The figure


def _log(*lengths, skipped=0, unlike=1.0):
    """A log whose k-th line has so many iterations; the loss of one that is not skipped is `unlike` times |R[i]|."""
    return [
        {
            "step": 50 * (k + 1),
            "learning_rate": 1e-3 / (k + 1),
            "patches_per_s": 10.0 + k,
            "residuals": [0.2 / (i + 1) for i in range(length)],
            "losses": [unlike * 0.2 / (i + 1) for i in range(skipped, length)],
        }
        for k, length in enumerate(lengths)
    ]


def test_every_iteration_has_its_curve_from_where_the_curriculum_reaches_it():
    errors, rates, speed = plots.training(_log(2, 2, 4, 4, 4)).axes
    assert [list(line.get_xdata()) for line in errors.lines] == [[50, 100, 150, 200, 250]] * 2 + [[150, 200, 250]] * 2
    for i, line in enumerate(errors.lines, start=1):
        assert line.get_ydata() == pytest.approx(np.full(len(line.get_ydata()), 255 * 0.2 / i))
    assert (
        len(
            {
                line.get_color()[:3] if isinstance(line.get_color(), str) else tuple(line.get_color())
                for line in errors.lines
            }
        )
        == 4
    )
    assert [text.get_text() for text in errors.get_legend().get_texts()] == ["1", "2", "3", "4"]
    assert list(rates.lines[0].get_ydata()) == pytest.approx([1e-3 / k for k in range(1, 6)])
    assert speed.get_ylim()[0] == 0


def test_a_loss_that_is_not_the_residual_has_a_panel_of_its_own_and_skipped_iterations_no_part_in_it():
    assert len(plots.training(_log(2, 2)).axes) == 3
    errors, losses, _, _ = plots.training(_log(2, 4, skipped=1, unlike=3.0)).axes
    assert losses.get_title() == "loss of P[i]"
    assert [list(line.get_xdata()) for line in errors.lines] == [[50, 100]] * 2 + [[100]] * 2
    assert [list(line.get_xdata()) for line in losses.lines] == [[50, 100]] + [[100]] * 2
    for i, line in enumerate(losses.lines, start=2):
        assert line.get_ydata() == pytest.approx(np.full(len(line.get_ydata()), 0.6 / i))
        assert tuple(line.get_color()) == tuple(errors.lines[i - 1].get_color())


def test_a_log_from_before_losses_were_written_can_be_drawn():
    old = [{key: value for key, value in line.items() if key != "losses"} for line in _log(2, 4)]
    assert len(plots.training(old).axes) == 3


def test_of_many_iterations_the_first_and_the_last_are_named():
    errors = plots.training(_log(5, 10)).axes[0]
    assert len(errors.lines) == 10
    assert [text.get_text() for text in errors.get_legend().get_texts()] == ["1", "10"]


def test_one_line_of_one_iteration_is_enough_for_a_figure():
    figure = plots.training(_log(1))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["1"]
    assert Image.open(io.BytesIO(plots.png(figure))).width > 500


def test_pictures_stand_below_with_their_titles(photo):
    figure = plots.training(_log(1, 2), [("I", photo), ("P[1]", 255 - photo)])
    panels = figure.axes[3:]
    assert [panel.get_title() for panel in panels] == ["I", "P[1]"]
    assert (panels[1].images[0].get_array() == 255 - photo).all()
    assert (
        Image.open(io.BytesIO(plots.png(figure))).height
        > Image.open(io.BytesIO(plots.png(plots.training(_log(1))))).height
    )


def test_the_log_of_a_training_can_be_drawn(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "LOG_EVERY", 1)
    list(runs.run(trainer(4), tmp_path))
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(log) == 4
    assert len(plots.training(log).axes[0].lines) == 4


def test_an_empty_log_is_answered_in_one_sentence():
    with pytest.raises(InputError, match="holds no step yet; let the training run a little longer"):
        plots.training([])


def test_noise_is_smoothed_without_moving_the_ends():
    values = np.array([1.0, 3.0] * 20)
    assert plots._smooth(values)[5:-5] == pytest.approx(np.full(30, 2.0), abs=0.12)
    assert plots._smooth(np.full(40, 7.0)) == pytest.approx(np.full(40, 7.0))
    assert plots._smooth(np.array([4.0])) == pytest.approx([4.0])


# Watching


def _titles(figure):
    return [axes.get_title() for axes in figure.axes[3:]]


def test_the_photo_is_shown_as_the_averaged_weights_make_it_at_the_iterations_named(trainer, photo, tmp_path):
    drawn, teacher = [], trainer(4)
    record = live.watch(teacher, tmp_path, photo, every_s=0, draw=drawn.append)
    assert record.step == 4
    assert len(drawn) == 5  # one after every step and one at the end
    assert _titles(drawn[0]) == ["I", "P[1], step 1", "P[2], step 1", "P[4], step 1"]
    last = drawn[-1].axes
    assert _titles(drawn[-1]) == ["I", "P[1], step 4", "P[2], step 4", "P[4], step 4"]
    expected = [shown for _, shown in codec.encode(teacher.averaged_model(), photo, 4)]
    for panel, picture in zip(last[3:], [photo, expected[0], expected[1], expected[3]], strict=True):
        assert (panel.images[0].get_array() == picture).all()
    assert [len(line.get_xdata()) for line in last[0].lines] == [4, 4, 1, 1]


def test_a_long_wait_between_figures_still_ends_with_one(trainer, photo, tmp_path):
    drawn = []
    live.watch(trainer(3), tmp_path, photo, every_s=1e9, draw=drawn.append)
    assert [_titles(figure)[1] for figure in drawn] == ["P[1], step 3"]


def test_an_interrupted_training_is_saved_and_goes_on_with_the_next_call(capsys, trainer, photo, tmp_path):
    """Ctrl-C comes while the second figure is drawn: the third step is made whole, then all is kept."""
    drawn = []

    def draw(figure):
        drawn.append(figure)
        if len(drawn) == 2:
            signal.raise_signal(signal.SIGINT)

    record = live.watch(trainer(6), tmp_path, photo, every_s=0, draw=draw)
    assert record.step == 3
    assert capsys.readouterr().out == f"Stopped after step 3; everything is saved in {tmp_path}.\n"
    assert _titles(drawn[-1])[1] == "P[1], step 3"

    second = trainer(6)
    second.load_state_dict(checkpoints.read(tmp_path))
    assert live.watch(second, tmp_path, photo, draw=drawn.append).step == 6
    whole = trainer(6)
    list(runs.run(whole, tmp_path / "whole"))
    assert _same(second.model, whole.model)


def test_an_interrupt_in_the_middle_of_drawing_is_saved_too(capsys, trainer, photo, tmp_path):
    """As where signals arrive otherwise: in a thread, or on Windows."""

    def draw(figure):
        if not checkpoints.exists(tmp_path):
            raise KeyboardInterrupt

    live.watch(trainer(6), tmp_path, photo, every_s=0, draw=draw)
    assert "Stopped after step 1" in capsys.readouterr().out
    assert checkpoints.read(tmp_path)["step_count"] == 1


def test_a_training_that_is_at_its_end_is_answered_in_one_sentence(capsys, trainer, photo, tmp_path):
    teacher, drawn = trainer(2), []
    live.watch(teacher, tmp_path, photo, draw=drawn.append)
    drawn.clear()
    assert live.watch(teacher, tmp_path, photo, draw=drawn.append) is None
    assert drawn == []
    assert capsys.readouterr().out == "Nothing is left to do: this training ended after step 2; start another one.\n"


def test_watching_does_not_change_the_training(trainer, photo, tmp_path):
    """Not even where bits are drawn at random."""
    watched, alone = (trainer(4, stochastic=True), trainer(4, stochastic=True))
    state = torch.get_rng_state()
    live.watch(watched, tmp_path / "a", photo, every_s=0, draw=lambda figure: None)
    torch.set_rng_state(state)
    list(runs.run(alone, tmp_path / "b"))
    assert _same(watched.model, alone.model)


def _same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_long_log_is_thinned_evenly():
    log = [{"step": k} for k in range(1001)]
    thin = live._thin(log)
    assert 300 < len(thin) <= 400
    assert {b["step"] - a["step"] for a, b in pairwise(thin)} == {3}
    assert live._thin(log[:400]) == log[:400]


def test_in_a_notebook_one_picture_with_alt_text_is_replaced(trainer, photo, tmp_path, monkeypatch):
    import IPython.display

    asked, shown = [], []
    handle = SimpleNamespace(update=lambda data, metadata, raw: shown.append((data, metadata, raw)))
    monkeypatch.setattr(
        IPython.display, "display", lambda *things, **options: asked.append((things, options)) or handle
    )
    live.watch(trainer(1), tmp_path, photo, every_s=0)
    assert asked == [((), {"display_id": True})]
    assert len(shown) == 2
    for data, metadata, raw in shown:
        assert "|R[i]|" in metadata["image/png"]["alt"]
        assert "image/png" in data
        assert raw


def test_without_a_notebook_that_is_said_before_the_training_begins(trainer, photo, tmp_path, monkeypatch):
    import IPython.display

    monkeypatch.setattr(IPython.display, "display", lambda **options: None)  # what it does outside of one
    teacher = trainer(2)
    with pytest.raises(InputError, match="no notebook to draw in"):
        live.watch(teacher, tmp_path, photo)
    assert teacher.step_count == 0
