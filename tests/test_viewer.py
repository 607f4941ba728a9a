"""The scrubber and its bar without a browser: what is sent, in which order, and how bad input is answered."""

import base64
import datetime
import io
import json
import re
from pathlib import Path

import ipywidgets
import numpy as np
import pytest
from PIL import Image

from rgru_lab import images, model, viewer
from rgru_lab.config import InputError
from rgru_lab.images import PictureError
from rgru_lab.opponents import Ladder
from rgru_lab.progression import Progression
from rgru_lab.viewer import Explorer, Guess, Scrubber, explorer, latency, page, scrubber

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def unpacked(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture
def progression(weights, sample):
    """Not run yet."""
    return Progression(weights, sample("chelsea", 164, 180))


@pytest.fixture(scope="module")
def done(weights, sample):
    """A scrubber that has computed two iterations; do not change it."""
    scrubber = Scrubber(Progression(weights, sample("chelsea", 164, 180)), iterations=2)
    scrubber.wait()
    return scrubber


# What goes to the browser


def test_pictures_arrive_without_loss_the_second_as_what_changed(done):
    assert np.array_equal(unpacked(done.original), done.progression.original)
    first, change = unpacked(done.frame_1), unpacked(done.frame_2)
    assert np.array_equal(first, done.progression[1].photo)
    change = change - np.uint8(128)
    change[..., ::2] += change[..., 1:2]
    assert np.array_equal(first + change, done.progression[2].photo)
    assert done.frame_3 == b""


def test_a_picture_too_long_for_webp_goes_as_png():
    photo = np.arange(16_384 * 3, dtype=np.int64).astype(np.uint8).reshape(1, 16_384, 3)
    assert np.array_equal(unpacked(scrubber._pack(photo)), photo)


def test_each_file_of_an_opponent_is_sent_once_and_all_that_the_readings_name(done):
    sent = [traits for i in (1, 2) for traits in (getattr(done, f"bytes_{i}"), getattr(done, f"level_{i}"))]
    names = [name for files in sent for name in files]
    assert len(names) == len(set(names))
    rows = [row for side, rows in done.readings.items() if side != "ours" for row in rows]
    assert {row["file"] for row in rows} == set(names)
    for files in sent:
        for name, data in files.items():
            codec, quality = name.split("-")
            assert data == Ladder(done.progression.original, codec)[int(quality)].data


def test_readings_are_those_of_the_progression_and_the_ladders(done):
    for i in (1, 2):
        ours, said = done.progression[i], done.readings["ours"][i - 1]
        assert said["size_bytes"] == len(done.progression.file(i))
        for key in ("bpp", "psnr_db", "ms_ssim", "mean_abs_residual"):
            assert said[key] == getattr(ours, key)
        for codec in ("jpeg", "webp"):
            ladder = Ladder(done.progression.original, codec)
            fitting = ladder.fitting(ours.size_bytes)
            row = done.readings[f"bytes-{codec}"][i - 1]
            assert row["fits"] == (fitting is not None)
            assert row["quality"] == (fitting or ladder.smallest).quality
            reaching = done.readings[f"level-{codec}"][i - 1]
            assert reaching["fits"]
            assert reaching["ms_ssim"] >= ours.ms_ssim
            for each in (row, reaching):
                rung = ladder[each["quality"]]
                assert (each["size_bytes"], each["psnr_db"]) == (rung.size_bytes, rung.psnr_db)


def test_the_file_of_every_iteration_is_the_beginning_of_the_one_that_is_sent(done):
    for i in (1, 2):
        assert done.file[: done.readings["ours"][i - 1]["size_bytes"]] == done.progression.file(i)


def test_pictures_come_first_then_opponents_then_the_slow_readings(progression, monkeypatch):
    seen = []

    class Watched(Scrubber):
        def set_trait(self, name, value):
            if re.fullmatch(r"(frame|bytes|level)_\d+", name):
                seen.append(name)
            super().set_trait(name, value)

        def _put(self, side, i, new):
            if "psnr_db" in new:
                seen.append(f"{side} {i}")
            super()._put(side, i, new)

    scrubber = Watched(progression, against=("jpeg",), iterations=2)
    seen.clear()  # all traits were emptied
    scrubber.wait()
    expected = ["frame_1", "frame_2", "bytes_1", "bytes_2", "ours 1", "bytes-jpeg 1", "ours 2", "bytes-jpeg 2"]
    assert seen[:8] == expected
    assert seen[8:] == ["level-jpeg 1", "level_1", "level-jpeg 2", "level_2"]


def test_a_progression_that_ran_already_is_shown_as_it_is(progression):
    list(progression.run(3))
    before = list(progression.decoded)
    scrubber = Scrubber(progression, against=("jpeg",), iterations=8)
    assert scrubber.setup["iterations"] == 3
    scrubber.wait()
    assert progression.decoded == before
    assert len(scrubber.readings["level-jpeg"]) == 3


def test_nothing_is_computed_before_somebody_looks(progression):
    scrubber = Scrubber(progression, iterations=1)
    assert scrubber._thread is None
    assert np.array_equal(unpacked(scrubber.original), progression.original)
    scrubber.wait(pictures=True)
    assert len(progression) == 1
    scrubber.wait()


def test_a_new_photo_clears_what_was_there(weights, sample):
    scrubber = Scrubber(Progression(weights, sample("chelsea", 164, 180)), against=("jpeg",), iterations=2)
    scrubber.wait()
    scrubber.load(Progression(weights, sample("coffee", 20, 30)), 1)
    scrubber.wait()
    assert unpacked(scrubber.original).shape == (20, 30, 3)
    assert scrubber.frame_2 == b""
    assert scrubber.bytes_2 == scrubber.level_2 == {}
    assert scrubber.setup["level"] == "psnr_db"
    assert [len(rows) for rows in scrubber.readings.values()] == [1, 1, 1]
    assert scrubber.readings["ours"][0]["ms_ssim"] is None


def test_a_stopped_run_keeps_what_is_there(progression):
    scrubber = Scrubber(progression, iterations=16)
    scrubber.start()
    scrubber.stop()
    assert scrubber.progress == {"share": 1.0, "text": "Stopped; what is here can be scrubbed.", "failed": False}
    assert len(scrubber.readings["ours"]) == len(progression) == scrubber.setup["iterations"] < 16
    assert scrubber.file == progression.file(len(progression))


def test_a_widget_that_is_closed_computes_no_more(progression):
    scrubber = Scrubber(progression, iterations=16)
    scrubber.start()
    scrubber.close()
    scrubber.wait()
    assert len(progression) < 16


def test_each_photo_and_each_choice_of_weights_is_a_run_of_its_own(weights, sample):
    photo = sample("coffee", 20, 30)
    scrubber = Scrubber(Progression(weights, photo), against=("jpeg",), iterations=1)
    runs = [scrubber.setup["run"]]
    scrubber.load(Progression(weights, photo), 1)
    scrubber.wait()
    assert scrubber.setup["run"] == runs[0] + 1


def test_a_photo_that_an_opponent_cannot_hold_changes_nothing(done, weights):
    before = done.progression, done.setup, done.original
    with pytest.raises(PictureError, match="WebP holds sides up to 16383"):
        done.load(Progression(weights, np.zeros((1, 16_400, 3), np.uint8)), 1)
    assert (done.progression, done.setup, done.original) == before
    assert not done.is_computing


def test_what_goes_wrong_is_said_in_the_widget(progression, monkeypatch):
    def fail(iterations):
        raise InputError("there is too little memory; scale the photo down")
        yield

    monkeypatch.setattr(progression, "run", fail)
    scrubber = Scrubber(progression)
    scrubber.wait()
    assert scrubber.progress["failed"]
    assert scrubber.progress["text"] == "This went wrong: there is too little memory; scale the photo down"
    with pytest.raises(InputError, match=r"nothing to save: This went wrong: there is too little memory"):
        scrubber.save_html("never.html")
    assert not Path("never.html").exists()


def test_an_infinite_psnr_is_said_in_json(weights, sample, monkeypatch):
    progression = Progression(weights, sample("coffee", 20, 30))
    list(progression.run(1))
    progression.decoded[0].photo = progression.original
    scrubber = Scrubber(progression, against=("jpeg",))
    scrubber.wait()
    assert scrubber.readings["ours"][0]["psnr_db"] is None
    assert not scrubber.readings["level-jpeg"][0]["fits"]
    json.dumps(scrubber.readings, allow_nan=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"against": ("gif",)}, "choose one or more of jpeg, jpeg-default"),
        ({"against": ()}, "choose one or more of jpeg, jpeg-default"),
        ({"against": ("jpeg", "webp", "avif", "jpeg-444")}, "against names 4 opponents; choose up to 3"),
        ({"iterations": 17}, "choose 1 to 16"),
        ({"guess": Guess("beauty", 2)}, "ask for one of ms_ssim, psnr_db, size_bytes, jpeg_bytes, webp_bytes"),
        ({"guess": Guess("webp_bytes", 2), "against": ("jpeg",)}, "'webp_bytes' is not possible here"),
        ({"guess": Guess("ms_ssim", 9)}, "the guess is about iteration 9; choose 1 to 8"),
    ],
)
def test_wrong_arguments_are_answered_in_words(progression, arguments, words):
    with pytest.raises(InputError, match=re.escape(words)):
        Scrubber(progression, **arguments)


