"""What the commands share: how they refuse, find pictures, make folders, watch a training and show progress."""

import os
import time
from pathlib import Path

from rgru_lab.config import InputError


class UsageError(InputError):
    """A command that cannot be carried out as given; the message says what to change."""


def make_folder(folder: Path, option: str = "--output"):
    """Make a folder, and those above it, or raise a `UsageError` that names the option to change."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder} ({error.strerror}); choose another {option}") from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder {folder} cannot be written to; choose another {option}")


def check_output(path, suffix: str, source, force: bool):
    """Refuse, before any work is done, a name that the result cannot or should not have; - is the standard output."""
    if path == "-":
        return
    path = Path(path)
    if path.suffix.lower() != suffix:
        where = "in front of" if path.name.lower() == suffix else "that ends in"
        raise UsageError(f"the output is called {str(path)!r}; give it a name {where} {suffix}")
    try:
        there, a_file = os.path.lexists(path), path.is_file()
        the_input = there and os.path.exists(source) and os.path.samefile(path, source)
    except PermissionError:
        raise UsageError(f"the folder of {path} cannot be looked into; choose another") from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(path)[:60]!r} cannot be a file's name ({error}); choose another") from None
    if there and not a_file:
        raise UsageError(f"{path} is there and is not a file; choose another name")
    if the_input:
        raise UsageError(f"{path} is the input; choose another name for the output")
    if there and not force:
        raise UsageError(f"{path} is there already; add --force to overwrite it, or choose another name")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder {path.parent} cannot be written to; choose another")


def pictures(images: str) -> tuple[str, list[Path]]:
    """A set's name and the paths of its pictures: of the word kodak, or of a folder; a `UsageError` if it has none."""
    from rgru_lab import photos
    from rgru_lab.images import paths_in

    if images == "kodak":
        return "kodak", photos.kodak()
    if not Path(images).is_dir() or not (paths := paths_in(images, below=False)):
        raise UsageError(f"{images} is no folder with pictures; give one, or the word kodak")
    name = folder_name(images)
    return "kodak-folder" if name == "kodak" else name, paths  # what is written of kodak is of the download


def folder_name(folder: str) -> str:
    """What the pictures in a folder are called in results and records."""
    return Path(folder).resolve().name


def each_picture(rows, total: int, what: str):
    """A progress bar over the pictures, under the name of what is measured."""
    print(what, flush=True)
    return bar(rows, total, "picture")


def bar(items, total: int, unit: str, disable: bool | None = None):
    """A progress bar over `items` that is gone at the end; disable=None shows it in a terminal only."""
    from tqdm import tqdm

    return tqdm(items, total=total, unit=unit, leave=False, disable=disable)


def say(line: str):
    """Print a line above the progress bar."""
    from tqdm import tqdm

    tqdm.write(line)


def goes_on(folder: Path, resume: bool) -> bool:
    """Whether a training goes on from the checkpoint in a folder; to begin anew beside one is refused."""
    from rgru_lab import checkpoints

    there = checkpoints.exists(folder)
    if there and not resume:
        raise UsageError(f"{folder} holds a checkpoint already; add --resume to go on, or choose another --output")
    return there


def watch(trainer, folder: Path, reading, part_bytes: int | None = None):
    """Train to the end and show how far it is; `reading` makes of a step's `Record` what is said of it."""
    from rgru_lab import runs

    said = time.monotonic()
    with bar(None, 100, "percent", disable=True if trainer.rank else None) as shown:
        shown.bar_format = "{percentage:3.0f}% |{bar}| {postfix}"
        for record in runs.run(trainer, folder, part_bytes=part_bytes):
            start = f"step {record.step:,}, {record.elapsed_s:,.0f} s, rate {record.learning_rate:.1e}, "
            text = start + reading(record)
            shown.n = 100 * record.progress
            shown.set_postfix_str(text)
            if shown.disable and trainer.rank == 0 and time.monotonic() - said > 60:  # no terminal: a line a minute
                said = time.monotonic()
                print(f"{record.progress:4.0%} {text}", flush=True)
