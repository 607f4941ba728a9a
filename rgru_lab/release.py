"""Rebuild everything that depends on the weights: results, figures, the README's table, the notebooks' outputs."""

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from rgru_lab import evaluate, model, photos, plots, reports
from rgru_lab.config import DEFAULT_MODEL, PRESETS, InputError
from rgru_lab.images import write_atomically
from rgru_lab.opponents import CODECS, Ladder
from rgru_lab.progression import Progression

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "data" / "results"
FIGURES = ROOT / "data" / "figures"
NOTEBOOKS = ROOT / "notebooks"
FOUR_RATES = (1, 2, 4, 8)
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def shipped() -> list[str]:
    """The newest weights of each preset that ships, the default first."""
    presets = {name.rpartition("-")[0] for name in model.available()} & set(PRESETS)
    return [model.newest(preset) for preset in sorted(presets, key=lambda name: (name != DEFAULT_MODEL, name))]


def results(weights, paths: list[Path], jobs: int, progress: Callable) -> dict:
    """Evaluate the Kodak photographs against all opponents; arguments as of `evaluate.run`."""
    return evaluate.run(weights, "kodak", paths, RESULTS, against=CODECS, jobs=jobs, progress=progress)


def curves(summaries: list[dict]) -> None:
    """The figure of all models' curves beside JPEG's."""
    named = {summary["model"]: summary["curve"] for summary in summaries} | {"JPEG": summaries[0]["jpeg_curve"]}
    figure = plots.rate_distortion(named, f"mean over the {summaries[0]['pictures']} Kodak photographs")
    FIGURES.mkdir(parents=True, exist_ok=True)
    write_atomically(FIGURES / "kodak.png", plots.png(figure))


def four_rates(weights) -> None:
    """The README's picture: one sample photograph at four rates, each above the JPEG that is not larger."""
    photo = photos.sample("chelsea")
    progression = Progression(weights, photo)
    for _ in progression.run(max(FOUR_RATES)):
        pass
    figure = plots.comparison(progression, Ladder(photo), list(FOUR_RATES))
    FIGURES.mkdir(parents=True, exist_ok=True)
    write_atomically(FIGURES / "four_rates.png", plots.png(figure))


def readme(summaries: list[dict], path: Path = ROOT / "README.md") -> None:
    """Put the tables of sizes at equal MS-SSIM between the README's two marks."""
    text = path.read_text(encoding="utf-8")
    new = with_results(text, summaries)
    write_atomically(path, new.encode())


def with_results(text: str, summaries: list[dict]) -> str:
    """The text with what stands between `<!-- results -->` and `<!-- /results -->` made new."""
    tables = "\n".join(reports.table(summary) for summary in summaries)
    marked = f"<!-- results -->\n{tables}<!-- /results -->"
    new, count = re.subn(r"<!-- results -->.*?<!-- /results -->", lambda _: marked, text, flags=re.DOTALL)
    if count != 1:
        raise InputError(f"the README has {count} places marked <!-- results -->; it needs one")
    return new


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