def test_a_photo_too_small_for_ms_ssim_cannot_be_guessed_by_it(weights, sample):
    small = Progression(weights, sample("coffee", 20, 30))
    with pytest.raises(InputError, match="ask for one of psnr_db, size_bytes"):
        Scrubber(small, guess=Guess("ms_ssim", 1))


# In a notebook


def test_what_a_notebook_stores_is_the_widget_a_picture_and_words(done):
    data, metadata = done._repr_mimebundle_()
    assert data[WIDGET_VIEW]["model_id"] == done.model_id
    picture = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
    assert picture.width > 300
    ours = done.progression[2]
    assert f"P[2] {ours.size_bytes:,} bytes, mean |R| {ours.mean_abs_residual:.1f} levels" in data["text/plain"]
    assert metadata["image/png"]["alt"] == data["text/plain"]


def test_both_versions_of_ipywidgets_store_the_picture_beside_the_widget(done):
    """Through IPython's own formatter: that of ipywidgets 7 would leave the picture out."""
    from IPython.core.interactiveshell import InteractiveShell

    data, metadata = InteractiveShell().display_formatter.format(done)
    assert {WIDGET_VIEW, "image/png", "text/plain"} <= set(data)
    assert metadata["image/png"]["alt"]


def test_to_display_begins_to_compute_and_waits_only_if_told_to(progression, monkeypatch):
    scrubber = Scrubber(progression, against=("jpeg",), iterations=2)
    monkeypatch.setenv(viewer.scrubber.STATIC_VARIABLE, "1")
    data, _ = scrubber._repr_mimebundle_()
    assert len(progression) == 2
    scrubber.wait()
    monkeypatch.delenv(viewer.scrubber.STATIC_VARIABLE)
    live, _ = scrubber._repr_mimebundle_()
    static, quick = (Image.open(io.BytesIO(base64.b64decode(each["image/png"]))) for each in (data, live))
    assert static.width == quick.width
    assert static.height > 1.3 * quick.height  # JPEG's row


