"""An evaluation from end to end: its files, opponents that are not measured twice, and one that was stopped."""

import json
import re

import numpy as np
import pytest

from rgru_lab import adaptive, evaluate, images, machine, measuring, reports
from rgru_lab.config import InputError
from rgru_lab.progression import Progression
from rgru_lab.search import Searching


@pytest.fixture(scope="module")
def paths(tmp_path_factory, sample):
    folder = tmp_path_factory.mktemp("set")
    for name in ("rocket", "coffee"):
        images.save_png(sample(name, 161, 170), folder / f"{name}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def done(weights, paths, tmp_path_factory):
    """A folder with the results of one evaluation, and its summary."""
    folder = tmp_path_factory.mktemp("results")
    return folder, evaluate.run(weights, "two", paths, folder, iterations=2)


@pytest.fixture
def watched(monkeypatch):
    """Which opponents are measured, picture by picture."""
    calls, theirs = [], measuring.theirs
    monkeypatch.setattr(measuring, "theirs", lambda codecs, path: calls.append(list(codecs)) or theirs(codecs, path))
    return calls


@pytest.fixture
def stopped(done, weights, paths, tmp_path, monkeypatch):
    """stopped(...): the pictures whose files an evaluation makes until it is stopped at the second."""
    calls, mine = [], _copied(done[0], tmp_path)

    def measure(weights, path, *given, **options):
        calls.append(path.name)
        if path.name == "rocket.png":
            raise KeyboardInterrupt
        return []

    monkeypatch.setattr(measuring, "ours", measure)
    monkeypatch.setattr(measuring, "ours_adaptive", measure)

    def run(weights=weights, **options):
        calls.clear()
        with pytest.raises(KeyboardInterrupt):
            evaluate.run(weights, "two", paths, mine, **options)
        return [*calls]

    return run


def test_the_files_of_an_evaluation(done, weights):
    folder, summary = done
    name = f"two-{weights.name}"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{name}.csv", f"{name}.json", f"{name}.md", "two-opponents.csv", "two-opponents.json"]
    )
    assert json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) == json.loads(json.dumps(summary))
    rows = measuring.read(folder / f"{name}.csv")
    assert [(row["picture"], row["point"]) for row in rows] == [
        (p, i) for p in ("coffee.png", "rocket.png") for i in (1, 2)
    ]
    assert (folder / f"{name}.md").read_text(encoding="utf-8").startswith(f"# {weights.name} on 2 pictures (two)")
    assert summary["pictures"] == 2


@pytest.mark.parametrize(("wanted", "precision"), [("0", "float32"), ("1", "bfloat16")])
def test_what_the_networks_ran_in_is_kept(done, weights, paths, tmp_path, monkeypatch, wanted, precision):
    monkeypatch.setenv("RGRU_LAB_BF16", wanted)
    summary = evaluate.run(weights, "two", paths, _copied(done[0], tmp_path), iterations=2)
    assert summary["precision"] == precision
    assert f"The networks ran in {precision}" in reports.report(summary)


def test_opponents_that_stand_there_are_not_measured_again(done, weights, paths, watched):
    folder, summary = done
    again = evaluate.run(weights, "two", paths, folder, iterations=2)
    assert watched == []
    assert again["jpeg_curve"] == summary["jpeg_curve"]


def test_only_what_is_missing_is_measured_and_what_was_there_stays(done, weights, paths, tmp_path, watched):
    folder, _ = done
    mine = _copied(folder, tmp_path)
    before = measuring.read(mine / "two-opponents.csv")
    summary = evaluate.run(weights, "two", paths, mine, iterations=2, against=["jpeg-default"])
    assert watched == [["jpeg-default"]] * 2
    assert [opponent["codec"] for opponent in summary["opponents"]] == ["jpeg", "jpeg-default"]
    assert [row for row in measuring.read(mine / "two-opponents.csv") if row["codec"] == "jpeg"] == before
    assert set(json.loads((mine / "two-opponents.json").read_text(encoding="utf-8"))["codecs"]) == {
        "jpeg",
        "jpeg-default",
    }


def test_results_that_go_further_are_not_replaced(done, weights, paths, tmp_path, watched):
    mine = _copied(done[0], tmp_path)
    before = (mine / "two-micro-1.json").read_bytes()
    with pytest.raises(InputError, match=r"two-micro-1.json is of 2 iterations, and 1 would take .* add --force"):
        evaluate.run(weights, "two", paths, mine, iterations=1)
    assert (mine / "two-micro-1.json").read_bytes() == before
    assert len(evaluate.run(weights, "two", paths, mine, iterations=1, force=True)["curve"]) == 1
    page = mine / "two-micro-1-adaptive-search.json"
    for there, asked in (
        ({"slopes": [1], "search": 3, "curve": []}, "16 iterations"),
        ({"slopes": [1], "search": 3, "curve": [], "iterations": 1}, "3 steps of a search"),
    ):
        page.write_text(json.dumps(there), encoding="utf-8")
        with pytest.raises(InputError, match=asked):
            evaluate.run(weights, "two", paths, mine, iterations=1, slopes=(0.1,), search=2)


