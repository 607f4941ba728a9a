"""What keeps the kit together: release, fork, student."""

import os
from pathlib import Path

from rgru_lab.commands.common import each_picture, make_folder
from rgru_lab.commands.options import add_jobs


def words(command):
    """Declare these commands and their options."""
    new = command(
        release,
        "rebuild all that depends on the weights",
        "Evaluation of the newest weights of each name, ablation, figures, README's tables, notebooks' outputs. What "
        "it only reads is measured by trials, effects, bench, bench --viewer, bench --payload, fuzz, and evaluate "
        "--search 20, of best with --adaptive.",
    )
    add_jobs(new)
    new.add_argument(
        "--notebooks", nargs="*", metavar="NAME", help="only run notebooks: all, or those named, 02 for one"
    )

    new = command(
        fork, "name the repository in badges and set-up cells", "Rewrites notebooks, README and CITATION.cff."
    )
    new.add_argument("repository", metavar="OWNER/NAME")
    new.add_argument("--tag", default="main", help="branch or tag that Colab and Binder open (default %(default)s)")

    new = command(student, "notebooks without solutions and outputs", "Copies of all notebooks, for a class.")
    new.add_argument("folder", metavar="DIR")


def release(options):
    from rgru_lab import ablation, machine, model, photos, release

    os.environ[machine.BF16_VARIABLE] = "0"  # what is published is of float32, wherever it is made
    if options.notebooks is not None:
        for path in release.notebooks(options.notebooks):
            print(path)
        return
    release.check_speeds(release.shipped()[0])
    paths = photos.kodak()
    summaries = [release.results(model.load(name), paths, options.jobs, each_picture) for name in release.shipped()]
    ablation.run(model.load(), "kodak", paths, release.RESULTS, progress=each_picture)
    release.curves(summaries)
    release.four_rates(model.load())
    release.claim(model.load(release.BEST))
    release.write_readme(summaries)
    for path in release.notebooks():
        print(path)


def fork(options):
    from rgru_lab.lessons import repository

    for path in repository.move(options.repository, options.tag):
        print(path)


def student(options):
    from rgru_lab.lessons import student

    folder = Path(options.folder)
    make_folder(folder)
    there = {path.name for path in folder.iterdir()}
    for path in student.write(folder):
        print(path)
    if left := sorted(there & {path.name for path in student.sources()}):
        print(f"left alone, since learners' answers may be in them: {', '.join(left)}; delete them for fresh ones")