def test_where_nothing_is_computed_yet_the_widget_goes_without_a_picture(progression, monkeypatch):
    monkeypatch.delenv(viewer.scrubber.STATIC_VARIABLE, raising=False)
    scrubber = Scrubber(progression, iterations=1)
    monkeypatch.setattr(scrubber, "start", lambda: None)
    data, metadata = scrubber._repr_mimebundle_()
    assert "image/png" not in data | metadata
    assert data["text/plain"] == "Scrubber: nothing is computed yet"


# The page


def test_the_page_is_written_whole_and_holds_the_same_javascript(done, tmp_path):
    done.save_html(tmp_path / "page.html", "A <b>cat</b>")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.code() in text
    assert done._esm == page.code()
    assert "<title>A &lt;b&gt;cat&lt;/b&gt;</title>" in text
    state = json.loads(re.search(r'id="state">(.*?)</script>', text)[1])
    assert base64.b64decode(state["file"]["base64"]) == done.file
    assert state["answer"] == {}


def test_the_browser_side_loads_nothing_from_elsewhere():
    text = page.code().replace("http://www.w3.org/2000/svg", "") + page.style()
    for word in ("http", "import", "url(", "fetch(", "</script"):
        assert word not in text.replace("important", ""), word


def test_the_javascript_is_short_lines_of_one_module():
    assert sorted(path.stem for path in (page.FOLDER / "js").iterdir()) == sorted(page.SCRIPTS)
    assert max(len(line) for line in page.code().splitlines()) <= 120
    assert page.code().count("export ") == 1