@pytest.mark.parametrize("what", ["another encoder", "another picture", "no table", "asked for"])
def test_opponents_are_measured_again_where_the_old_figures_would_not_hold(done, paths, tmp_path, watched, what):
    mine = _copied(done[0], tmp_path)
    page = json.loads((mine / "two-opponents.json").read_text(encoding="utf-8"))
    if what == "another encoder":
        page["codecs"]["jpeg"]["encoder"] = "libjpeg_turbo 1.0"
    elif what == "another picture":
        page["pictures"]["coffee.png"] = "00"
    elif what == "no table":
        (mine / "two-opponents.csv").unlink()
    (mine / "two-opponents.json").write_text(json.dumps(page), encoding="utf-8")
    evaluate.opponents("two", paths, mine, ["jpeg"], fresh=what == "asked for")
    assert watched == [["jpeg"]] * 2


@pytest.mark.parametrize("name", ["two-opponents.csv", "two-opponents.json", "two-micro-1.json"])
@pytest.mark.parametrize(
    "damage",
    [lambda data: b"garbage", lambda data: b"{}", lambda data: b"[]", lambda data: data[: len(data) // 2]],
    ids=["other", "empty", "a list", "cut"],
)
def test_results_that_are_damaged_are_named(done, weights, paths, tmp_path, name, damage):
    mine = _copied(done[0], tmp_path)
    (mine / name).write_bytes(damage((mine / name).read_bytes()))
    with pytest.raises(InputError, match=rf"{re.escape(name)} is damaged.*; delete (it|both), and"):
        evaluate.run(weights, "two", paths, mine, iterations=2)


def test_a_table_without_its_last_lines_is_damaged_too(done, weights, paths, tmp_path):
    mine = _copied(done[0], tmp_path)
    table = mine / "two-opponents.csv"
    table.write_bytes(b"".join(table.read_bytes().splitlines(keepends=True)[:-3]))
    with pytest.raises(InputError, match=r"two-opponents.csv is damaged, or not the one of"):
        evaluate.run(weights, "two", paths, mine, iterations=2)


@pytest.mark.parametrize("fresh", [True, False])
def test_opponents_that_were_not_asked_for_are_not_lost(done, paths, tmp_path, watched, fresh):
    mine = _copied(done[0], tmp_path)
    evaluate.opponents("two", paths, mine, ["webp"])
    page = json.loads((mine / "two-opponents.json").read_text(encoding="utf-8"))
    page["codecs"]["webp"]["encoder"] = "libwebp 0.1"
    (mine / "two-opponents.json").write_text(json.dumps(page), encoding="utf-8")
    watched.clear()
    rows = evaluate.opponents("two", paths, mine, ["jpeg"], fresh=fresh)
    assert watched == ([["jpeg"]] * 2 if fresh else [])  # another encoder's rows stay its own
    assert {row["codec"] for row in rows} == {"jpeg", "webp"}
    page = json.loads((mine / "two-opponents.json").read_text(encoding="utf-8"))
    assert page["codecs"]["webp"]["encoder"] == "libwebp 0.1"


def test_one_that_was_stopped_goes_on_and_leaves_nothing_behind(weights, paths, tmp_path, monkeypatch):
    ours, calls = measuring.ours, []

    def stopped_at_the_second(*given, **options):
        calls.append(given[1].name)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return ours(*given, **options)

    monkeypatch.setattr(measuring, "ours", stopped_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        evaluate.run(weights, "two", paths, tmp_path, iterations=1)
    assert list(tmp_path.glob("*.part"))
    evaluate.run(weights, "two", paths, tmp_path, iterations=1)
    assert calls == ["coffee.png", "rocket.png", "rocket.png"]
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({}, {"bit_model": None}),
        ({}, {"iterations": 2}),
        ({"slopes": (0.02,)}, {"slopes": (0.02, 0.01)}),
        ({"search": 2}, {"search": 3}),
        ({"slopes": (0.02,), "search": 2}, {"slopes": (0.02,), "search": 3}),
    ],
    ids=str,
)
def test_rows_that_were_made_otherwise_before_it_was_stopped_are_not_taken(stopped, before, now):
    assert stopped(**before) == ["coffee.png", "rocket.png"]
    assert stopped(**now) == ["coffee.png", "rocket.png"]
    assert stopped(**now) == ["rocket.png"]


def test_rows_of_other_weights_version_precision_or_files_kept_elsewhere_are_not_taken(
    stopped, weights, tmp_path, monkeypatch
):
    both = ["coffee.png", "rocket.png"]
    monkeypatch.setenv(machine.BF16_VARIABLE, "0")
    assert stopped() == stopped(weights._replace(sha256="00")) == both
    monkeypatch.setattr(measuring, "__version__", "0.0.1")
    assert stopped(weights._replace(sha256="00")) == both
    monkeypatch.setenv(machine.BF16_VARIABLE, "1")
    assert stopped(weights._replace(sha256="00")) == both
    monkeypatch.setenv(machine.BF16_VARIABLE, "0")
    files = [{"slopes": (0.02,), "files": tmp_path / name} for name in "ab"]
    assert stopped(**files[0]) == stopped(**files[1]) == both
    assert stopped(**files[1]) == ["rocket.png"]


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({}, 1.0),
        ({"slopes": (0.02,)}, adaptive.TIMES_MEMORY),
        ({"search": 2}, Searching.times_memory),
        ({"slopes": (0.02,), "search": 2}, Searching.times_memory),
    ],
    ids=str,
)
def test_pictures_at_a_time_are_as_many_as_what_is_done_to_them_needs_memory(stopped, monkeypatch, options, times):
    asked = []
    monkeypatch.setattr(measuring, "affordable_jobs", lambda weights, paths, *rest: asked.append(rest) or 1)
    stopped(jobs=4, **options)
    assert asked == [(4, times)]


