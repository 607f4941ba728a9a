"""What is committed agrees with itself: weights, results, README, figures, credits, and the list of packages."""

import csv
import io
import json
import math
import re
import subprocess
import tomllib
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from rgru_lab import (
    __version__,
    ablation,
    adaptive,
    comparing,
    config,
    effects,
    machine,
    measuring,
    model,
    photos,
    plots,
    readme,
    release,
    reports,
    trials,
)
from rgru_lab.opponents import CODECS, jpeg_between
from rgru_lab.search import Searching

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHIPPED = model.available()
each_model = pytest.mark.parametrize("name", SHIPPED)


def summary_of(name):
    return json.loads((release.RESULTS / f"kodak-{name}.json").read_text(encoding="utf-8"))


SUMMARIES = release.summaries()


def test_weights_ship():
    assert model.load().name in SHIPPED


@each_model
def test_shipped_weights_load_with_their_record_and_are_light(name):
    weights = model.load(name)
    preset = name.rpartition("-")[0]
    if name == model.newest(preset):
        assert config.PRESETS[preset] == weights.model.config
    else:  # best-1 had the shape of small
        assert weights.model.config in config.PRESETS.values()
    for key in ("data", "pictures", "steps", "seconds", "hardware", "seed"):
        assert weights.record[key] not in (None, ""), key
    assert (model.MODELS / f"{name}.safetensors").stat().st_size < 15e6


@each_model
def test_the_results_are_of_these_weights(name):
    summary = summary_of(name)
    assert summary["weights_sha256"] == model.load(name).sha256
    assert summary["pictures"] == 24


@each_model
def test_the_summary_follows_from_the_rows(name):
    rows = list(csv.DictReader((release.RESULTS / f"kodak-{name}.csv").open(encoding="utf-8")))
    for point in summary_of(name)["curve"]:
        group = [row for row in rows if row["codec"] == name and int(row["point"]) == point["point"]]
        assert len(group) == 24
        for key in ("bpp", "psnr_db", "ms_ssim"):
            assert point[key] == pytest.approx(np.mean([float(row[key]) for row in group]), abs=2e-5)


@each_model
def test_every_iteration_up_to_the_eighth_adds_to_ms_ssim(name):
    """The aim is sixteen; where the curve turns, the results say so."""
    curve = [point["ms_ssim"] for point in summary_of(name)["curve"]]
    assert len(curve) >= 8
    assert min(np.diff(curve[:8])) > 0


def test_every_number_in_the_readmes_blocks_is_the_one_in_the_results():
    assert readme.with_blocks(README, release.blocks(SUMMARIES)) == README


def test_the_readme_points_at_the_results_of_the_newest_weights():
    prose = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", README, flags=re.DOTALL)
    for what, name in re.findall(r"data/results/(viewer|payload|precision)-([\w-]+)\.json", prose):
        assert name == model.newest("small"), what
    linked = set(re.findall(r"\(data/results/kodak-([\w-]+)-search\.md\)", prose))
    assert linked == {summary["model"] + "-adaptive" * bool(summary["slopes"]) for summary in release.searched()}


def test_of_a_preset_the_newest_searched_files_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "RESULTS", tmp_path)
    monkeypatch.setattr(release, "shipped", lambda: ["small-9", "best-3"])
    for name in ("small-8", "small-7", "best-2-adaptive", "best-4-adaptive", "fast-1"):
        (tmp_path / f"kodak-{name}-search.json").write_text(json.dumps({"name": name}), encoding="utf-8")
    assert [summary["name"] for summary in release.searched()] == ["small-8", "best-2-adaptive"]


@pytest.mark.parametrize("name", ["claim", "results", "opponents", "moved", "speed"])
def test_the_readme_test_notices_a_stale_block(name):
    start = README.index(f"<!-- {name} -->")
    place = next(match.start() for match in re.finditer(r"\d", README[start:])) + start
    stale = README[:place] + str((int(README[place]) + 1) % 10) + README[place + 1 :]
    assert readme.with_blocks(stale, release.blocks(SUMMARIES)) == README != stale


def test_a_speed_that_was_not_measured_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "RESULTS", tmp_path)
    with pytest.raises(
        config.InputError, match="the speed of small-9 is not known; run python -m rgru_lab bench while"
    ):
        release.blocks([{"model": "small-9"}])


