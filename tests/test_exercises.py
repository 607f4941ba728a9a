"""Every exercise accepts its folded solution and other right answers, and says in words what is wrong with mistakes."""

import ast
import importlib
import re
from dataclasses import replace
from itertools import islice
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from rgru_lab import codec, lessons
from rgru_lab.config import preset
from rgru_lab.lessons.exercises import NOTHING
from tests.lessons import lesson07 as tables_07
from tests.lessons import lesson08 as tables_08

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LESSONS = sorted(path.stem for path in (Path(lessons.__file__).parent / "exercises").glob("lesson*.py"))
SOLUTION = re.compile(r"<details><summary>Solution (\d\d\.\d)</summary>\s*```python\n(.*?)```\s*</details>", re.DOTALL)
CHECK = re.compile(r'check\("(\d\d\.\d)", (\w+)\)')


def _cases(kind):
    found = []
    for lesson in LESSONS:
        for number, answers in getattr(importlib.import_module(f"tests.lessons.{lesson}"), kind).items():
            found += [pytest.param(number, answer, id=f"{number}-{k}") for k, answer in enumerate(answers)]
    return found


def _notebook(number):
    (path,) = [path for path in NOTEBOOKS if path.name.startswith(number.partition(".")[0])]
    return nbformat.read(path, 4)


def _solutions(number):
    """The folded solutions of an exercise, and the name that the notebook checks."""
    notebook = _notebook(number)
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return [text for n, text in SOLUTION.findall(prose) if n == number], dict(CHECK.findall(code))[number]


def _namespace(notebook):
    """What a notebook imports, and what its cells with the tag `keep` define."""
    names = {}
    for cell in notebook.cells:
        tags = cell.metadata.get("tags", [])
        if cell.cell_type != "code" or "set-up" in tags:
            continue
        tree = ast.parse(cell.source)
        if "keep" not in tags:
            tree.body = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        exec(compile(tree, "notebook", "exec"), names)
    return names


def _all_numbers():
    lessons.progress()  # imports every module of exercises
    return sorted(lessons.EXERCISES)


def test_every_lesson_has_two_or_three_exercises_with_variants_and_mistakes():
    numbers = _all_numbers()
    assert LESSONS
    for lesson in LESSONS:
        mine = [number for number in numbers if number.startswith(lesson[-2:])]
        tables = importlib.import_module(f"tests.lessons.{lesson}")
        assert 2 <= len(mine) <= 3, lesson
        assert set(tables.VARIANTS) == set(tables.MISTAKES) == set(mine)
        assert all(tables.VARIANTS.values())
        assert all(len(mistakes) >= 3 for mistakes in tables.MISTAKES.values())
        assert all(len({words for _, words in mistakes}) >= 3 for mistakes in tables.MISTAKES.values())


@pytest.mark.parametrize("number", _all_numbers())
def test_the_reference_and_the_folded_solution_are_right_and_the_gap_is_not(number):
    assert lessons.verdict(number, lessons.find(number).reference()) is None
    solutions, name = _solutions(number)
    assert len(solutions) == 1
    names = _namespace(_notebook(number))
    exec(solutions[0], names)
    assert lessons.verdict(number, names[name]) is None
    gap = next(c for c in _notebook(number).cells if f"exercise:{number}" in c.metadata.get("tags", []))
    names = _namespace(_notebook(number))
    exec(gap.source, names)
    assert lessons.verdict(number, names[name]) is not None


@pytest.mark.parametrize(("number", "answer"), _cases("VARIANTS"))
def test_other_right_answers_are_accepted(number, answer):
    assert lessons.verdict(number, answer) is None


@pytest.mark.parametrize(("number", "mistake"), _cases("MISTAKES"))
def test_a_mistake_is_named_in_words(number, mistake):
    answer, words = mistake
    said = lessons.verdict(number, answer)
    assert said is not None
    assert words in said
    assert len(said) < 240


@pytest.mark.parametrize("number", _all_numbers())
def test_an_answer_that_fails_or_returns_its_input_is_told_so(number):
    def fails(*args, **kwargs):
        raise ValueError("my own mistake")

    def same(first=0, *args, **kwargs):
        return first

    for answer in (fails, same, object()):
        assert lessons.verdict(number, answer) not in (None, "no answer yet")


@pytest.mark.parametrize("number", _all_numbers())
def test_an_answer_that_returns_nothing_is_told_how_that_comes(number):
    if callable(lessons.find(number).reference()):
        said = lessons.verdict(number, lambda *args, **kwargs: None)
        assert said == f"no answer yet: {NOTHING}"


def _cell(number, part):
    (source,) = [cell.source for cell in _notebook(number).cells if part in cell.source and cell.cell_type == "code"]
    return source


@pytest.mark.parametrize("answer", tables_07.VARIANTS["07.1"])
def test_lesson_07_goes_on_with_corners_of_any_kind(answer, capsys):
    names = _namespace(_notebook("07"))
    exec(_cell("07", "tiles = {}"), names)
    exec(_cell("07", "drawn = "), names | {"hard_corners": answer})
    assert "all are mine: True" in capsys.readouterr().out


def test_lesson_08_goes_on_with_an_entropy_in_torch(capsys):
    names = _namespace(_notebook("08")) | {"guess": None, "entropy": tables_08.in_torch, "N": 2}
    exec(_cell("08", "zlib"), names | {"planes": [np.ones((4, 2, 3), np.int8)] * 2})
    assert "B[2]: 0.000 bits for each bit" in capsys.readouterr().out


def test_the_generator_of_lesson_10_primes_as_the_library_does(make_coder):
    (source,) = [cell.source for cell in _notebook("10").cells if "def primed(" in cell.source]
    exec(source, names := {})
    x = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(5)) - 0.5
    with torch.no_grad():
        for k in (0, 1, 2):
            shown = names["primed"](make_coder(), x, 3, k, k)
            steps = islice(codec.unroll(make_coder(replace(preset("micro"), priming=k)), x), 3)
            for (picture, residual), step in zip(shown, steps, strict=True):
                assert torch.equal(picture, step.picture)
                assert torch.equal(residual, step.residual)