# The bar


@pytest.fixture
def bar(weights, sample, monkeypatch):
    """An explorer on a small photo with random weights, done computing."""
    monkeypatch.setattr(model, "load", lambda name: weights)
    monkeypatch.setattr(explorer, "Scrubber", lambda: Scrubber(against=("jpeg",)))
    bar = Explorer(sample("chelsea", 40, 50), iterations=2)
    bar.wait()
    return bar


def test_the_bar_offers_the_samples_the_weights_that_ship_and_one_to_sixteen_iterations(bar):
    assert "chelsea" in bar._sample.options
    assert set(model.available()) <= {name for name, _ in bar._model.options}
    assert list(bar._iterations.options) == list(range(1, 17))


def test_the_figure_has_jpeg_below_and_only_iterations_that_there_are(bar):
    titles = [panel.get_title() for panel in bar.figure((1, 2, 8)).axes]
    assert sum(title.startswith("P[") for title in titles) == 2
    assert sum(title.startswith("JPEG ") for title in titles) == 2


def test_other_weights_or_more_iterations_begin_anew_with_the_same_photo(bar):
    before = bar.progression
    bar._iterations.value = 3
    bar.wait()
    assert len(bar.progression) == 3
    assert bar.progression is not before
    assert np.array_equal(bar.progression.original, before.original)


def test_weights_given_by_path_stay_while_more_iterations_are_chosen_and_can_be_chosen_again(
    weights_path, sample, monkeypatch
):
    monkeypatch.setattr(explorer, "Scrubber", lambda: Scrubber(against=("jpeg",)))
    bar = Explorer(sample("chelsea", 40, 50), str(weights_path), iterations=1)
    own = bar.weights
    bar._iterations.value = 2
    bar._model.value = model.newest("small")
    assert bar.weights.name == model.newest("small")
    bar._model.value = str(weights_path)
    bar.wait()
    assert bar.weights.sha256 == own.sha256
    assert bar._note.value == ""


def test_a_slider_ends_where_no_position_of_an_adaptive_file_sends_more(weights, sample):
    photo = sample("chelsea", 32, 48)
    shown = Scrubber(
        Progression(weights, photo, counts=np.array([[1, 2, 1], [1, 1, 1]])), against=("jpeg",), iterations=8
    )
    shown.wait()
    assert shown.setup["iterations"] == len(shown.progression) == 2


def test_the_stop_button_keeps_what_is_there(bar):
    bar._iterations.value = 16
    bar._stop.click()
    assert bar.scrubber.progress["text"].startswith("Stopped")
    assert bar.scrubber.setup["iterations"] == max(1, len(bar.progression))


def upload(bar, name, content):
    if int(ipywidgets.__version__.split(".")[0]) == 7:
        value = {name: {"metadata": {"name": name}, "content": content}}
    else:
        value = ({"name": name, "content": memoryview(content)},)
    bar._uploaded({"new": value})
    bar.wait()


def test_of_two_explorers_the_one_that_begins_stops_the_other(bar, sample):
    bar._iterations.value = 16
    other = Explorer(sample("chelsea", 40, 50), iterations=1)
    assert not bar.scrubber.is_computing
    assert len(bar.progression) < 16
    other._iterations.value = 16
    bar._iterations.value = 1
    assert not other.scrubber.is_computing
    assert len(other.progression) < 16


def test_the_same_file_can_be_uploaded_once_more(bar, sample):
    photo = sample("rocket", 30, 40)
    content = images.encode_png(photo)
    for _ in range(2):
        if int(ipywidgets.__version__.split(".")[0]) == 7:
            bar._upload.set_trait("value", {"a.png": {"metadata": {"name": "a.png"}, "content": content}})
        else:
            now = datetime.datetime.now(datetime.UTC)
            entry = {"name": "a.png", "type": "image/png", "size": len(content), "last_modified": now}
            bar._upload.value = (entry | {"content": memoryview(content)},)
        bar.wait()
        assert np.array_equal(unpacked(bar.scrubber.original), photo)
        assert not bar._upload.value
        bar.open(sample("chelsea", 40, 50))
        bar.wait()


