"""Rebuild everything that depends on the weights: results, figures, the README's table, the notebooks' outputs."""

import json
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

from rgru_lab import adaptive, comparing, evaluate, model, photos, plots, readme, reports
from rgru_lab.config import DATA, DEFAULT_MODEL, PRESETS, RESULTS, ROOT, InputError
from rgru_lab.files import write_atomically, write_json
from rgru_lab.opponents import CODECS, Ladder, jpeg_between
from rgru_lab.progression import Progression

FIGURES = DATA / "figures"
NOTEBOOKS = ROOT / "notebooks"
FOUR_RATES = (1, 2, 4, 8)
BEST = "best"
"""The preset whose adaptive files are measured, and show what the announcement's figure shows."""
PEERS = (comparing.AUTHORS, "Johnston 2018")
CLAIMED_MS_SSIM = 0.9
CLAIMED_PERCENT = 25
NOSE_AND_MOUTH = np.s_[150:280, 155:350]
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def shipped() -> list[str]:
    """The newest weights of each preset that ships, the default first."""
    presets = {name.rpartition("-")[0] for name in model.available()} & set(PRESETS)
    return [model.newest(preset) for preset in sorted(presets, key=lambda name: (name != DEFAULT_MODEL, name))]


def results(weights, paths: list[Path], jobs: int, progress: Callable) -> dict:
    """Evaluate the Kodak photographs against all opponents; arguments as of `evaluate.run`.

    Of weights of the preset `best` adaptive files, too: it is these whose summary is returned.
    """
    run = partial(evaluate.run, weights, "kodak", paths, RESULTS, against=CODECS, jobs=jobs, progress=progress)
    summary = run()
    return run(slopes=adaptive.SHOWN) if weights.name.startswith(f"{BEST}-") else summary


def summaries() -> list[dict]:
    """What `results` wrote for the weights of `shipped`, and returned."""
    names = [f"{name}-adaptive" if name.startswith(f"{BEST}-") else name for name in shipped()]
    return [json.loads((RESULTS / f"kodak-{name}.json").read_text(encoding="utf-8")) for name in names]


def searched() -> list[dict]:
    """The summaries of files that were measured with a search, too, of each preset the newest: a search takes long."""
    found = []
    for name in shipped():
        for kind in ("", "-adaptive"):
            found += [json.loads(path.read_text(encoding="utf-8")) for path in _newest("kodak", name, f"{kind}-search")]
    return found


def _newest(what: str, name: str, kind: str) -> list[Path]:
    """The results of these weights, or the newest of older ones of their preset; none if there are none."""
    preset, _, version = name.rpartition("-")
    paths = (RESULTS / f"{what}-{preset}-{k}{kind}.json" for k in range(int(version), 0, -1))
    return [path for path in paths if path.exists()][:1]


def curves(summaries: list[dict]) -> None:
    """The figure of all models' curves and JPEG's; thinner the other opponents' and the published ones."""
    named = {reports.label(summary): summary["curve"] for summary in summaries} | {"JPEG": summaries[0]["jpeg_curve"]}
    measured = json.loads((RESULTS / "kodak-opponents.json").read_text(encoding="utf-8"))["codecs"]
    beside = {measured[codec]["label"]: measured[codec]["curve"] for codec in ("jpeg-mozjpeg-table", "webp", "avif")}
    beside |= {name: comparing.published()[name]["curve"] for name in PEERS}
    figure = plots.rate_distortion(named, f"mean over the {summaries[0]['pictures']} Kodak photographs", beside)
    _draw("kodak", figure)


def four_rates(weights) -> None:
    """The README's picture: one sample photograph at four rates, each above the JPEG that is not larger."""
    photo = photos.sample("chelsea")
    progression = Progression(weights, photo)
    for _ in progression.run(max(FOUR_RATES)):
        pass
    figure = plots.comparison(progression, Ladder(photo), list(FOUR_RATES))
    _draw("four_rates", figure)


