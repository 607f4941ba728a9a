"""The ablation: who forgets forgets, and the three tables say what the rows say."""

import copy
import json
from functools import partial
from itertools import islice
from types import SimpleNamespace

import pytest
import torch

from rgru_lab import ablation, codec, images
from rgru_lab.config import InputError
from rgru_lab.files import write_json


@pytest.fixture
def x():
    torch.manual_seed(5)
    return torch.rand(1, 3, 48, 64) - 0.5


def _steps(model, x, n=3):
    with torch.inference_mode():
        return list(islice(codec.unroll(model, x), n))


def test_nobody_forgets_anything_in_the_first_iteration_and_everybody_later(weights, x):
    whole = _steps(weights.model, x)
    for halves in list(ablation.CUTS.values())[1:]:
        cut = _steps(ablation.Forgetful(weights.model, halves), x)
        assert torch.equal(cut[0].picture, whole[0].picture)
        assert not torch.equal(cut[1].picture, whole[1].picture)
    assert torch.equal(_steps(ablation.Forgetful(weights.model, ()), x)[2].picture, whole[2].picture)


def test_only_the_half_that_is_named_forgets(weights, x):
    """The second bits without the encoder's memory are those of a fresh codec that is shown the same residual."""
    model = weights.model
    whole = _steps(model, x, 2)
    with torch.inference_mode():
        fresh, _ = model.encode(model.gain(whole[0].picture) * whole[0].residual)
    assert torch.equal(_steps(ablation.Forgetful(model, ("encode",)), x, 2)[1].bits, fresh)
    cut = _steps(ablation.Forgetful(model, ("decode",)), x, 2)
    assert torch.equal(cut[1].bits, whole[1].bits)
    with torch.inference_mode():
        picture, _ = model.decode(whole[1].bits)
    assert torch.equal(cut[1].picture, model.reconstruct(picture, whole[0].picture, model.gain(whole[0].picture)))


def test_the_model_itself_keeps_its_memory(weights, x):
    before = _steps(weights.model, x)[2].picture
    _steps(ablation.Forgetful(weights.model, ("encode", "decode")), x)
    assert torch.equal(_steps(weights.model, x)[2].picture, before)


def test_rows_are_of_every_cut_and_iteration(weights, tmp_path, sample):
    images.save_png(sample("coffee", 161, 161), tmp_path / "a.png")
    rows = list(ablation.measure(weights, tmp_path / "a.png", 2))
    assert [(row["cut"], row["point"]) for row in rows] == [(cut, i) for cut in ablation.CUTS for i in (1, 2)]
    assert rows[0]["ms_ssim"] == rows[2]["ms_ssim"]
    assert rows[1]["ms_ssim"] != rows[7]["ms_ssim"]


def test_a_run_reads_what_evaluate_and_trials_wrote_and_returns_what_it_writes(weights, tmp_path, sample):
    images.save_png(sample("coffee", 161, 161), tmp_path / "a.png")
    evaluation, trained = tmp_path / f"set-{weights.name}.json", tmp_path / "trials.json"
    said = []

    def progress(rows, total, what):
        said.append((total, what))
        return rows

    run = partial(ablation.run, weights, "set", [tmp_path / "a.png"], tmp_path, iterations=1, progress=progress)
    for missing, content in ((evaluation, {"weights_sha256": weights.sha256, "coding": CODING}), (trained, TRAINED)):
        with pytest.raises(InputError, match=f"{missing.name} is not there; run evaluate and trials with the same"):
            run()
        assert not said  # before anything is measured
        write_json(missing, content)
    summary = run()
    table, page = ablation.files(tmp_path)
    assert said == [(1, "ablation")]
    assert json.loads(table.read_text(encoding="utf-8")) == summary
    assert page.read_text(encoding="utf-8") == ablation.report(summary)
    assert (summary["set"], summary["coding"], len(summary["memory"])) == ("set", CODING, len(ablation.CUTS))


