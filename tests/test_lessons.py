"""What stands around the lessons: set-up, guesses, checks, the way out, progress, forks and student versions."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from rgru_lab import __main__ as cli
from rgru_lab import lessons
from rgru_lab.config import InputError
from rgru_lab.lessons import repository, student

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "PROGRESS", tmp_path / "progress.json")


# Set-up


def test_the_doctor_names_versions_machine_and_dial(monkeypatch):
    said = lessons.doctor()
    assert f"torch {torch.__version__}" in said
    assert "Python 3." in said
    assert re.search(r"\d+ GB free\nwidgets ", said)
    monkeypatch.setenv("SMOKE", "1")
    assert lessons.doctor().endswith("widgets static · dial SMOKE")


@pytest.mark.parametrize(("variable", "kind"), [("SMOKE", "static"), ("RGRU_LAB_STATIC", "static"), ("OTHER", "live")])
def test_widgets_are_static_where_a_program_runs_the_notebook(monkeypatch, variable, kind):
    for name in ("SMOKE", "RGRU_LAB_STATIC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("IPython.get_ipython", object)
    monkeypatch.setenv(variable, "1")
    assert f"\nwidgets {kind} · " in lessons.doctor()


@pytest.mark.parametrize(("smoke", "gpu", "dial"), [("1", True, "SMOKE"), ("", True, "GPU"), ("", False, "CPU")])
def test_the_dial_follows_the_environment_and_the_machine(monkeypatch, smoke, gpu, dial):
    monkeypatch.setenv("SMOKE", smoke)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert lessons.dial() == dial


@pytest.mark.parametrize("colab", [True, False])
def test_only_colab_gets_what_is_missing_and_never_torch(monkeypatch, capsys, colab):
    calls = []
    monkeypatch.setattr(lessons.subprocess, "run", lambda command, check: calls.append(command))
    monkeypatch.setitem(lessons.LIGHT, "no_such_module", "no-such-package")
    if colab:
        monkeypatch.setitem(sys.modules, "google.colab", object())
    lessons.set_up(minutes=7)
    said = capsys.readouterr().out
    assert "about 7 minutes" in said
    if colab:
        assert calls == [[sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "no-such-package"]]
    else:
        assert calls == []
        assert "Missing here: no-such-package." in said
    assert not {"torch", "numpy", "pillow"} & set(lessons.LIGHT.values())


@each_notebook
def test_badges_and_set_up_cell_are_those_of_the_repository(path):
    notebook = nbformat.read(path, 4)
    assert repository.badges(path.name) in notebook.cells[0].source
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    minutes = int(re.search(r"set_up\(minutes=(\d+)\)", cell.source)[1])
    assert cell.source == repository.set_up_cell(minutes)
    assert f"{minutes} minutes" in notebook.cells[0].source
    assert cell.metadata["jupyter"] == {"source_hidden": True}
    assert cell.metadata["cellView"] == "form"


def test_the_set_up_cell_clones_the_kit_where_only_the_notebook_is(tmp_path):
    """As on Colab: an empty folder, a Python that knows no rgru_lab, and a git that copies instead of fetching."""
    (tmp_path / "git").write_text(
        f'#!/bin/sh\necho "$@" > asked\nmkdir kit && ln -s "{ROOT}/rgru_lab" kit/rgru_lab\n', encoding="utf-8"
    )
    (tmp_path / "git").chmod(0o755)
    hide = (
        "import importlib.util as u; find = u.find_spec; u.find_spec = lambda n: None if n == 'rgru_lab' else find(n)"
    )
    code = f"{hide}\n{repository.set_up_cell(5)}\nprint(sys.modules['rgru_lab'].__path__)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    asked = (tmp_path / "asked").read_text(encoding="utf-8")
    assert f"--branch={repository.TAG} https://github.com/{repository.REPOSITORY} kit" in asked
    assert "about 5 minutes" in done.stdout


# Results and guesses


def test_results_are_read_by_name():
    assert isinstance(lessons.results("trials.json"), (list, dict))
    assert lessons.results("training.md").startswith("#")
    with pytest.raises(InputError, match=r"no nothing\.json in data/results"):
        lessons.results("nothing.json")


@pytest.mark.parametrize(
    ("guess", "truth", "said"),
    [
        (0.9, 0.95, "Q: 0.950 dB. You guessed 0.900 dB, off by 0.050 dB.\n"),
        (None, 0.95, "Q: 0.950 dB. No guess from you yet.\n"),
        (..., "kept", "Q: kept. No guess from you yet.\n"),
        ("kept", "kept", "Q: kept. You guessed kept: right!\n"),
        ("lost", "kept", "Q: kept. You guessed lost.\n"),
        (3, "kept", "should be a word"),
        ("many", 0.95, "should be a number"),
        ([0.9], 0.95, "Your guess [0.9] should be a number"),
        (np.float32(0.5), 0.95, "off by 0.450 dB"),
    ],
)
def test_a_guess_is_shown_beside_the_truth(capsys, guess, truth, said):
    lessons.reveal(guess, truth, "Q", "dB")
    assert said in capsys.readouterr().out


# Exercises


@pytest.fixture
def double(monkeypatch):
    """An exercise that wants a function that doubles a random tensor."""
    monkeypatch.setattr(lessons, "EXERCISES", {})
    seen = []

    @lessons.exercise("99.1", "doubling", lambda: lambda x: 2 * x)
    def doubles(answer):
        x = torch.rand(3)
        seen.append(x)
        if not torch.equal(answer(x), 2 * x):
            raise lessons.Wrong("it does not double")

    return seen


def test_a_right_answer_is_praised_and_remembered(double, capsys):
    assert lessons.solved() == []
    lessons.check("99.1", lambda x: x + x)
    assert capsys.readouterr().out == "✓ 99.1 doubling: right.\n"
    assert lessons.solved() == ["99.1"]


def test_what_cannot_be_remembered_is_said_and_praised_all_the_same(double, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    monkeypatch.setattr(lessons, "PROGRESS", tmp_path / "file" / "progress.json")
    lessons.check("99.1", lambda x: x + x)
    praise, note = capsys.readouterr().out.splitlines()
    assert praise == "✓ 99.1 doubling: right."
    assert "Not remembered" in note
    assert str(lessons.PROGRESS) in note


def test_each_learner_may_have_a_progress_of_their_own(tmp_path):
    own = os.environ | {"RGRU_LAB_PROGRESS": str(tmp_path / "ana.json")}
    code = "from rgru_lab import lessons; lessons.check('02.3', -6)"
    subprocess.run([sys.executable, "-c", code], check=True, env=own, cwd=ROOT)
    assert json.loads((tmp_path / "ana.json").read_text(encoding="utf-8")) == ["02.3"]


def test_a_wrong_one_is_told_what_it_does_and_stops_nothing(double, capsys):
    lessons.check("99.1", lambda x: x)
    lessons.check("99.1", lambda: 3)
    lessons.check("99.1", ...)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "✗ 99.1 doubling: it does not double"
    assert said[1].startswith("✗ 99.1 doubling: it stopped with TypeError")
    assert said[2].startswith("○ 99.1 doubling: no answer yet")
    assert lessons.solved() == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda x: 2 * ..., "a gap is still `...`"),
        (lambda x: x if x > 0 else -x, "torch.where"),
        (lambda x: x if x.numpy() > 0 else -x, "np.where"),
        (lambda x: x if x else -x, "for None ask `is None`, for each element `torch.where`"),
        (lambda x: torch.rand(3, 3) @ torch.rand(3, 3).double(), "float64"),
        (lambda x: torch.rand(3, 3).double() @ torch.rand(3, 3), "float64"),
        (lambda x: x.nothing, "(in `(lambda x: x.nothing"),
        (3.0, "it got a float; give the function itself"),
    ],
)
def test_common_slips_are_said_in_words(double, answer, words):
    assert words in lessons.verdict("99.1", answer)


def test_a_return_that_is_missing_is_said(double, capsys):
    def nothing(answer):
        raise NotImplementedError("a way ends without `return`")

    lessons.exercise("99.2", "halving", lambda: lambda x: x / 2)(nothing)
    lessons.check("99.2", lambda x: None)
    assert capsys.readouterr().out == "○ 99.2 halving: no answer yet: a way ends without `return`\n"


def test_a_check_leaves_the_random_numbers_of_gpus_alone(double, monkeypatch):
    monkeypatch.setattr(torch.cuda, "manual_seed_all", lambda seed: pytest.fail("a GPU was seeded"))
    assert lessons.verdict("99.1", lambda x: x + x) is None


def test_a_check_draws_the_same_numbers_each_time_and_leaves_the_learners_alone(double):
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    lessons.verdict("99.1", lambda x: x)
    lessons.verdict("99.1", lambda x: x)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(double[0], double[1])


def test_unstuck_keeps_a_right_answer_and_replaces_a_wrong_one(double, capsys):
    def mine(x):
        return x * 2

    assert lessons.unstuck("99.1", mine) is mine
    assert "your own answer" in capsys.readouterr().out
    for other in (lambda x: x, ..., None):
        assert lessons.unstuck("99.1", other)(4) == 8
        assert "the reference for 99.1" in capsys.readouterr().out


def test_the_reference_is_not_taken_for_the_learners_own(double, capsys):
    """Where only the cell of the check runs again, the learner's name holds what `unstuck` put there."""
    lent = lessons.unstuck("99.1", ...)
    capsys.readouterr()
    lessons.check("99.1", lent)
    assert lessons.unstuck("99.1", lent) is lent
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("○ 99.1 doubling: this is the reference. Run the cell with your own answer first")
    assert said[1] == "Going on with the reference for 99.1."
    assert lessons.solved() == []
    lessons.check("99.1", lambda x: x + x)
    assert lessons.solved() == ["99.1"]


