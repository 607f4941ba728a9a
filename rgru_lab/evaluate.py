"""A set of pictures through a codec and its opponents: measured, compared, and written down.

Of a model `SET-NAME.csv` (a line per picture and iteration), `.json` (all that follows from them, with the versions
it depends on) and `.md` (the same for people); of the opponents `SET-opponents.csv` and `.json`, which need not be
measured again for the next model.
"""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from rgru_lab import adaptive, bitnet, comparing, measuring, reports
from rgru_lab.config import MAX_ITERATIONS, InputError
from rgru_lab.files import read_json, write_atomically, write_json
from rgru_lab.opponents import CODECS
from rgru_lab.search import Searching


def run(
    weights,
    set_name: str,
    paths: list[Path],
    folder: Path,
    *,
    iterations: int = MAX_ITERATIONS,
    slopes: Sequence[float] = (),
    search: int = 0,
    files: Path | None = None,
    against: Iterable[str] = ("jpeg",),
    bit_model="find",
    jobs: int = 1,
    fresh: bool = False,
    force: bool = False,
    progress: Callable = lambda rows, total, what: rows,
) -> dict:
    """Measure, compare and write; returns the summary. Stopped, the next call goes on with the next picture.

    Args:
        weights: a loaded `model.Weights`.
        set_name: "kodak", or whatever the pictures are called.
        paths: the pictures.
        folder: where the results go, and where measured opponents are looked for.
        iterations: how far to go.
        slopes: if given, adaptive files are measured instead, one for each (see `adaptive.counts`), with as many
            iterations as pay, `iterations` at most; the results are called `SET-NAME-adaptive`.
        search: as in `Progression`, with slopes as in `adaptive.reaching`; `-search` is added to the results' name.
        files: a folder that keeps the adaptive files; those that lie there already are measured as they are.
        against: keys of `opponents.CODECS`; JPEG is always among them.
        bit_model: as in `Progression`.
        jobs: pictures at a time, fewer where memory does not hold as many.
        fresh: measure the opponents again, even if their results are there.
        force: replace results that go further than these will.
        progress: called with the rows of each picture, how many pictures there are, and what is measured.

    Raises:
        InputError: results of more iterations, or of a longer search, would be replaced.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{set_name}-{weights.name}" + "-adaptive" * bool(slopes) + "-search" * bool(search)
    if not force:
        _check_replaced(folder / f"{name}.json", iterations, search)
    bit_model = bitnet.asked_for(weights, bit_model)
    theirs = opponents(set_name, paths, folder, against, jobs=jobs, fresh=fresh, progress=progress)
    identity = measuring.our_identity(weights, bit_model) | {"iterations": iterations}
    times = Searching.times_memory if search else adaptive.TIMES_MEMORY if slopes else 1.0
    jobs = measuring.affordable_jobs(weights, paths, jobs, times)
    work = partial(measuring.ours, weights, iterations=iterations, bit_model=bit_model)
    if slopes:
        identity |= {"slopes": list(slopes)}
        work = partial(measuring.ours_adaptive, weights, slopes=slopes, bit_model=bit_model, iterations=iterations)
        if files:
            Path(files).mkdir(parents=True, exist_ok=True)
            identity |= {"files": str(files)}
            work = partial(work, files=Path(files))
    if search:
        identity |= {"search": search}
        work = partial(work, search=search)
    kept = folder / f".{name}-{identity['precision']}.part"
    groups = measuring.every(work, paths, kept, identity, jobs=jobs)
    rows = [row for group in progress(groups, len(paths), weights.name) for row in group]
    summary = comparing.summarise(weights, set_name, rows, theirs, slopes, search)
    summary |= {key: identity[key] for key in ("bit_model", "precision", "iterations")}
    measuring.write(folder / f"{name}.csv", rows)
    write_json(folder / f"{name}.json", summary)
    write_atomically(folder / f"{name}.md", reports.report(summary).encode())
    kept.unlink(missing_ok=True)  # another evaluation may have been at the same
    return summary


def _check_replaced(page: Path, iterations: int, search: int):
    """Raise `InputError` if results that went further stand there: minutes would take the place of hours."""
    if not page.exists():
        return
    there = read_json(page, "slopes", "curve", "search")
    known = there.get("iterations", MAX_ITERATIONS if there["slopes"] else len(there["curve"]))
    for before, now, what in ((known, iterations, "iterations"), (there["search"], search, "steps of a search")):
        if before > now:
            raise InputError(
                f"{page} is of {before} {what}, and {now} would take their place; choose another --output, or add "
                "--force"
            )


def opponents(
    set_name: str,
    paths: list[Path],
    folder: Path,
    against: Iterable[str],
    *,
    jobs: int = 1,
    fresh: bool = False,
    progress: Callable = lambda rows, total, what: rows,
) -> list[dict]:
    """The rows of all opponents: of the same pictures, encoders and settings as in `folder` already, or measured now.

    Those that stand there and were not asked for stay as they are.
    """
    table, page = (folder / f"{set_name}-opponents{suffix}" for suffix in (".csv", ".json"))
    pictures = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    there = _there(table, page, pictures)
    asked = {codec: measuring.their_identity(codec) for codec in dict.fromkeys(("jpeg", *against))}
    known = {
        codec
        for codec, found in there.items()
        if codec not in asked or (not fresh and found.items() >= asked[codec].items())
    }
    rows = [row for row in measuring.read(table) if row["codec"] in known] if known else []
    if Counter((row["codec"], row["picture"]) for row in rows) != Counter(
        {(codec, name): len(there[codec]["points"]) for codec in known for name in pictures}
    ):
        raise InputError(f"{table} is damaged, or not the one of {page.name}; delete both, and they are made anew")
    missing = [codec for codec in asked if codec not in known]
    if not missing:
        return rows
    kept = folder / f".{set_name}-opponents.part"
    identity = {codec: asked[codec] for codec in missing}
    groups = measuring.every(partial(measuring.theirs, missing), paths, kept, identity, jobs=jobs)
    rows += [row for group in progress(groups, len(paths), ", ".join(missing)) for row in group]
    order = list(CODECS)
    rows.sort(key=lambda row: (order.index(row["codec"]), row["picture"], row["point"]))
    measuring.write(table, rows)
    found = {
        "set": set_name,
        "pictures": pictures,
        "codecs": {
            codec: (there if codec in known else asked)[codec]
            | {"curve": comparing.written(comparing.mean_curve(group))}
            for codec, group in comparing.grouped(rows, "codec").items()
        },
        **comparing.provenance(),
    }
    write_json(page, found)
    kept.unlink(missing_ok=True)  # another evaluation may have been at the same
    return rows


def _there(table: Path, page: Path, pictures: dict[str, str]) -> dict[str, dict]:
    """The opponents that have been measured on these pictures, and all that their rows depended on then."""
    if not (table.exists() and page.exists()):
        return {}
    found = read_json(page, "pictures", "codecs")
    if found["pictures"] != pictures:
        return {}
    return {codec: identity for codec, identity in found["codecs"].items() if codec in CODECS}