def test_a_readme_without_a_block_is_refused():
    with pytest.raises(config.InputError, match="the README has 0 places marked <!-- claim -->; it needs one"):
        readme.with_blocks("# Hello", {"claim": "ours"})


def test_every_measured_number_in_the_readme_stands_in_a_block():
    """Sizes of installation and memory, limits and definitions aside."""
    prose = re.sub(r"<!-- (\w+) -->.*?<!-- /\1 -->", "", README, flags=re.DOTALL)
    prose = re.sub(r"```.*?```", "", prose, flags=re.DOTALL)
    pixel, photo = (machine.memory_bytes(model.load().model.config, *size) for size in ((1, 1), (3000, 4000)))
    needed = {f"{10 * math.ceil(pixel / 10)} bytes": "of memory for a pixel", f"{photo / 1e9:.0f} GB": "12 megapixels"}
    said = {"2 GB": "installation"} | needed
    found = re.findall(r"(?<![\w.])[\d.,]+ (?:%|dB|bpp|bits per pixel|kB|MB|GB|bytes)(?!\w)", prose)
    assert set(needed) <= set(found) <= set(said)


def test_what_more_the_readme_says_of_memory_is_what_the_kit_predicts():
    small, best = (machine.memory_bytes(model.load(name).model.config, 3000, 4000) for name in ("small", "best"))
    needs = (
        f"for `base` and `best` {best / small:.1f} times as much, for an adaptive file {adaptive.TIMES_MEMORY:g} times,"
    )
    assert f"{needs} for a search {Searching.times_memory:g} times." in " ".join(README.split())


def test_the_claim_is_of_the_best_weights_and_of_real_files():
    found = json.loads((release.RESULTS / "claim.json").read_text(encoding="utf-8"))
    weights, photo = model.load(release.BEST), photos.sample("chelsea")
    assert found["weights_sha256"] == weights.sha256
    progression = adaptive.reaching(weights, photo, release.CLAIMED_MS_SSIM)
    ours = progression[len(progression)]
    assert len(progression.file(len(progression))) == pytest.approx(found["size_bytes"], rel=0.01)
    assert round(ours.ms_ssim, 3) == pytest.approx(found["ms_ssim"], abs=0.002)
    assert release.CLAIMED_MS_SSIM <= found["ms_ssim"] < release.CLAIMED_MS_SSIM + 0.003
    jpeg = jpeg_between(photo, found["ms_ssim"])
    assert jpeg.size_bytes == pytest.approx(found["jpeg_size_bytes"], rel=0.02)  # another libjpeg may differ a little
    assert found["smaller_percent"] == pytest.approx(
        100 * (1 - found["size_bytes"] / found["jpeg_size_bytes"]), abs=0.05
    )
    assert abs(found["jpeg_ms_ssim"] - release.CLAIMED_MS_SSIM) <= 0.003
    assert found["smaller_percent"] >= release.CLAIMED_PERCENT


def test_the_ablation_is_of_weights_that_ship():
    found = json.loads((release.RESULTS / "ablation.json").read_text(encoding="utf-8"))
    assert found["model"] in SHIPPED
    assert found["weights_sha256"] == model.load(found["model"]).sha256
    assert ablation.report(found) == (release.RESULTS / "ablation.md").read_text(encoding="utf-8")


def test_the_pages_of_results_are_those_of_their_json_and_these_follow_from_their_rows():
    plain = json.loads((release.RESULTS / f"kodak-{model.newest(release.BEST)}.json").read_text(encoding="utf-8"))
    for summary in [*SUMMARIES, *release.searched(), plain]:
        name = reports.label(summary).replace(", ", "-").replace("searched", "search")
        rows = measuring.read(release.RESULTS / f"kodak-{name}.csv")
        assert comparing.written(comparing.mean_curve(rows)) == summary["curve"]
        assert reports.report(summary) == (release.RESULTS / f"kodak-{name}.md").read_text(encoding="utf-8")


def test_the_page_of_trials_is_that_of_its_rows():
    rows = json.loads((release.RESULTS / "trials.json").read_text(encoding="utf-8"))
    assert trials.document(rows) == (release.RESULTS / "training.md").read_text(encoding="utf-8")