def test_a_number_that_is_right_counts_though_the_reference_was_the_same(capsys):
    assert lessons.unstuck("02.3", ...) == -6
    lessons.check("02.3", -6)
    assert lessons.solved() == ["02.3"]


def test_an_unknown_exercise_is_refused():
    for number in ("02.9", "77.1", "x"):
        with pytest.raises(InputError, match="there is no exercise"):
            lessons.check(number, 1)


def test_progress_shows_what_was_solved_and_survives_a_damaged_file(capsys):
    lessons.check("02.3", -6)
    table = lessons.progress()
    assert "| 02.3 | a cell that keeps | ✓ |" in table
    assert "| 02.1 | one step of a GRU | ○ |" in table
    assert re.search(r"^1 of \d+ solved$", table, re.MULTILINE)
    lessons.PROGRESS.write_text("{damaged", encoding="utf-8")
    assert lessons.solved() == []


# Classes that are built


def _builds():
    """(path of the notebook, name of the library's class, source of the cell) of every cell that builds one."""
    found = []
    for path in NOTEBOOKS:
        for cell in nbformat.read(path, 4).cells:
            for tag in cell.metadata.get("tags", []):
                if tag.startswith("builds:"):
                    found.append(pytest.param(tag[7:], cell.source, id=f"{path.stem[:2]}-{tag.rpartition('.')[2]}"))
    return found


