"""What the notebooks need around a lesson: set-up, guesses, checked exercises with a way out, and results to quote.

    from rgru_lab.lessons import check, reveal, set_up, unstuck

    set_up(minutes=20)                                 the doctor's lines: versions, machine, dial
    reveal(guess, truth, "MS-SSIM of P[8]")            what you guessed beside what it is
    check("02.1", gru_step)                            says in words what is right or wrong; never stops the notebook
    gru_step = unstuck("02.1", gru_step)               yours if it is right, else the reference

The exercises themselves are in `exercises/`, one module per lesson.
"""

import importlib
import importlib.util
import json
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Callable
from numbers import Real
from pathlib import Path
from typing import NamedTuple

from rgru_lab.config import RESULTS, ROOT, InputError
from rgru_lab.files import write_atomically

PROGRESS = Path(os.environ.get("RGRU_LAB_PROGRESS") or ROOT / "notebooks" / ".progress.json")
"""Which exercises have been solved on this machine."""

SMOKE_VARIABLE = "SMOKE"
"""Set to 1: everything as short as can be, to see that it runs."""

LIGHT = {"pytorch_msssim": "pytorch-msssim", "anywidget": "anywidget", "pooch": "pooch", "safetensors": "safetensors"}
LIGHT |= {"constriction": "constriction", "psutil": "psutil", "tqdm": "tqdm", "skimage": "scikit-image"}
LIGHT |= {"bjontegaard": "bjontegaard"}
"""Module and package of what a place like Colab may lack. Never torch or numpy: exchanging them breaks the rest."""


# Set-up


def set_up(minutes: int):
    """Install what is missing on Colab, and print the doctor's lines.

    Args:
        minutes: how long the lesson takes.
    """
    missing = [package for module, package in LIGHT.items() if not importlib.util.find_spec(module)]
    if missing and "google.colab" in sys.modules:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *missing], check=True)
        importlib.invalidate_caches()
        missing = []
    if missing:
        print(f"Missing here: {', '.join(missing)}. In the kit's folder: pip install -e .")
    print(doctor())
    unit = "minute" if minutes == 1 else "minutes"
    print(f"This lesson takes about {minutes} {unit}.")


def doctor() -> str:
    """Two lines: versions, device and memory; widgets and dial."""
    import psutil
    import torch

    import rgru_lab

    parts = [
        f"rgru_lab {rgru_lab.__version__}",
        f"Python {platform.python_version()}",
        f"torch {torch.__version__}",
        f"GPU {torch.cuda.get_device_name()}" if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores",
        f"{psutil.virtual_memory().available / 1e9:.0f} GB free",
        f"widgets {_widgets()}",
        f"dial {dial()}",
    ]
    return " · ".join(parts[:-2]) + "\n" + " · ".join(parts[-2:])


def dial() -> str:
    """ "SMOKE", "CPU" or "GPU": how much a lesson computes. SMOKE=1 in the environment chooses the shortest."""
    import torch

    if os.environ.get(SMOKE_VARIABLE) == "1":
        return "SMOKE"
    return "GPU" if torch.cuda.is_available() else "CPU"


def _widgets() -> str:
    """ "live" where a browser may be listening, "static" where the notebook is run by a program."""
    try:
        from IPython import get_ipython

        from rgru_lab.viewer.scrubber import STATIC_VARIABLE
    except ImportError:
        return "static"
    by_program = os.environ.get(SMOKE_VARIABLE) == "1" or os.environ.get(STATIC_VARIABLE)
    return "static" if get_ipython() is None or by_program else "live"


# Results to quote


def results(name: str):
    """A committed file of `data/results/`, by name: JSON parsed, all else as text.

    Raises:
        InputError: there is none of this name.
    """
    path = RESULTS / name
    if not path.is_file():
        raise InputError(
            f"there is no {name} in data/results; fetch the kit again, or make it: see `python -m rgru_lab`"
        )
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else text


# Guesses


def reveal(guess, truth, what: str, unit: str = "", digits: int = 3):
    """Print the truth beside the learner's guess.

    Args:
        guess: a number or a word, or None or `...` where nothing was guessed.
        truth: what it is, of the same kind.
        what: what was guessed, in words.
        unit: behind the numbers, "%" or "bytes" for two.
        digits: after the decimal point; 0 for whole numbers.
    """

    def said(value):
        if isinstance(value, str):
            return value
        return f"{value:,.{digits}f}" + (f" {unit}" if unit else "")

    if guess is None or guess is ...:
        print(f"{what}: {said(truth)}. No guess from you yet.")
    elif isinstance(guess, str) != isinstance(truth, str) or not isinstance(guess, (str, Real)):
        kind = "a word" if isinstance(truth, str) else "a number"
        print(f"{what}: {said(truth)}. Your guess {guess!r} should be {kind}.")
    elif isinstance(truth, str):
        print(f"{what}: {truth}. You guessed {guess}" + (": right!" if guess.strip().lower() == truth.lower() else "."))
    else:
        print(f"{what}: {said(truth)}. You guessed {said(guess)}, off by {said(abs(guess - truth))}.")


# Exercises


class Wrong(Exception):
    """An answer is not right; the message says in words what it does and what is expected."""


class Exercise(NamedTuple):
    """One exercise of a lesson."""

    number: str
    """"02.1": lesson and exercise."""
    title: str
    reference: Callable
    """Takes nothing, returns an answer that is right."""
    test: Callable
    """Takes an answer; raises `Wrong` unless it is right."""