def test_the_page_of_effects_is_that_of_its_json():
    found = json.loads((release.RESULTS / "effects.json").read_text(encoding="utf-8"))
    assert effects.report(found) == (release.RESULTS / "effects.md").read_text(encoding="utf-8")
    assert [(row["key"], row["files"]) for row in found["ideas"]] == [
        ("start", "all bits"),
        *((idea.key, kind) for idea in effects.IDEAS for kind in idea.files),
    ]
    assert found["pictures"] == 24


def test_the_adaptive_summary_follows_from_its_rows_and_is_of_the_weights():
    (summary,) = (summary for summary in SUMMARIES if summary.get("slopes"))
    assert summary["weights_sha256"] == model.load(release.BEST).sha256
    rows = measuring.read(release.RESULTS / f"kodak-{summary['model']}-adaptive.csv")
    assert comparing.written(comparing.mean_curve(rows)) == summary["curve"]
    assert len(rows) == 24 * len(summary["slopes"])


def test_the_opponents_rows_make_their_curves():
    found = json.loads((release.RESULTS / "kodak-opponents.json").read_text(encoding="utf-8"))
    rows = measuring.read(release.RESULTS / "kodak-opponents.csv")
    assert set(found["codecs"]) == set(CODECS)
    assert len(found["pictures"]) == 24
    for name, entry in found["codecs"].items():
        group = [row for row in rows if row["codec"] == name]
        assert entry["curve"] == comparing.written(comparing.mean_curve(group))
        assert entry["settings"] == CODECS[name].settings
        assert entry["points"] == sorted({row["point"] for row in group})
        assert len(group) == 24 * len(entry["points"])


def test_a_rate_at_equal_quality_is_interpolated_by_hand():
    curve = [{"bpp": 0.1, "ms_ssim": 0.8}, {"bpp": 0.3, "ms_ssim": 0.9}, {"bpp": 0.7, "ms_ssim": 0.92}]
    assert comparing.bpp_at(curve, 0.85) == pytest.approx(0.2)
    assert comparing.bpp_at(curve, 0.91) == pytest.approx(0.5)
    assert comparing.bpp_at(curve, 0.7) is None
    assert comparing.bpp_at(curve, 0.93) is None


def test_the_newest_weights_of_each_preset_are_released_the_default_first(tmp_path, monkeypatch):
    monkeypatch.setattr(model, "MODELS", tmp_path)
    for name in ("base-1", "base-2", "small-9", "small-10", "micro-1", "mine-1", "lstm"):
        (tmp_path / f"{name}.safetensors").touch()
    assert config.DEFAULT_MODEL == "small"
    assert release.shipped() == ["small-10", "base-2", "micro-1"]
    (tmp_path / "small-9.safetensors").unlink()
    (tmp_path / "small-10.safetensors").unlink()
    assert release.shipped() == ["base-2", "micro-1"]


def _curve(ms_ssim):
    return [{"bpp": 0.1 * k, "ms_ssim": ms_ssim + 0.01 * k} for k in (1, 2, 3)]


@pytest.mark.parametrize("names", [["small-1"], ["small-1", "base-1"], ["small-1", "base-1", "micro-1", "paper-1"]])
def test_all_curves_can_be_told_apart_by_colour_and_by_marker_and_jpeg_keeps_its_colour(names):
    curves = {name: _curve(0.8 + 0.02 * k) for k, name in enumerate(names)} | {"JPEG": _curve(0.7)}
    axes = plots.rate_distortion(curves, "a set").axes[0]
    *ours, jpeg = axes.lines
    assert [line.get_label() for line in axes.lines] == [*names, "JPEG"]
    assert jpeg.get_color() == plots.JPEG
    assert ours[0].get_color() == plots.OURS
    assert len({line.get_color() for line in axes.lines}) == len(axes.lines)
    assert len({line.get_marker() for line in ours}) == len(ours)
    for line, curve in zip(axes.lines, curves.values(), strict=True):
        assert [list(pair) for pair in line.get_xydata()] == [[p["bpp"], p["ms_ssim"]] for p in curve]


@pytest.mark.parametrize("weak", [None, "red and green", "blue"], ids=str)
def test_the_colours_of_curves_differ_for_the_colour_blind_too(weak):
    """At least 40 levels apart where red and green, or blue, say no more than how light it is: roughly what is seen."""
    colours = np.array([to_rgb(c) for c in (plots.JPEG, *(colour for colour, _ in plots.CURVES))]) * 255
    if weak == "red and green":
        colours[:, 0] = colours[:, 1] = 0.3 * colours[:, 0] + 0.7 * colours[:, 1]
    elif weak == "blue":
        colours[:, 2] = 0.3 * colours[:, 0] + 0.7 * colours[:, 1]
    for a, b in combinations(colours, 2):
        assert np.abs(a - b).max() > 40