class _Plain(ast.NodeTransformer):
    """Takes docstrings and type hints away."""

    def visit_FunctionDef(self, node):
        node.returns = None
        return self._without_docstring(node)

    def visit_ClassDef(self, node):
        return self._without_docstring(node)

    def visit_arg(self, node):
        node.annotation = None
        return node

    def visit_AnnAssign(self, node):
        return ast.Assign([node.target], node.value) if node.value else node

    def _without_docstring(self, node):
        self.generic_visit(node)
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:]
        return node


def _definition(source, name):
    (node,) = [n for n in ast.parse(source).body if getattr(n, "name", None) == name]
    return ast.dump(_Plain().visit(node))


@pytest.mark.parametrize(("name", "source"), _builds())
def test_what_a_lesson_builds_is_what_the_library_has(name, source):
    module, _, thing = name.rpartition(".")
    library = Path(importlib.import_module(module).__file__).read_text(encoding="utf-8")
    assert _definition(source, thing) == _definition(library, thing)


def test_a_difference_between_lesson_and_library_would_be_noticed():
    theirs = 'def f(x: int, *, n: int = 3) -> int:\n    """Doc."""\n    y: int = x + n\n    return y\n'
    assert _definition("def f(x, *, n=3):\n    y = x + n\n    return y", "f") == _definition(theirs, "f")
    for other in ("def f(x, *, n=4):\n    y = x + n\n    return y", "def f(x, *, n=3):\n    y = n + x\n    return y"):
        assert _definition(other, "f") != _definition(theirs, "f")


