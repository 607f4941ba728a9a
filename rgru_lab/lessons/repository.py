"""Where the kit lives: badges and set-up cells name it, and one command rewrites them all for a fork."""

import re
from pathlib import Path

from rgru_lab.config import ROOT, InputError
from rgru_lab.files import write_atomically

REPOSITORY = "residual-gru-lab/residual-gru-lab"
TAG = "main"

SET_UP = """\
# @title Set-up: run this cell first (Shift + Enter)
import importlib.util
import subprocess
import sys

if not importlib.util.find_spec("rgru_lab"):  # on Colab only the notebook is there
    url = "https://github.com/{repository}"
    clone = ["git", "clone", "--quiet", "--depth=1", "--branch={tag}", url, "kit"]
    subprocess.run(clone, check=True)
    sys.path.insert(0, "kit")

from rgru_lab.lessons import set_up

set_up(minutes={minutes})"""
"""The set-up cell of every notebook."""


def badges(notebook: str, repository: str = REPOSITORY, tag: str = TAG) -> str:
    """The line of badges at the top of a notebook, by its file name."""
    colab = f"https://colab.research.google.com/github/{repository}/blob/{tag}/notebooks/{notebook}"
    binder = f"https://mybinder.org/v2/gh/{repository}/{tag}?urlpath=lab/tree/notebooks/{notebook}"
    return (
        f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})\n"
        f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})"
    )


def set_up_cell(minutes: int, repository: str = REPOSITORY, tag: str = TAG) -> str:
    """The source of a notebook's set-up cell."""
    return SET_UP.format(repository=repository, tag=tag, minutes=minutes)


def move(repository: str, tag: str = TAG, root: Path = ROOT) -> list[Path]:
    """Rewrite every badge and set-up cell, and this module, for a fork; returns the files that changed.

    Args:
        repository: "owner/name" on GitHub.
        tag: a branch or a tag; Binder builds anew for every commit of a branch, so a tag is kinder.

    Raises:
        InputError: this is no owner/name, or no branch or tag.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise InputError(f"{repository!r} is no repository; write it as owner/name")
    if not re.fullmatch(r"[\w.-]+", tag):
        raise InputError(f"{tag!r} is no branch or tag; use letters, digits, dots, dashes and underscores")
    files = [*sorted((root / "notebooks").glob("*.ipynb")), root / "README.md", root / "CITATION.cff"]
    files.append(root / "rgru_lab" / "lessons" / "repository.py")
    changed = []
    for path in files:
        text = path.read_text(encoding="utf-8")
        new = text.replace(f"{REPOSITORY}/blob/{TAG}/", f"{repository}/blob/{tag}/")
        new = new.replace(f"gh/{REPOSITORY}/{TAG}?", f"gh/{repository}/{tag}?")
        new = new.replace(f"--branch={TAG}", f"--branch={tag}")
        new = new.replace(f'TAG = "{TAG}"', f'TAG = "{tag}"').replace(REPOSITORY, repository)
        if new != text:
            write_atomically(path, new.encode())
            changed.append(path)
    return changed