def claim(weights) -> dict:
    """The announcement's figure made again: an animal's face, ours and the JPEG of the same MS-SSIM, nose and mouth.

    Ours is an adaptive file, which can end anywhere near MS-SSIM 0.9; the JPEG has tables of the same MS-SSIM.
    Writes `claim.png` and `claim.json`; returns what stands in the latter.
    """
    photo = photos.sample("chelsea")
    progression = adaptive.reaching(weights, photo, CLAIMED_MS_SSIM)
    ours = progression[len(progression)]
    jpeg = jpeg_between(photo, ours.ms_ssim)
    found = {
        "model": weights.name,
        "weights_sha256": weights.sha256,
        "iterations": len(progression),
        "size_bytes": ours.size_bytes,
        "ms_ssim": round(ours.ms_ssim, 4),
        "jpeg_size_bytes": jpeg.size_bytes,
        "jpeg_ms_ssim": round(jpeg.ms_ssim, 4),
        "smaller_percent": round(100 * (1 - ours.size_bytes / jpeg.size_bytes), 1),
    }
    titles = [
        "the photograph",
        f"JPEG: {jpeg.size_bytes:,} bytes, MS-SSIM {jpeg.ms_ssim:.3f}",
        f"ours: {ours.size_bytes:,} bytes, MS-SSIM {ours.ms_ssim:.3f}",
    ]
    shown = [photo, jpeg.photo, ours.photo]
    figure = plots.pictures(
        [*shown, *(picture[NOSE_AND_MOUTH] for picture in shown)], [*titles, "nose and mouth", "JPEG", "ours"], 3
    )
    _draw("claim", figure)
    write_json(RESULTS / "claim.json", found)
    return found


def _draw(name: str, figure) -> None:
    """Write a figure as `NAME.png`."""
    FIGURES.mkdir(parents=True, exist_ok=True)
    write_atomically(FIGURES / f"{name}.png", plots.png(figure))


def check_speeds(name: str):
    """Raise an `InputError` unless `bench` has measured these weights and their slider: `release` does not."""
    for what, command in (("bench", "bench"), ("viewer", "bench --viewer")):
        if not (RESULTS / f"{what}-{name}.json").exists():
            raise InputError(f"the speed of {name} is not known; run python -m rgru_lab {command} while idle")


def blocks(summaries: list[dict]) -> dict[str, str]:
    """What the README says in numbers, by the name of the place where it stands; all from results files.

    Raises:
        InputError: the speed of the first weights has not been measured; of others it may be missing.
    """
    first, beside = summaries[0], [*summaries, *searched()]
    check_speeds(first["model"])
    found = json.loads((RESULTS / "claim.json").read_text(encoding="utf-8"))
    benches = [json.loads(path.read_text(encoding="utf-8")) for path in _benches(summaries)]
    viewer = json.loads((RESULTS / f"viewer-{first['model']}.json").read_text(encoding="utf-8"))
    return {
        "claim": readme.claim(found, CLAIMED_MS_SSIM, CLAIMED_PERCENT),
        "results": "\n".join(
            [readme.side_by_side(summaries), readme.verdict(first, CLAIMED_PERCENT), readme.bars_met(beside)]
        ),
        "opponents": readme.standings(beside),
        "moved": reports.both_places([each for each in beside if "moved" in each["opponents"][0]]),
        "speed": readme.speed(benches, viewer),
    }


def _benches(summaries: list[dict]) -> list[Path]:
    """Of each preset on each machine the newest bench: speed hangs on the shape of weights, hardly on their numbers."""
    names = [re.fullmatch(r"bench-[a-z]+-\d+(.*)", path.stem) for path in RESULTS.glob("bench-*.json")]
    machines = sorted({name[1] for name in names if name})
    return [path for kind in machines for summary in summaries for path in _newest("bench", summary["model"], kind)]


def write_readme(summaries: list[dict], path: Path = ROOT / "README.md") -> None:
    """Make the README's numbers new."""
    text = readme.with_blocks(path.read_text(encoding="utf-8"), blocks(summaries))
    write_atomically(path, text.encode())


def notebooks(names: list[str] = ()) -> Iterator[Path]:
    """Run notebooks from a fresh kernel and keep their outputs, without widget state; yields each path when done.

    Args:
        names: those whose file names begin with one of these, "02" for one; none: all.

    Raises:
        InputError: a name fits no notebook.
    """
    import nbformat
    from nbclient import NotebookClient

    from rgru_lab.viewer.scrubber import STATIC_VARIABLE

    paths = sorted(NOTEBOOKS.glob("*.ipynb"))
    for name in names:
        if not any(path.name.startswith(name) for path in paths):
            raise InputError(f"no notebook's name begins with {name!r}; there are {', '.join(p.stem for p in paths)}")
    for path in paths:
        if names and not path.name.startswith(tuple(names)):
            continue
        notebook = nbformat.read(path, 4)
        options = {"store_widget_state": False, "record_timing": False, "coalesce_streams": True}
        client = NotebookClient(notebook, timeout=900, resources={"metadata": {"path": str(NOTEBOOKS)}}, **options)
        client.execute(env=os.environ | {STATIC_VARIABLE: "1"})
        write_atomically(path, (nbformat.writes(tidy(notebook)) + "\n").encode())
        yield path


def tidy(notebook):
    """Without what breaks on GitHub or says nothing there: widget state, live widgets, this machine's versions."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if WIDGET_VIEW not in o.get("data", {}) or "image/png" in o["data"]]
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET_VIEW, None)  # the picture that stands in for it stays
    return notebook