# Forks and student versions


@pytest.fixture
def copy(tmp_path):
    """The files that name the repository, elsewhere."""
    for path in [*NOTEBOOKS, ROOT / "README.md", ROOT / "CITATION.cff", Path(repository.__file__)]:
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return tmp_path


def test_a_fork_is_named_everywhere(copy):
    changed = repository.move("me/my-kit", "v2", root=copy)
    assert {path.name for path in changed} >= {path.name for path in NOTEBOOKS} | {"repository.py"}
    for path in copy.rglob("*.*"):
        assert repository.REPOSITORY not in path.read_text(encoding="utf-8"), path
    notebook = nbformat.read(copy / "notebooks" / NOTEBOOKS[0].name, 4)
    assert repository.badges(NOTEBOOKS[0].name, "me/my-kit", "v2") in notebook.cells[0].source
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert "--branch=v2" in cell.source
    assert "github.com/me/my-kit" in cell.source
    names = {}
    exec((copy / "rgru_lab" / "lessons" / "repository.py").read_text(encoding="utf-8"), names)
    assert (names["REPOSITORY"], names["TAG"]) == ("me/my-kit", "v2")


@pytest.mark.parametrize(("name", "tag"), [("kit", "main"), ("https://github.com/a/b", "main"), ("a/b", "x y")])
def test_what_is_no_repository_is_refused_and_nothing_changes(copy, name, tag):
    before = {path: path.read_bytes() for path in copy.rglob("*.*")}
    with pytest.raises(InputError, match=re.escape(repr(name if tag == "main" else tag))):
        repository.move(name, tag, root=copy)
    assert {path: path.read_bytes() for path in copy.rglob("*.*")} == before


def test_student_versions_have_no_solutions_and_no_outputs(tmp_path, capsys):
    assert cli.main(["student", str(tmp_path / "class")]) == 0
    written = sorted((tmp_path / "class").glob("*.ipynb"))
    assert len(written) == len(list((ROOT / "notebooks").glob("*.ipynb")))
    text = "".join(path.read_text(encoding="utf-8") for path in written)
    assert "Solution" not in text
    assert "Open in Binder" not in text
    assert "<summary>Hint" in text
    assert (tmp_path / "class" / "glossary.md").read_text(encoding="utf-8") == (
        ROOT / "notebooks" / "glossary.md"
    ).read_text(encoding="utf-8")
    for path in written:
        notebook = nbformat.read(path, 4)
        nbformat.validate(notebook)
        assert not any(cell.get("outputs") for cell in notebook.cells)
        assert all(cell.source.strip() for cell in notebook.cells)


def test_a_learners_answers_in_a_class_are_left_alone(tmp_path, capsys):
    mine, gone = tmp_path / "09_against_jpeg.ipynb", tmp_path / "glossary.md"
    assert cli.main(["student", str(tmp_path)]) == 0
    assert "left alone" not in capsys.readouterr().out
    mine.write_text("my answers", encoding="utf-8")
    gone.unlink()
    assert cli.main(["student", str(tmp_path)]) == 0
    *written, said = capsys.readouterr().out.splitlines()
    assert written == [str(gone)]
    assert "left alone" in said
    assert mine.name in said
    assert mine.read_text(encoding="utf-8") == "my answers"


def test_student_versions_do_not_overwrite_the_notebooks(capsys):
    before = NOTEBOOKS[0].read_bytes()
    assert cli.main(["student", str(ROOT / "notebooks")]) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert NOTEBOOKS[0].read_bytes() == before


def test_a_cell_that_is_only_a_solution_goes_and_a_hint_stays():
    solution = "<details><summary>Solution 01.1</summary>\n\n```python\nx = 1\n```\n\n</details>"
    hint = "<details><summary>Hint</summary>\n\nThink.\n\n</details>\n\n"
    cells = [nbformat.v4.new_markdown_cell(text) for text in (solution, hint + solution, "prose")]
    parsed = json.loads(student.strip(nbformat.writes(nbformat.v4.new_notebook(cells=cells))))
    assert ["".join(cell["source"]).strip() for cell in parsed["cells"]] == [hint.strip(), "prose"]