def test_the_figure_of_several_models_is_written_with_jpeg_of_the_first_and_the_others_beside(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(release, "FIGURES", tmp_path / "figures")
    draw = plots.rate_distortion
    monkeypatch.setattr(plots, "rate_distortion", lambda *given: drawn.append(given) or draw(*given))
    summaries = [
        {"model": name, "curve": _curve(level), "jpeg_curve": _curve(jpeg), "pictures": 24}
        for name, level, jpeg in (("small-2", 0.8, 0.7), ("base-1", 0.85, 0.6))
    ]
    release.curves(summaries)
    ((curves, title, beside),) = drawn
    assert list(beside) == [CODECS["jpeg-mozjpeg-table"].label, "WebP", "AVIF", *release.PEERS]
    assert curves == {"small-2": _curve(0.8), "base-1": _curve(0.85), "JPEG": _curve(0.7)}
    assert title == "mean over the 24 Kodak photographs"
    assert (tmp_path / "figures" / "kodak.png").read_bytes().startswith(b"\x89PNG")


def test_every_link_and_picture_of_the_readme_leads_somewhere():
    for page in (ROOT / "README.md", ROOT / "data" / "README.md"):
        for bang, alt, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
            assert alt or not bang
            assert target.startswith("https://") or (page.parent / target).exists(), target


def test_the_two_commands_stand_on_one_line_each():
    lines = README.splitlines()
    assert sum(line.startswith("python3 -m venv") and line.endswith("/pytest") for line in lines) == 1
    assert sum(line.startswith("python3 -m venv") and "00_start_here.ipynb" in line for line in lines) == 1


def test_jupyterlab_is_started_above_the_notebooks_so_that_their_pictures_and_links_to_data_are_found():
    pages = (ROOT / "README.md", ROOT / "notebooks" / "for_teachers.md")
    commands = [
        line for page in pages for line in page.read_text(encoding="utf-8").splitlines() if "jupyter lab " in line
    ]
    assert len(commands) == 3
    assert all(re.search(r"jupyter lab --notebook-dir \. (notebooks|class)[/\\]", command) for command in commands)


def test_every_shipped_file_is_credited():
    credits = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for folder in ("models", "figures"):
        for path in (ROOT / "data" / folder).iterdir():
            assert f"{folder}/{path.name}" in credits
    for name in re.findall(r"`((?:models|figures)/[^`]+)`", credits):
        assert (ROOT / "data" / name).exists(), name


def test_requirements_are_the_one_list_and_say_who_needs_each():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["dynamic"] == ["version", "dependencies"]
    assert "optional-dependencies" not in project["project"]
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"[a-z-]+[<>=.,0-9]+( ; [^#]+)? +# .{5,}", line), line
    assert "-r ../requirements.txt" in (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()


def test_every_import_is_in_the_list():
    known = re.findall(r"^[a-z-]+", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    names = {name.replace("-", "_") for name in known} | {"PIL", "skimage", "IPython", "traitlets", "nbformat"}
    sources = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "rgru_lab").rglob("*.py"))
    imported = set(re.findall(r"^ *(?:import|from) ([a-zA-Z_0-9]+)", sources, re.MULTILINE)) - {"rgru_lab"}
    import sys

    assert imported <= names | sys.stdlib_module_names


def test_the_workflow_runs_the_same_script_for_every_python_that_the_kit_is_for():
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    low, high = re.search(r">=3\.(\d+),<3\.(\d+)", (ROOT / "pyproject.toml").read_text(encoding="utf-8")).groups()
    pythons = re.search(r"python: \[(.*)\]", workflow)[1]
    assert pythons == ", ".join(f'"3.{minor}"' for minor in range(int(low), int(high)))
    assert "os: [ubuntu-latest, macos-latest, windows-latest]" in workflow
    assert workflow.count("- run: .ci/run\n") == 2
    assert "cron:" in workflow


