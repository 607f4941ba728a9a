"""Every notebook runs from a fresh kernel, and what is committed is light, came from one clean run, and can be read."""

import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from rgru_lab import photos

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

RUN = """
import nbformat, sys
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=300, store_widget_state=False, resources={"metadata": {"path": sys.argv[2]}}).execute()
print(nbformat.writes(notebook), end="\\n@@@")
if sys.platform == "win32":
    print(0)  # Windows does not tell a child's peak memory
else:
    import resource

    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.fixture(scope="module", params=NOTEBOOKS, ids=lambda path: path.stem)
def executed(request):
    """A notebook after a run from a fresh kernel, and the kernel's peak memory in bytes."""
    command = [sys.executable, "-c", RUN, str(request.param), str(request.param.parent)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    notebook, memory = done.stdout.split("\n@@@")
    unit = 1 if sys.platform == "darwin" else 1024
    return nbformat.reads(notebook, 4), int(memory) * unit


def test_it_runs_and_every_code_cell_says_something(executed):
    notebook, _ = executed
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs, cell.source
            assert not any(o.output_type == "error" for o in cell.outputs)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not report a child's peak memory")
def test_its_kernel_stays_under_a_gigabyte(executed):
    assert 1e8 < executed[1] < 1e9


def test_it_shows_the_widget_and_proves_the_file(executed):
    notebook, _ = executed
    text = json.dumps(notebook)
    assert text.count("application/vnd.jupyter.widget-view+json") == 2
    assert "two iterations give P[2]: True" in text
    assert "the cut file gives P[1]: True" in text


@each_notebook
def test_what_is_committed_came_from_one_clean_run(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not any(output.output_type == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert "widgets" not in notebook.metadata
    assert not any("widget-view" in key for output in outputs for key in output.get("data", {}))


@each_notebook
def test_it_is_light_and_its_cells_are_short(path):
    assert path.stat().st_size < 400_000
    notebook = nbformat.read(path, 4)
    assert len(notebook.cells) <= 50
    lengths = sorted(len(c.source.splitlines()) for c in notebook.cells if c.cell_type == "code")
    assert lengths[len(lengths) // 2] <= 8
    assert lengths[-1] <= 30
    assert max(len(line) for c in notebook.cells if c.cell_type == "code" for line in c.source.splitlines()) <= 88
    assert sum(len(c.source.split()) for c in notebook.cells if c.cell_type == "markdown") <= 1500


@each_notebook
def test_every_picture_has_alt_text_and_every_local_link_leads_somewhere(path):
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                assert output.metadata["image/png"]["alt"]
        if cell.cell_type == "markdown":
            for bang, alt, target in re.findall(r"(!?)\[([^\]]*)\]\(([^)]+)\)", cell.source):
                assert alt or not bang
                assert target.startswith("https://") or (path.parent / target).exists(), target


def test_at_least_four_samples_are_offered_and_credited():
    assert len(photos.SAMPLES) >= 4
    credits = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for name in photos.SAMPLES:
        assert photos.sample(name).ndim == 3
        assert f"*{name}*" in credits
