"""Figures in notebooks: the text for those who cannot see them, and their bytes."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from rgru_lab import photos, plots
from rgru_lab.opponents import Ladder
from rgru_lab.progression import Progression


@pytest.fixture
def shown(monkeypatch):
    """What `plots.show` hands to the notebook."""
    found = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata, raw: found.append((data, metadata)))
    return found


def test_a_palette_halves_the_bytes_and_hardly_changes_the_picture(shown):
    for palette in (False, True):
        figure = plots.pictures([photos.sample("chelsea")], ["a cat"])
        plots.show(figure, "A cat", palette=palette)
    files = [base64.b64decode(data["image/png"]) for data, _ in shown]
    whole, light = (Image.open(io.BytesIO(file)).convert("RGB") for file in files)
    assert len(files[1]) < 0.6 * len(files[0])
    assert np.abs(np.asarray(whole, float) - np.asarray(light, float)).max() < 32
    assert [metadata for _, metadata in shown] == 2 * [{"image/png": {"alt": "A cat"}}]


@pytest.mark.parametrize("palette", [True, False])
def test_a_figure_gives_the_same_bytes_each_time(palette):
    files = [plots.png(plots.lines({"a": ([1, 2], [3, 4])}, "x", "y"), palette=palette) for _ in range(2)]
    assert files[0] == files[1]


def test_a_strip_has_a_row_for_each_rival_with_the_file_that_is_not_larger(weights):
    progression = Progression(weights, photos.sample("chelsea")[:164, :180])
    list(progression.run(4))
    ladders = [Ladder(progression.original, codec) for codec in ("jpeg", "webp")]
    panels = np.reshape(plots.strip(progression, [1, 4], rivals=ladders).axes[:12], (4, 3))
    names = set()
    for column, i in enumerate((1, 4), start=1):
        size_bytes = progression[i].size_bytes
        assert panels[0, column].get_title().startswith(f"P[{i}]: {size_bytes:,} bytes")
        for row, ladder in enumerate(ladders, start=2):
            fitting = ladder.fitting(size_bytes)
            rival = fitting or ladder.smallest
            name = f"{ladder.label} quality {rival.quality}" if fitting else f"{ladder.label} gets no smaller"
            assert panels[row, column].get_title().startswith(f"{name}: {rival.size_bytes:,} bytes")
            assert np.array_equal(panels[row, column].images[0].get_array(), rival.photo)
            names.add(name)
    assert "JPEG gets no smaller" in names
    assert len(names) > 2


def test_curves_beside_have_lines_of_their_own_in_other_colours_and_do_not_widen_the_axes():
    curve = [{"bpp": 0.1 * k, "ms_ssim": 0.85 + 0.01 * k} for k in range(1, 9)]
    wide = [{"bpp": 0.05 * k, "ms_ssim": 0.5 + 0.005 * k} for k in range(1, 99)]
    beside = {"WebP": wide, "AVIF": curve, "2016": curve, "2018": curve, "BPG": curve}
    axes = plots.rate_distortion({"ours": curve, "JPEG": curve}, "a set", beside).axes[0]
    assert [line.get_label() for line in axes.lines] == ["ours", "JPEG", *beside]
    ours, theirs = ({line.get_color() for line in group} for group in (axes.lines[:2], axes.lines[2:]))
    assert not ours & theirs
    drawn = io.BytesIO()
    axes.figure.savefig(drawn, format="svg")
    assert len(set(re.findall(r"stroke-dasharray: ([^;]+);", drawn.getvalue().decode()))) == 5
    assert axes.get_xlim()[1] < 1
    assert axes.get_ylim()[0] > 0.8
    heights = axes.transData.transform([(0, 1 - 10**-decades) for decades in (1, 1.5, 2)])[:, 1]
    assert np.allclose(np.diff(heights), (heights[-1] - heights[0]) / 2)  # 10, 15 and 20 dB


def test_jpeg_has_its_own_colour_in_every_figure_and_the_others_take_the_next():
    curves = plots.lines({"a": ([1], [2]), "JPEG": ([1], [2]), "b": ([1], [2])}, "x", "y").axes[0].lines
    assert [curve.get_color() for curve in curves] == [plots.CURVES[0][0], plots.JPEG, plots.CURVES[1][0]]


@pytest.mark.parametrize(("joined", "line"), [(True, "-"), (False, "None")])
def test_points_with_nothing_between_them_are_not_joined(joined, line):
    (curve,) = plots.lines({"a": ([1, 2], [2, 3])}, "x", "y", joined=joined).axes[0].lines
    assert (curve.get_linestyle(), curve.get_marker()) == (line, "o")


def test_a_narrow_panel_is_a_smaller_picture():
    sizes = [
        plots.pictures([photos.sample("coffee")], ["a cup"], width=width).get_size_inches() for width in (1.3, 2.6)
    ]
    assert 2 * sizes[0][0] == sizes[1][0]
    assert sizes[0][1] < sizes[1][1]
