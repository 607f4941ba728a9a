"""The same files under a grid that begins one pixel on: parts, curves, a table, and a command that goes on."""

import json

import numpy as np
import pytest

from rgru_lab import __main__ as cli
from rgru_lab import images, metrics, shifted


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sample):
    path = tmp_path_factory.mktemp("photos")
    for k, name in enumerate(("coffee", "rocket")):
        images.save_png(sample(name, 193 + k, 200), path / f"{name}.png")
    return path


def test_the_second_part_begins_one_pixel_on_and_both_are_whole_squares(sample):
    photo = sample("coffee", 194, 200)
    decoded = photo // 8 * 8
    first, second = shifted.both(photo, decoded)
    assert first == metrics.ms_ssim(photo[:192, :192], decoded[:192, :192])
    assert second == metrics.ms_ssim(photo[1:193, 1:193], decoded[1:193, 1:193])


def test_errors_that_cancel_in_the_squares_of_the_grid_are_seen_one_pixel_on(sample):
    photo = np.clip(sample("coffee", 194, 200), 20, 235)
    board = 16 * (np.indices((2, 2)).sum(0) % 2 * 2 - 1)[:, :, None]
    squares = np.random.default_rng(0).choice([-1, 1], (97, 100)).repeat(2, 0).repeat(2, 1)[:, :, None]
    first, second = shifted.both(photo, (photo + np.tile(board, (97, 100, 1)) * squares).astype(np.uint8))
    assert second < first - 0.005


def test_the_command_measures_all_writes_a_table_and_leaves_nothing_else(folder, weights_path, tmp_path, monkeypatch):
    monkeypatch.setattr(shifted, "POINTS", (1, 2))
    words = ["shifted", str(weights_path), "--images", str(folder), "--output", str(tmp_path)]
    assert cli.main(words) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["shifted.json", "shifted.md"]
    summary = json.loads((tmp_path / "shifted.json").read_text())
    assert list(summary["curves"]) == ["jpeg", "webp", "micro-1"]
    assert [point["point"] for point in summary["curves"]["micro-1"]] == [1, 2]
    photos = [images.load(folder / f"{name}.png") for name in ("coffee", "rocket")]
    rungs = [shifted.Ladder(photo)[50] for photo in photos]
    point = next(point for point in summary["curves"]["jpeg"] if point["point"] == 50)
    assert point["bpp"] == pytest.approx(np.mean([rung.bpp for rung in rungs]), abs=1e-5)
    found = np.mean([shifted.both(rung.original, rung.photo) for rung in rungs], axis=0)
    assert [point[place] for place in shifted.PLACES] == pytest.approx(found, abs=1e-5)


def test_pictures_without_large_enough_parts_are_refused_before_anything_is_measured(
    capsys, sample, tmp_path, weights_path
):
    images.save_png(sample("coffee", 176, 200), tmp_path / "small.png")
    assert cli.main(["shifted", str(weights_path), "--images", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "small.png is 200 x 176 px" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())
    images.save_png(sample("coffee", 177, 200), tmp_path / "small.png")
    shifted.check([tmp_path / "small.png"])
    assert len(shifted.both(*[images.load(tmp_path / "small.png")] * 2)) == 2


def test_the_table_compares_with_jpeg_at_the_same_place():
    corner, on = shifted.PLACES
    curves = {
        "jpeg": [{"bpp": 0.2, corner: 0.85, on: 0.85}, {"bpp": 0.6, corner: 0.95, on: 0.95}],
        "a-1": [{"bpp": 0.1, corner: 0.80, on: 0.80}, {"bpp": 0.3, corner: 1.0, on: 0.9}],
    }
    text = shifted.report({"set": "these", "pictures": 3, "date": "today", "curves": curves})
    assert "| JPEG | at the corner | 0.400 | 0.600 | – | – |" in text
    assert "| a-1 | at the corner | 0.200 (-50.0 %) | 0.250 (-58.3 %) | 0.270 | 0.280 |" in text
    assert "| a-1 | one pixel on | 0.300 (-25.0 %) | – | – | – |" in text