def test_what_a_search_finds_is_kept_apart_and_says_so(done, weights, paths, tmp_path):
    mine = _copied(done[0], tmp_path)
    summary = evaluate.run(weights, "two", paths, mine, iterations=1, search=2)
    name = f"two-{weights.name}-search"
    (row, _) = measuring.read(mine / f"{name}.csv")
    progression = Progression(weights, images.load(paths[0]), search=2)
    ((_, decoded),) = progression.run(1)
    assert (row["size_bytes"], row["ms_ssim"]) == (decoded.size_bytes, round(decoded.ms_ssim, 5))
    assert row["ms_ssim"] != measuring.read(mine / f"two-{weights.name}.csv")[0]["ms_ssim"]
    page = (mine / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {weights.name}, searched on 2 pictures (two)")
    assert (
        "in 2 √(s / i) steps in iteration i, s being the share of positions whose bits were searched there. Mean"
        in page
    )
    evaluate.run(weights, "two", paths[:1], mine, iterations=1, search=2, slopes=(0.02,))
    page = (mine / f"two-{weights.name}-adaptive-search.md").read_text(encoding="utf-8")
    assert "were searched there, at slopes of 0.002 and over. Mean" in page
    assert summary["search"] == 2


def test_adaptive_files_are_measured_a_row_for_every_slope_and_kept_apart(done, weights, paths, tmp_path):
    slopes = (0.02, adaptive.ALL)
    mine = _copied(done[0], tmp_path)
    summary = evaluate.run(weights, "two", paths, mine, slopes=slopes)
    name = f"two-{weights.name}-adaptive"
    rows = measuring.read(mine / f"{name}.csv")
    assert [(row["picture"], row["point"]) for row in rows] == [
        (p, k) for p in ("coffee.png", "rocket.png") for k in (1, 2)
    ]
    for row in rows:
        photo = images.load(next(path for path in paths if path.name == row["picture"]))
        curves = np.stack([*adaptive.unlikeness(weights.model, photo)])
        progression = Progression(weights, photo, "find", adaptive.counts(curves, slopes[row["point"] - 1]))
        *_, (_, last) = progression.run(int(progression.counts.max()))
        assert row["size_bytes"] == last.size_bytes
        assert row["ms_ssim"] == pytest.approx(last.ms_ssim, abs=1e-5)
        raw = Progression(weights, photo, None, progression.counts)
        *_, (_, last) = raw.run(int(progression.counts.max()))
        assert row["raw_bytes"] == last.size_bytes
        assert row["size_bytes"] <= row["counted_bytes"] <= row["raw_bytes"]
    page = (mine / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {weights.name}, adaptive on 2 pictures (two)")
    assert "the slope is that price, equal for all pictures" in page
    assert "| 0.02 |" in page
    assert "| all go on |" in page
    assert summary["slopes"] == [0.02, -1.0]
    assert (mine / f"two-{weights.name}.md").read_bytes() == (done[0] / f"two-{weights.name}.md").read_bytes()


def test_a_picture_that_a_codec_gives_back_exactly_is_measured_and_read_again(weights, tmp_path):
    (tmp_path / "set").mkdir()
    images.save_png(np.full((176, 176, 3), 128, np.uint8), tmp_path / "set" / "grey.png")
    for _ in range(2):  # the second time the opponents are there
        summary = evaluate.run(weights, "set", [tmp_path / "set" / "grey.png"], tmp_path, iterations=2)
    assert max(point["ms_ssim"] for point in summary["jpeg_curve"]) == 1
    assert summary["opponents"][0]["bjontegaard_psnr_percent"] is None


def test_progress_names_what_is_measured(weights, paths, tmp_path):
    said = []

    def progress(rows, total, what):
        said.append((total, what))
        return rows

    evaluate.run(weights, "two", paths[:1], tmp_path, iterations=1, progress=progress)
    assert said == [(1, "jpeg"), (1, weights.name)]


def _copied(folder, target):
    for path in folder.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
    return target
