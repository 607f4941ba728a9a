"""Every notebook runs from a fresh kernel, and what is committed is light, came from one clean run, and can be read."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from rgru_lab import lessons, photos

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LESSONS = [path for path in NOTEBOOKS if path.name[0].isdigit()]
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
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=os.environ | {"SMOKE": "1"})
    assert done.returncode == 0, done.stderr[-3000:]
    notebook, memory = done.stdout.split("\n@@@")
    unit = 1 if sys.platform == "darwin" else 1024
    return nbformat.reads(notebook, 4), int(memory) * unit, request.param


def test_it_runs_and_says_something(executed):
    notebook = executed[0]
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(o.output_type == "error" for cell in cells for o in cell.outputs)
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) / 3


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not report a child's peak memory")
def test_its_kernel_stays_small(executed):
    limit = 1e9 if executed[2].name.startswith("00") else 1.5e9  # Binder gives 1 GB for sure, and 2 at most
    assert 1e8 < executed[1] < limit


def test_the_first_one_shows_the_widget_and_proves_the_file(executed):
    notebook, path = executed[0], executed[2]
    if not path.name.startswith("00"):
        pytest.skip("only of notebook 00")
    text = json.dumps(notebook)
    assert text.count("application/vnd.jupyter.widget-view+json") == 2
    assert "two iterations give P[2]: True" in text
    assert "the cut file gives P[1]: True" in text


def _committed(path: Path) -> str:
    """A notebook as git has it (staged, if it is): JupyterLab saves what a reader has run and written into the file."""
    if shutil.which("git") is None:
        return path.read_text(encoding="utf-8")
    name = path.relative_to(ROOT).as_posix()
    done = subprocess.run(["git", "-C", ROOT, "show", f":{name}"], capture_output=True, text=True, encoding="utf-8")
    return path.read_text(encoding="utf-8") if done.returncode else done.stdout  # the kit may be no clone


def test_what_a_reader_ran_and_saved_is_not_what_is_committed(monkeypatch, tmp_path):
    git = ("git", "-C", tmp_path, "-c", "user.name=a", "-c", "user.email=a@b")
    path = tmp_path / "notebooks" / "00.ipynb"
    path.parent.mkdir()
    path.write_text("what ships", encoding="utf-8")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert _committed(path) == "what ships"
    for words in (("init", "-q"), ("add", "."), ("commit", "-q", "-m", "a")):
        subprocess.run([*git, *words], check=True)
    path.write_text("what was run", encoding="utf-8")
    assert _committed(path) == "what ships"


@each_notebook
def test_what_is_committed_came_from_one_clean_run(path):
    notebook = nbformat.reads(_committed(path), 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert not any(output.output_type == "error" for output in outputs)
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert "widgets" not in notebook.metadata
    assert not any("widget-view" in key for output in outputs for key in output.get("data", {}))


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_it_is_light_and_its_cells_are_short(path):
    text = _committed(path)
    assert len(text.encode()) < 400_000
    notebook = nbformat.reads(text, 4)
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
                local = target.partition("#")[0]
                assert target.startswith("https://") or not local or (path.parent / local).exists(), target


def test_at_least_four_samples_are_offered_and_credited():
    assert len(photos.SAMPLES) >= 4
    credits = (ROOT / "data" / "README.md").read_text(encoding="utf-8")
    for name in photos.SAMPLES:
        assert photos.sample(name).ndim == 3
        assert f"*{name}*" in credits


# Prose

DEFINITIONS = {
    "0.125 bits per pixel": "32 bits for 16 x 16 pixels",
    "0.125 bpp": "32 bits for 16 x 16 pixels",
    "2 bpp": "16 iterations of 0.125",
    "256 levels": "a byte",
    "255 levels": "a byte",
    "9 MB": "viewer.UPLOAD_BYTES",
}
"""Numbers with a unit that prose may state because they are so by definition, and why."""

WITH_UNIT = re.compile(r"(?<![\w.])-?\d[\d,.]*\s?(?:%|dB|bpp|kB|MB|GB|bytes?|bits? per pixel|levels?)(?!\w)")
SOURCE = re.compile(r"<!-- ([\w.-]+\.json) ([\w./ -]+) -->")


def _numbers_without_a_source(prose):
    """Numbers with a unit that are neither definitions nor, rounded, what the paragraph's comments point at."""
    wrong = []
    for paragraph in prose.split("\n\n"):
        values = []
        for name, path in SOURCE.findall(paragraph):
            value = lessons.results(name)
            for key in path.split("/"):
                value = value[int(key)] if isinstance(value, list) else value[key]
            values.append(float(value))
        for found in WITH_UNIT.findall(" ".join(paragraph.split())):
            if found in DEFINITIONS:
                continue
            digits = re.match(r"-?[\d,]*\.?\d*", found)[0].rstrip(".,").replace(",", "")
            places = len(digits.partition(".")[2])
            if not any(f"{abs(value):.{places}f}" == digits.lstrip("-") for value in values):
                wrong.append(found)
    return wrong


@each_notebook
def test_every_measured_number_in_prose_comes_from_a_results_file(path):
    prose = "\n\n".join(cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "markdown")
    assert _numbers_without_a_source(re.sub(r"```.*?```", "", prose, flags=re.DOTALL)) == []


def test_a_number_without_a_source_or_with_another_value_would_be_noticed(monkeypatch):
    monkeypatch.setattr(lessons, "results", lambda name: {"curve": [{"bpp": 0.1716}], "saved": -36.93})
    assert _numbers_without_a_source("It takes 0.125 bpp.") == []
    assert _numbers_without_a_source("It takes 0.3 bpp.") == ["0.3 bpp"]
    assert (
        _numbers_without_a_source("It is 37 % smaller <!-- x.json saved -->, 0.172 bpp <!-- x.json curve/0/bpp -->")
        == []
    )
    assert _numbers_without_a_source("It is 38 % smaller <!-- x.json saved -->.") == ["38 %"]


def test_prose_is_spelt_right(tmp_path):
    for path in NOTEBOOKS:
        cells = nbformat.read(path, 4).cells
        (tmp_path / f"{path.stem}.md").write_text("\n\n".join(c.source for c in cells), encoding="utf-8")
    pages = [
        *tmp_path.glob("*.md"),
        *(ROOT / "notebooks").glob("*.md"),
        ROOT / "README.md",
        *(ROOT / "data").glob("*.md"),
    ]
    command = [sys.executable, "-m", "codespell_lib", "--ignore-words-list=fpr,te,nd", *map(str, pages)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == ""
    assert done.returncode == 0, done.stderr


def test_the_readme_and_the_teachers_page_list_every_lesson_with_its_minutes():
    for page, folder in ((ROOT / "README.md", "notebooks/"), (ROOT / "notebooks" / "for_teachers.md", "")):
        text = page.read_text(encoding="utf-8")
        for path in LESSONS:
            (minutes,) = re.findall(r"set_up\(minutes=(\d+)\)", nbformat.read(path, 4).cells[1].source)
            (row,) = [line for line in text.splitlines() if line.startswith("|") and f"({folder}{path.name})" in line]
            assert minutes in re.findall(r"\b\d+\b", row.replace(path.name, "")), row


def test_every_local_link_of_the_pages_leads_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "notebooks").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (page.parent / target).exists(), (page.name, target)