def test_both_forms_of_an_upload_are_understood(bar, sample):
    for height, form in (
        (30, lambda png: {"a.png": {"content": png}}),
        (31, lambda png: ({"name": "a", "content": png},)),
    ):
        photo = sample("rocket", height, 40)
        bar._uploaded({"new": form(images.encode_png(photo))})
        bar.wait()
        assert np.array_equal(unpacked(bar.scrubber.original), photo)
    assert bar._sample.value is None


def test_a_large_upload_is_scaled_down_and_that_is_said(bar, monkeypatch):
    monkeypatch.setattr(explorer, "EXPLORER_PIXELS", 600)
    upload(bar, "large.png", images.encode_png(np.zeros((40, 60, 3), np.uint8)))
    assert unpacked(bar.scrubber.original).shape == (20, 30, 3)
    assert "60 × 40" in bar._note.value
    assert "30 × 20" in bar._note.value


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "0 bytes"), (b"<b>hello</b>", "not a picture"), (bytes(9_000_001), "9,000,001 bytes")],
)
def test_a_bad_upload_is_answered_in_words_and_changes_nothing(bar, content, words):
    before = bar.scrubber.original
    upload(bar, "<i>x</i>.png", content)
    assert words in bar._note.value
    assert "<i>" not in bar._note.value
    assert bar.scrubber.original == before


def test_what_is_no_photo_is_refused_before_anything_changes(bar):
    before = bar.progression
    with pytest.raises(PictureError, match="float64"):
        bar.open(np.zeros((4, 4, 3)))
    assert bar.progression is before


def test_the_payload_counts_every_byte_that_was_sent():
    scrubber = viewer.Scrubber()
    before = latency.payload_bytes(scrubber)
    scrubber.original = b"abc"
    scrubber.bytes_1 = {"jpeg-5": b"12345"}
    assert latency.payload_bytes(scrubber) == before + 8
    scrubber.readings = {"ours": [1]}
    assert latency.payload_bytes(scrubber) == before + 8 + len('"ours": [1]')


def test_the_viewers_bench_says_how_busy_the_machine_is_and_shows_sixteen_iterations(tmp_path, monkeypatch):
    monkeypatch.setattr(latency.psutil, "getloadavg", lambda: (1.25, 0.5, 0.125))

    def stop(*arguments, **options):
        raise InterruptedError(options)

    monkeypatch.setattr(latency, "Scrubber", stop)
    report = latency.report(model.load(), tmp_path)
    assert next(report) == ("load at the start, processes over 1, 5 and 15 minutes", [1.25, 0.5, 0.125])
    with pytest.raises(InterruptedError, match="'iterations': 16"):
        next(report)


def test_the_sizes_are_those_of_finished_scrubbers_and_their_median(tmp_path, monkeypatch, weights_path, sample):
    monkeypatch.setattr(latency, "ITERATIONS", 2)
    monkeypatch.setattr(latency, "SMALL", (176, 162))
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for k, path in enumerate(paths):
        images.save_png(sample("chelsea", 162 + 16 * k, 176), path)
    found = dict(latency.sizes(model.load(weights_path), paths, tmp_path))
    payloads = [found[f"payload of {k}.png, MB"] for k in range(3)]
    assert payloads == sorted(payloads)
    assert found["payload, MB, median of 3"] == payloads[1]
    assert found["payload, MB, largest"] == payloads[2]
    done = viewer.Scrubber(Progression(model.load(weights_path), images.load(paths[0])), iterations=2)
    done.wait()
    assert payloads[0] == pytest.approx(latency.payload_bytes(done) / 1e6, rel=0.01)
    assert found["page of 176 x 162 px, MB"] == pytest.approx((tmp_path / "page.html").stat().st_size / 1e6, rel=0.01)


@pytest.mark.parametrize(("values", "p95"), [([3.0], 3.0), (list(range(21)), 19), ([5, 1, 9], 9)])
def test_the_95th_percentile_is_one_of_the_values(values, p95):
    assert latency._p95(values) == p95