WEIGHTS = SimpleNamespace(name="small-9", sha256="77")
CODING = [
    {"ms_ssim": 0.90, "raw_bpp": 0.3, "counted_bpp": 0.25, "bpp": 0.2, "saved_percent": 33.3},
    {"ms_ssim": 0.98, "raw_bpp": None, "counted_bpp": None, "bpp": None, "saved_percent": None},
]


def _trial(setting, quality, seed, budget="steps", question="cell and reconstruction"):
    last = {"mean_abs_residual": [9.0, 20 - 10 * quality], "ms_ssim": [0.1, quality]}
    return {"question": question, "setting": setting, "budget": budget, "seed": seed, "steps": 200 + seed} | last


TRAINED = [
    _trial("Residual GRU", 0.65, 0, question="common setting"),
    _trial("Residual GRU", 0.66, 1, question="common setting"),
    _trial("other", 0.99, 0, question="patches"),
    *(_trial("lstm, one-shot", quality, seed) for seed, quality in enumerate((0.5, 0.64))),
    *(_trial("gru, one-shot", quality, seed) for seed, quality in enumerate((0.4, 0.655))),
    *(_trial("gru, one-shot", quality, seed, "seconds") for seed, quality in enumerate((0.7, 0.71))),
]


@pytest.fixture
def summary():
    rows = [
        {"picture": name, "cut": cut, "point": i, "psnr_db": 20.0 + i, "ms_ssim": 0.8 + 0.01 * i + shift}
        for name, shift in (("a", 0.0), ("b", 0.02))
        for cut in ablation.CUTS
        for i in (1, 2)
    ]
    return ablation.summarise(
        WEIGHTS, "kodak", rows, {"weights_sha256": "77", "coding": CODING}, copy.deepcopy(TRAINED)
    )


def test_means_are_over_the_pictures(summary):
    assert summary["pictures"] == 2
    assert summary["memory"][1] == {"cut": "as it is", "point": 2, "psnr_db": 22.0, "ms_ssim": 0.83}
    assert "| 2 | 0.8300 (22.00) | 0.8300 (22.00) |" in ablation.report(summary)


def test_a_picture_that_came_back_exactly_has_no_mean_psnr():
    rows = [
        {"picture": name, "cut": cut, "point": 1, "psnr_db": psnr_db, "ms_ssim": 1.0}
        for name, psnr_db in (("a", 40.0), ("b", float("inf")))
        for cut in ablation.CUTS
    ]
    found = ablation.summarise(WEIGHTS, "set", rows, {"weights_sha256": "77", "coding": CODING}, copy.deepcopy(TRAINED))
    json.dumps(found, allow_nan=False)
    assert "| 1 | 1.0000 (∞) | 1.0000 (∞) |" in ablation.report(found)


def test_what_coding_saves_is_the_evaluations(summary):
    assert summary["coding"] == CODING
    lines = ablation.report(summary).splitlines()
    assert "| 0.90 | 0.3000 | 0.2500 | 0.2000 | 33.3 % |" in lines
    assert "| 0.98 | – | – | – | – |" in lines


def test_cells_are_ranked_at_each_budget_and_overlapping_seeds_tie(summary):
    told = [(row["budget"], row["setting"], row["verdict"]) for row in summary["cells"]]
    assert told == [
        ("steps", "residual-gru, one-shot", "best"),
        ("steps", "lstm, one-shot", "behind"),
        ("steps", "gru, one-shot", "tie"),
        ("seconds", "gru, one-shot", "best"),
        ("seconds", "residual-gru, one-shot", "behind"),
    ]
    assert "| steps | gru, one-shot | 200 / 201 | 16.0 / 13.4 | 0.4000 / 0.6550 | tie |" in ablation.report(summary)


def test_the_evaluation_of_other_weights_is_refused():
    with pytest.raises(InputError, match=r"the evaluation is of small-8, not of these weights; run evaluate first"):
        ablation.summarise(
            WEIGHTS, "kodak", [], {"weights_sha256": "78", "model": "small-8", "coding": CODING}, TRAINED
        )