EXERCISES: dict[str, Exercise] = {}

_lent: dict[str, object] = {}
"""The reference that `unstuck` gave last, by exercise: it stands under the learner's own name from then on."""


def exercise(number: str, title: str, reference: Callable):
    """Register a test as the exercise `number`; `reference` takes nothing and returns a right answer."""

    def register(test: Callable) -> Callable:
        EXERCISES[number] = Exercise(number, title, reference, test)
        return test

    return register


def find(number: str) -> Exercise:
    """The exercise of this number.

    Raises:
        InputError: there is none.
    """
    lesson = number.partition(".")[0]
    if (Path(__file__).parent / "exercises" / f"lesson{lesson}.py").is_file():
        importlib.import_module(f"rgru_lab.lessons.exercises.lesson{lesson}")
    if number not in EXERCISES:
        raise InputError(f"there is no exercise {number!r}; the lesson's text names those that there are")
    return EXERCISES[number]


def verdict(number: str, answer) -> str | None:
    """None for a right answer, else what is wrong with it in words. The same for the same answer, every time."""
    import torch

    found = find(number)
    if answer is None or answer is ...:
        return "no answer yet"
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)  # `torch.manual_seed` would seed GPUs, too
        try:
            found.test(answer)
        except Wrong as wrong:
            return str(wrong)
        except NotImplementedError as error:
            return f"no answer yet: {error}" if str(error) else "no answer yet"
        except Exception as error:  # the learner's code may do anything
            return _in_words(error, answer)
    return None


FLOAT64 = "the values are float64, which np.zeros and np.where give; make them float32: torch.as_tensor(…).float()"

IN_WORDS = {
    "ellipsis": "a gap is still `...`; fill every one",
    "Boolean value of Tensor": (
        "it asks one question, as `if` does, of a whole tensor; for None ask `is None`, for each element `torch.where`"
    ),
    "truth value of an array": (
        "it asks one question, as `if` does, of a whole array; for None ask `is None`, for each element `np.where`"
    ),
    "'NoneType' object is not subscriptable": (
        "what stands before the [ is None; list.sort() and print(...) return nothing, sorted(...) a new list"
    ),
    "Double did not match Float": FLOAT64,
    "float != double": FLOAT64,
    "double != float": FLOAT64,
}
"""What Python, torch and numpy say of slips that are common in exercises, and what it means."""


def _in_words(error: Exception, answer) -> str:
    said = str(error)
    if "not callable" in said and not callable(answer):
        return f"it got a {type(answer).__name__}; give the function itself: its name, without brackets behind it"
    means = [words for part, words in IN_WORDS.items() if part in said]
    file = getattr(getattr(answer, "__code__", None), "co_filename", None)
    lines = [frame.line for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file and frame.line]
    words = means[0] if means else f"it stopped with {type(error).__name__}: {said}"
    return f"{words} (in `{lines[-1]}`)" if lines else words


def check(number: str, answer):
    """Say whether an answer is right, and if not, what it does wrong. Any right answer is accepted."""
    wrong = verdict(number, answer)
    title = find(number).title
    if _is_lent(number, answer):
        print(f"○ {number} {title}: this is the reference. Run the cell with your own answer first, then this one.")
    elif wrong is None:
        print(f"✓ {number} {title}: right.")
        _remember(number)
    elif wrong == "no answer yet":
        print(f"○ {number} {title}: no answer yet. Fill the gap, run its cell, then this one again.")
    elif wrong.startswith("no answer yet"):
        print(f"○ {number} {title}: {wrong}")
    else:
        print(f"✗ {number} {title}: {wrong}")


def unstuck(number: str, answer=None):
    """The learner's answer if it is right, else the reference, so that the lesson goes on either way."""
    if not _is_lent(number, answer):
        if verdict(number, answer) is None:
            print(f"Going on with your own answer to {number}.")
            return answer
        _lent[number] = find(number).reference()
    print(f"Going on with the reference for {number}.")
    return _lent[number]


def _is_lent(number: str, answer) -> bool:
    """Whether this is what `unstuck` gave; of a number nobody can tell."""
    return answer is _lent.get(number, _lent) and not isinstance(answer, Real)


def solved() -> list[str]:
    """Numbers of the exercises that have been solved on this machine."""
    try:
        return sorted(set(json.loads(PROGRESS.read_text(encoding="utf-8"))))
    except (OSError, ValueError, TypeError):
        return []


def _remember(number: str):
    try:
        write_atomically(PROGRESS, json.dumps(sorted({*solved(), number})).encode())
    except InputError as error:  # no reason to stop a lesson
        print(f"  (Not remembered for the table of progress: {error}.)")


def progress() -> str:
    """A table in Markdown of all exercises: which have been solved on this machine."""
    modules = sorted((Path(__file__).parent / "exercises").glob("lesson*.py"))
    for path in modules:
        importlib.import_module(f"rgru_lab.lessons.exercises.{path.stem}")
    done = set(solved())
    rows = [f"| {e.number} | {e.title} | {'✓' if n in done else '○'} |" for n, e in sorted(EXERCISES.items())]
    count = f"{len(done & set(EXERCISES))} of {len(EXERCISES)} solved"
    return "\n".join(["| exercise | | solved |", "|---|---|---|", *rows, "", count])
