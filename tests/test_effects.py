"""Effects: each idea trained and measured alike, kept when stopped, and a table that says what differs."""

import json
from dataclasses import replace
from functools import partial

import pytest

from rgru_lab import __main__ as cli
from rgru_lab import bitnet, effects, images, machine, measuring, model
from rgru_lab.bitmodel import Counts
from rgru_lab.config import InputError, TrainConfig


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Two steps on one patch of 32 px, measured after two iterations."""
    monkeypatch.setattr(effects, "STEPS", 2)
    recipe = replace(effects.RECIPE, curriculum=((1.0, 2, 32, 1),), skip=1, warmup_steps=1)
    monkeypatch.setattr(effects, "RECIPE", recipe)
    files = {
        "all bits": partial(measuring.ours, iterations=2),
        "adaptive": partial(measuring.ours_adaptive, slopes=(0.1, 0.001), iterations=2),
        "all bits, searched": partial(measuring.ours, iterations=2, search=1),
    }
    monkeypatch.setattr(effects, "FILES", files)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, sample):
    """Three photographs, large enough for MS-SSIM."""
    path = tmp_path_factory.mktemp("photos")
    for k, name in enumerate(("rocket", "coffee", "astronaut")):
        images.save_png(sample(name, 161, 165 + k), path / f"{name}.png")
    return path


IDEAS = effects.IDEAS[:2]


def test_each_idea_changes_one_thing_and_only_together_puts_two_of_them_together():
    changes = {idea.key: {**idea.model, **idea.recipe} for idea in effects.IDEAS}
    assert changes.pop("common") == {}
    assert changes.pop("together") == changes["rate"] | changes["adaptive"]
    assert all(len(change) == 1 for change in changes.values())
    assert len({idea.key for idea in effects.IDEAS}) == len(effects.IDEAS)
    for idea in effects.IDEAS:
        assert replace(effects.RECIPE, **idea.recipe).rate > 0  # or nothing would predict its bits


def test_all_begin_with_the_same_weights_and_see_the_same_patches(weights, sample, tmp_path):
    photos = [sample("coffee", 64, 64)]
    again = effects.Idea("again", "the same once more")
    seen = [
        (idea.key, step)
        for idea, step in effects.train(weights, Counts(), photos, tmp_path, (*IDEAS, again), data="two photos")
    ]
    assert seen == [("common", 1), ("common", 2), ("rate", 1), ("rate", 2), ("again", 1), ("again", 2)]
    common, rate, twin = (model.load(tmp_path / f"{key}.safetensors") for key in ("common", "rate", "again"))
    assert common.sha256 == twin.sha256 != rate.sha256
    assert common.record["started_from"] == weights.name
    assert TrainConfig(**rate.record["config"]).rate == 0.5
    assert bitnet.load(tmp_path / "rate.bits").codec == rate.fingerprint


def test_what_files_are_asked_to_be_is_part_of_what_was_measured(weights, sample, tmp_path, folder, monkeypatch):
    list(effects.train(weights, Counts(), [sample("coffee", 64, 64)], tmp_path, IDEAS[:1], data="a photo"))
    seen = []
    monkeypatch.setattr(measuring, "every", lambda work, paths, kept, identity, jobs: seen.append(identity) or [])
    monkeypatch.setattr(effects.comparing, "mean_curve", lambda rows: [])
    for iterations in (1, 2):
        monkeypatch.setattr(effects, "FILES", {"all bits": partial(measuring.ours, iterations=iterations)})
        idea = effects.Idea("common", "nothing new", files=("all bits",))
        effects.measure(tmp_path, sorted(folder.iterdir()), ideas=[idea])
    assert [identity["iterations"] for identity in seen] == [1, 2]
    assert seen[0]["weights"] == seen[1]["weights"]


def test_what_is_trained_is_not_trained_again(weights, sample, tmp_path):
    photos = [sample("coffee", 64, 64)]
    steps = effects.train(weights, Counts(), photos, tmp_path, IDEAS, data="two photos")
    for idea, _ in steps:
        if idea.key == "rate":
            break
    steps.close()
    before = (tmp_path / "common.safetensors").read_bytes()
    assert {idea.key for idea, _ in effects.train(weights, Counts(), photos, tmp_path, IDEAS, data="two photos")} == {
        "rate"
    }
    assert (tmp_path / "common.safetensors").read_bytes() == before
    with pytest.raises(InputError, match=r"common.safetensors was trained from micro-1 for 2 steps, not from mine-1"):
        list(effects.train(weights._replace(name="mine-1"), Counts(), photos, tmp_path, IDEAS, data="two photos"))


def test_the_command_trains_measures_and_writes_the_table(weights_path, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(effects, "IDEAS", IDEAS)
    monkeypatch.setenv(machine.BF16_VARIABLE, "1")  # the command knows better, and it is put back afterwards
    words = ["effects", "--images", folder, "--on", folder, "--start-from", weights_path]
    words += ["--weights", tmp_path / "kept", "--output", tmp_path]
    assert cli.main([str(word) for word in words]) == 0
    summary = json.loads((tmp_path / "effects.json").read_text(encoding="utf-8"))
    assert [(row["key"], row["files"]) for row in summary["ideas"]] == [
        ("common", "all bits"), ("common", "adaptive"), ("common", "all bits, searched"), ("rate", "all bits")
    ]  # fmt: skip
    assert (summary["pictures"], summary["steps"], summary["start"]) == (3, 2, "micro-1")
    assert {row["precision"] for row in summary["ideas"]} == {"float32"}
    assert "The networks ran in float32." in (tmp_path / "effects.md").read_text(encoding="utf-8")
    kept = model.load(tmp_path / "kept" / "rate.safetensors")
    bits = bitnet.load(tmp_path / "kept" / "rate.bits")
    rows = [row for path in sorted(folder.iterdir()) for row in measuring.ours(kept, path, 2, bits)]
    sizes = [row["bpp"] for row in rows if row["point"] == 2]
    assert summary["ideas"][2]["curve"] != summary["ideas"][0]["curve"]  # other bits were sent
    assert summary["ideas"][3]["curve"][1]["bpp"] == pytest.approx(sum(sizes) / 3, abs=1e-4)
    monkeypatch.setattr(measuring, "_measured", lambda work, paths, jobs, bf16: iter(()))  # all is known by now
    assert cli.main([str(word) for word in words]) == 0
    for sha256, key in (("of other weights", "common"), (model.load(weights_path).sha256, "start")):
        page = json.dumps({"curve": summary["ideas"][2]["curve"], "weights_sha256": sha256})
        (tmp_path / f"{summary['set']}-micro-1.json").write_text(page, encoding="utf-8")
        assert cli.main([str(word) for word in words]) == 0
        first = json.loads((tmp_path / "effects.json").read_text(encoding="utf-8"))["ideas"][0]
        assert first["key"] == key
    assert first["curve"] == summary["ideas"][2]["curve"]
    assert "| micro-1 itself, not trained on | all bits |" in (tmp_path / "effects.md").read_text(encoding="utf-8")
    assert "| 100 more steps, nothing new | all bits |" in (tmp_path / "effects.md").read_text(encoding="utf-8")


def test_the_table_sets_each_line_against_the_first():
    def line(key, files, bpp):
        levels = zip(bpp, (0.88, 0.92, 0.94), (0.86, 0.90, 0.92), strict=True)
        curve = [{"bpp": each, "ms_ssim": corner, "ms_ssim_moved": moved} for each, corner, moved in levels]
        return {"key": key, "says": f"the {key}", "files": files, "curve": curve}

    found = [line("common", "all bits", (0.1, 0.2, 0.3)), line("common", "adaptive", (0.1, 0.17, 0.2))]
    text = effects.report({"start": "a-1", "steps": 7, "pictures": 3, "set": "these", "ideas": found})
    assert "| the common | all bits | 0.1500 | – | 0.2000 | – |" in text
    assert "| the common | adaptive | 0.1350 (-10.0 %) | – | 0.1700 (-15.0 %) | – |" in text
    found.append(line("rate", "all bits", (0.1, 0.3, 0.4)) | {"says": "mean |R|"})
    text = effects.report({"start": "a-1", "steps": 7, "pictures": 3, "set": "these", "ideas": found})
    assert "| mean \\|R\\| | all bits | 0.2000 (+33.3 %) | – | 0.3000 (+50.0 %) | – |" in text
