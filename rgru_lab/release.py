"""Rebuild everything that depends on the weights: results, figures, the README's table, the notebooks' outputs."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from rgru_lab import evaluate, photos, plots
from rgru_lab.config import InputError
from rgru_lab.images import write_atomically
from rgru_lab.opponents import JpegLadder
from rgru_lab.progression import Progression

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "data" / "results"
FIGURES = ROOT / "data" / "figures"
NOTEBOOKS = ROOT / "notebooks"
ITERATIONS = 16
FOUR_RATES = (1, 2, 4, 8)
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


def results(weights, paths: list[Path], progress: Callable = iter) -> dict:
    """Evaluate pictures and write `kodak-NAME.csv`, `.json`, `.md` and the curve as a figure; returns the summary."""
    rows = [row for path in progress(paths) for row in evaluate.measure(weights, path, ITERATIONS)]
    summary = evaluate.summarise(weights, "kodak", rows)
    evaluate.write(RESULTS, f"kodak-{weights.name}", rows, summary)
    write_atomically(RESULTS / f"kodak-{weights.name}.md", evaluate.report(summary).encode())
    curves = {weights.name: summary["curve"], "JPEG": summary["jpeg_curve"]}
    figure = plots.rate_distortion(curves, f"mean over the {summary['pictures']} Kodak photographs")
    FIGURES.mkdir(parents=True, exist_ok=True)
    write_atomically(FIGURES / "kodak.png", plots.png(figure))
    return summary


def four_rates(weights) -> None:
    """The README's picture: one sample photograph at four rates, each above the JPEG that is not larger."""
    photo = photos.sample("chelsea")
    progression = Progression(weights, photo)
    for _ in progression.run(max(FOUR_RATES)):
        pass
    figure = plots.comparison(progression, JpegLadder(photo), list(FOUR_RATES))
    FIGURES.mkdir(parents=True, exist_ok=True)
    write_atomically(FIGURES / "four_rates.png", plots.png(figure))


def readme(summary: dict, path: Path = ROOT / "README.md") -> None:
    """Put the table of sizes at equal MS-SSIM between the README's two marks."""
    text = path.read_text(encoding="utf-8")
    new = with_results(text, summary)
    write_atomically(path, new.encode())


def with_results(text: str, summary: dict) -> str:
    """The text with what stands between `<!-- results -->` and `<!-- /results -->` made new."""
    marked = f"<!-- results -->\n{evaluate.table(summary)}<!-- /results -->"
    new, count = re.subn(r"<!-- results -->.*?<!-- /results -->", lambda _: marked, text, flags=re.DOTALL)
    if count != 1:
        raise InputError(f"the README has {count} places marked <!-- results -->; it needs one")
    return new


def notebooks() -> Iterator[Path]:
    """Run every notebook from a fresh kernel and keep its outputs, without widget state."""
    import nbformat
    from nbclient import NotebookClient

    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        notebook = nbformat.read(path, 4)
        options = {"store_widget_state": False, "record_timing": False, "coalesce_streams": True}
        NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS)}}, **options).execute()
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
            cell.outputs = [o for o in cell.outputs if WIDGET_VIEW not in o.get("data", {})]
    return notebook
