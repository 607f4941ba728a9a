"""The notebook's viewer without a browser: what it sends, in which order, and how it answers bad uploads."""

import io

import ipywidgets
import numpy as np
import pytest
from PIL import Image

from rgru_lab import images, model, viewer


@pytest.fixture
def explorer(weights, sample, monkeypatch):
    """An explorer on a small photo with random weights, done computing."""
    monkeypatch.setattr(model, "load", lambda name: weights)
    explorer = viewer.Explorer(sample("chelsea", 176, 208), iterations=2)
    explorer.wait()
    return explorer


def decoded(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_pictures_arrive_without_loss(explorer):
    scrubber, progression = explorer.scrubber, explorer.progression
    assert (decoded(scrubber.original) == progression.original).all()
    for i in (1, 2):
        assert (decoded(getattr(scrubber, f"p_{i}")) == progression[i].photo).all()
        rival = explorer.ladder.fitting(progression[i].size_bytes) or explorer.ladder.smallest
        assert getattr(scrubber, f"jpeg_{i}") == rival.data
    assert scrubber.p_3 == b""


def test_readings_are_those_of_the_progression(explorer):
    for i in (1, 2):
        ours, said = explorer.progression[i], explorer.scrubber.readings["ours"][i - 1]
        assert said["size_bytes"] == len(explorer.progression.file(i))
        for key in ("bpp", "psnr_db", "ms_ssim", "mean_abs_residual"):
            assert said[key] == getattr(ours, key)
        assert {"fits", "quality", "psnr_db", "ms_ssim"} <= explorer.scrubber.readings["jpeg"][i - 1].keys()


def test_pictures_come_first_and_readings_fill_in(weights, sample, monkeypatch):
    seen = []

    class Watched(viewer.Scrubber):
        def set_trait(self, name, value):
            if value and name.startswith(("p_", "jpeg_")):
                seen.append(name)
            super().set_trait(name, value)

        def read(self, side, i, decoded):
            seen.append(f"reading {side} {i}")
            super().read(side, i, decoded)

    monkeypatch.setattr(viewer, "Scrubber", Watched)
    monkeypatch.setattr(model, "load", lambda name: weights)
    viewer.Explorer(sample("chelsea", 176, 208), iterations=2).wait()
    pictures, rest = seen[:4], seen[4:]
    assert pictures == ["p_1", "p_2", "jpeg_1", "jpeg_2"]
    assert rest == ["reading ours 1", "reading jpeg 1", "reading ours 2", "reading jpeg 2"]


def test_where_jpeg_cannot_get_so_small_that_is_said(explorer):
    scrubber = explorer.scrubber
    smallest = explorer.ladder.smallest
    scrubber.add_jpeg(1, smallest, fits=False)
    assert scrubber.readings["jpeg"][0]["fits"] is False
    assert scrubber.readings["jpeg"][0]["size_bytes"] == smallest.size_bytes


def test_a_new_photo_clears_what_was_there(explorer, sample):
    explorer.iterations = 1
    explorer.open(sample("coffee", 20, 30))
    explorer.wait()
    assert decoded(explorer.scrubber.original).shape == (20, 30, 3)
    assert explorer.scrubber.p_2 == explorer.scrubber.jpeg_2 == b""
    assert len(explorer.scrubber.readings["ours"]) == 1
    assert explorer.scrubber.readings["ours"][0]["ms_ssim"] is None


def test_a_stopped_run_keeps_what_is_there(weights, sample, monkeypatch):
    monkeypatch.setattr(model, "load", lambda name: weights)
    explorer = viewer.Explorer(sample("chelsea", 176, 208), iterations=16)
    explorer.stop()
    assert explorer.scrubber.progress["share"] == 1.0
    assert explorer.scrubber.progress["text"] == "Stopped."
    assert len(explorer.scrubber.readings["ours"]) == len(explorer.progression) < 16


def upload(explorer, name, content):
    if int(ipywidgets.__version__.split(".")[0]) == 7:
        value = {name: {"metadata": {"name": name}, "content": content}}
    else:
        value = ({"name": name, "content": memoryview(content)},)
    explorer._uploaded({"new": value})
    explorer.wait()


def test_both_forms_of_an_upload_are_understood(explorer, sample):
    photo = sample("rocket", 30, 40)
    png = images.encode_png(photo)
    for value in ({"a.png": {"content": png}}, ({"name": "a.png", "content": memoryview(png)},)):
        explorer.scrubber.original = b""
        explorer._uploaded({"new": value})
        explorer.wait()
        assert (decoded(explorer.scrubber.original) == photo).all()


def test_a_large_upload_is_scaled_down_and_that_is_said(explorer, monkeypatch):
    monkeypatch.setattr(viewer, "EXPLORER_PIXELS", 600)
    upload(explorer, "large.png", images.encode_png(np.zeros((40, 60, 3), np.uint8)))
    assert decoded(explorer.scrubber.original).shape == (20, 30, 3)
    assert "60 × 40" in explorer._note.value
    assert "30 × 20" in explorer._note.value


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "0 bytes"), (b"<b>hello</b>", "not a picture"), (bytes(9_000_001), "9,000,001 bytes")],
)
def test_a_bad_upload_is_answered_in_words_and_changes_nothing(explorer, content, words):
    before = explorer.scrubber.original
    upload(explorer, "<i>x</i>.png", content)
    assert words in explorer._note.value
    assert "<i>" not in explorer._note.value
    assert explorer.scrubber.original == before


def test_the_browser_side_loads_nothing_from_elsewhere():
    for name in ("scrubber.js", "scrubber.css"):
        text = (images.Path(viewer.__file__).parent / name).read_text(encoding="utf-8")
        assert "http" not in text
        assert "import(" not in text
        assert "url(" not in text