def test_colabs_versions_are_ones_that_the_kit_allows():
    wanted = dict(
        re.findall(r"^([a-z-]+)>=([\d.]+)", (ROOT / "requirements.txt").read_text(encoding="utf-8"), re.MULTILINE)
    )
    for line in (ROOT / ".ci" / "colab.txt").read_text(encoding="utf-8").splitlines():
        name, pinned = line.split("==")
        if name in wanted:
            assert [*map(int, pinned.split("."))] >= [*map(int, wanted[name].split("."))], name


def test_the_version_is_said_once():
    assert f"version: {__version__}" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


def test_validation_photographs_are_forty():
    assert len(photos.validation_names()) == 40


def test_kodak_is_taken_from_a_filled_cache_only_if_its_checksum_is_right(tmp_path, monkeypatch):
    """No network: the download is replaced by one that fails, as on a machine that is offline."""
    import pooch

    monkeypatch.setenv(photos.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", _offline)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    first = photos._rows(photos.DATA / "kodak.csv")[:1]
    monkeypatch.setattr(photos, "_rows", lambda path: first)  # or the second photograph would be missing in any case
    (tmp_path / "kodak").mkdir()
    (tmp_path / "kodak" / "kodim01.png").write_bytes(b"not a lighthouse")
    with pytest.raises(photos.DownloadError, match=r"put kodim01.png"):
        photos.kodak()


def test_kodak_files_with_the_right_checksum_need_no_network(tmp_path, monkeypatch):
    import hashlib

    import pooch

    monkeypatch.setenv(photos.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", _offline)
    (tmp_path / "kodak").mkdir()
    content = {f"kodim{k:02}.png": bytes([k]) for k in range(1, 4)}
    rows = [{"file": name, "sha256": hashlib.sha256(data).hexdigest()} for name, data in content.items()]
    monkeypatch.setattr(photos, "_rows", lambda path: rows)
    for name, data in content.items():
        (tmp_path / "kodak" / name).write_bytes(data)
    assert [path.read_bytes() for path in photos.kodak()] == list(content.values())


def _offline(self, url, output_file, pooch, check_only=False):
    raise OSError("no network")


def test_no_tracked_file_names_a_package_registry_outside_binder():
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if files.returncode:
        pytest.skip("not a git checkout")
    needle = "download." + "pytorch.org"
    for name in files.stdout.split():
        data = (ROOT / name).read_bytes()
        assert needle.encode() not in data or name.startswith("binder/"), name


def test_figures_are_the_same_bytes_every_time(sample, weights):
    from rgru_lab import plots
    from rgru_lab.opponents import Ladder
    from rgru_lab.progression import Progression

    progression = Progression(weights, sample("chelsea", 161, 177))
    list(progression.run(2))
    images = [plots.png(plots.comparison(progression, Ladder(progression.original), [1, 2])) for _ in range(2)]
    assert images[0] == images[1]
    from PIL import Image

    assert Image.open(io.BytesIO(images[0])).width > 500


def test_a_committed_notebook_keeps_the_picture_of_a_widget_and_nothing_else_of_it():
    import nbformat

    def output(**data):
        return nbformat.v4.new_output("display_data", data, metadata={"image/png": {"alt": "a cat"}})

    live, picture = {release.WIDGET_VIEW: {"model_id": "1"}}, {"image/png": "cG5n", "text/plain": "a cat"}
    outputs = [output(**live, **{"text/plain": "VBox()"}), output(**live, **picture), output(**picture)]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("show()", outputs=outputs), nbformat.v4.new_markdown_cell("text")],
        metadata={"widgets": {"state": {}}},
    )
    tidied = release.tidy(notebook)
    assert [dict(o["data"]) for o in tidied.cells[0].outputs] == [picture, picture]
    assert all(o.metadata["image/png"]["alt"] for o in tidied.cells[0].outputs)
    assert "widgets" not in tidied.metadata


def test_of_each_preset_the_newest_speeds_of_each_machine_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(release, "RESULTS", tmp_path)
    for name in ("small-7", "small-8", "small-9", "base-4", "small-8-pi", "fast-1-pi"):
        (tmp_path / f"bench-{name}.json").write_text("{}", encoding="utf-8")
    summaries = [{"model": name} for name in ("small-8", "base-5", "fast-2")]
    shown = [path.stem for path in release._benches(summaries)]
    assert shown == ["bench-small-8", "bench-base-4", "bench-small-8-pi", "bench-fast-1-pi"]
