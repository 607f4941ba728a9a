"""Notebooks for a class: without solutions, outputs, and the badges that lead to both."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from rgru_lab.config import ROOT, InputError
from rgru_lab.files import write_atomically

SOLUTION = re.compile(r"<details>\s*<summary>Solution.*?</details>\n?", re.DOTALL)
BADGE = re.compile(r"^\[!\[Open in .*\n*", re.MULTILINE)
GLOSSARY = "glossary.md"


def write(folder: Path, source: Path = ROOT / "notebooks") -> Iterator[Path]:
    """Copy every notebook into a folder without its folded solutions and outputs, and the glossary; yields each path.

    What is there already may hold a learner's answers: it is left alone, and not yielded.

    Raises:
        InputError: the folder is the one that the notebooks are in.
    """
    if folder.resolve() == source.resolve():
        raise InputError(f"{folder} holds the notebooks themselves; choose another folder")
    for path in sources(source):
        target, text = folder / path.name, path.read_text(encoding="utf-8")
        if target.exists():
            continue
        write_atomically(target, (text if path.name == GLOSSARY else strip(text)).encode())
        yield target


def sources(source: Path = ROOT / "notebooks") -> list[Path]:
    """What a class gets copies of."""
    return sorted([*source.glob("*.ipynb"), source / GLOSSARY])


def strip(notebook: str) -> str:
    """The JSON of a notebook without solutions, badges and outputs; a cell that held only a solution goes, too."""
    parsed = json.loads(notebook)
    kept = []
    for cell in parsed["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
        else:
            text = BADGE.sub("", SOLUTION.sub("", text))
            if not text.strip():
                continue
            cell["source"] = text.splitlines(keepends=True)
        kept.append(cell)
    parsed["cells"] = kept
    return json.dumps(parsed, indent=1, ensure_ascii=False) + "\n"
