"""What measures: evaluate, ablation, effects, fuzz, bench."""

import os
import re
from pathlib import Path

from rgru_lab.commands.common import UsageError, bar, each_picture, folder_name, make_folder, pictures
from rgru_lab.commands.options import add_iterations, add_jobs, add_model, add_search, count
from rgru_lab.config import DEFAULT_MODEL, MAX_ITERATIONS
from rgru_lab.files import write_json

FUZZ = """\
N random and mutated files through the parser, and a tenth as many whose checksums are made right again, so that the
range decoder meets garbage. Stops at the first file that does anything but decode or be refused."""


def words(command):
    """Declare these commands and their options."""
    new = command(
        evaluate,
        "a set of photographs, into data/results",
        "Bytes and qualities of every picture, and what follows; goes on if stopped.",
    )
    new.add_argument("--images", default="kodak", metavar="kodak|DIR")
    new.add_argument("--output", default="data/results", metavar="DIR")
    add_model(new)
    add_iterations(new, MAX_ITERATIONS, f"how far to go (default {MAX_ITERATIONS})")
    new.add_argument(
        "--adaptive", action="store_true", help="adaptive files instead, in which positions stop where it pays no more"
    )
    new.add_argument(
        "--files",
        metavar="DIR",
        help="keep the adaptive files in this folder; those that lie there already are measured and not made again",
    )
    add_search(new)
    new.add_argument(
        "--against",
        default="jpeg",
        metavar="CODECS",
        help="opponents: jpeg (always among them), webp, avif, or all, with JPEG's variants (default jpeg)",
    )
    new.add_argument("--fresh", action="store_true", help="measure the opponents again, even where their results are")
    new.add_argument("--force", action="store_true", help="replace results that went further")
    add_jobs(new)

    new = command(ablation, "what each part is worth", "Without memory, without coded bits, with other cells.")
    new.add_argument("--images", default="kodak", metavar="kodak|DIR")
    new.add_argument("--output", default="data/results", metavar="DIR", help="where evaluate and trials wrote, too")
    add_model(new)
    add_iterations(new, 4, "how far to go (default 4)")

    new = command(
        effects,
        "what each idea beyond the paper is worth",
        "The same weights trained on for a little with one idea at a time, and measured. Stopped, the next call goes "
        "on with the idea or the picture that was due.",
    )
    new.add_argument("--images", required=True, metavar="DIR", help="photographs to train on, sub-folders included")
    new.add_argument("--on", default="kodak", metavar="kodak|DIR", help="photographs to measure on (default kodak)")
    new.add_argument("--start-from", default=DEFAULT_MODEL, metavar="NAME", help="weights (default %(default)s)")
    new.add_argument("--weights", default="runs/effects", metavar="DIR", help="keep weights here (default %(default)s)")
    new.add_argument("--output", default="data/results", metavar="DIR")
    add_jobs(new)

    new = command(fuzz, "damaged files by the thousand: nothing may break", FUZZ)
    add_model(new)
    new.add_argument("--files", type=count, default=10_000, metavar="N", help="default 10000")
    new.add_argument("--kodak", action="store_true", help="also cut the files of the Kodak photographs at every byte")
    new.add_argument("--seed", type=int, default=0)
    new.add_argument("--output", metavar="JSON", help="also write the outcome into this file")

    new = command(
        bench,
        "how fast this machine is at it",
        "Seconds, memory and share of peak, beside a straightforward loop.",
    )
    add_model(new)
    new.add_argument("--output", default="data/results", metavar="DIR")
    new.add_argument("--small", action="store_true", help="leave out the picture of 12 megapixels")
    new.add_argument(
        "--machine", default="", metavar="NAME", help="write bench-MODEL-NAME.json, beside another machine's"
    )
    new.add_argument("--viewer", action="store_true", help="the scrubber in Chromium instead (needs playwright)")
    new.add_argument(
        "--payload", metavar="kodak|DIR", help="how much the scrubber sends for these photographs, instead"
    )
    new.add_argument("--precision", metavar="kodak|DIR", help="what bfloat16 changes in these photographs, instead")


def evaluate(options):
    from rgru_lab import adaptive, codec, evaluate, measuring, model, opponents, reports, search

    against = options.against.split(",")
    against = list(opponents.CODECS) if "all" in against else against
    for name in against:
        opponents.check_codec(name)
    if options.files and not options.adaptive:
        raise UsageError("--files keeps adaptive files; add --adaptive")
    if options.files:
        make_folder(Path(options.files), "--files")
    weights = model.load(options.model)
    codec.check_iterations(options.iterations)
    if options.search:
        search.check_steps(options.search)
    name, paths = pictures(options.images)
    make_folder(Path(options.output))
    measuring.check(paths)
    summary = evaluate.run(
        weights,
        name,
        paths,
        Path(options.output),
        iterations=options.iterations,
        slopes=adaptive.SHOWN if options.adaptive else (),
        search=options.search,
        files=options.files,
        against=against,
        jobs=options.jobs,
        fresh=options.fresh,
        force=options.force,
        progress=each_picture,
    )
    print(reports.report(summary))


def ablation(options):
    from rgru_lab import ablation, measuring, model

    weights = model.load(options.model)
    name, paths = pictures(options.images)
    folder = Path(options.output)
    measuring.check(paths)
    summary = ablation.run(
        weights,
        name,
        paths,
        folder,
        iterations=options.iterations,
        progress=lambda rows, total, _: bar(rows, total, "picture"),
    )
    print(*ablation.files(folder), sep="\n")
    print("\n" + ablation.report(summary))


def effects(options):
    from rgru_lab import bitnet, effects, machine, measuring, model, patches, photos

    os.environ[machine.BF16_VARIABLE] = "0"  # what is published is of float32, wherever it is made
    folder, output = Path(options.weights), Path(options.output)
    make_folder(folder)
    make_folder(output)
    start = model.load(options.start_from)
    name, paths = pictures(options.on)
    measuring.check(paths)
    found = patches.pictures_in(
        options.images, leave_out=photos.validation_names(), progress=lambda each: bar(each, len(each), "picture")
    )
    data = folder_name(options.images)
    steps = effects.train(start, bitnet.find(start), found.photos, folder, effects.IDEAS, data=data)
    for _ in bar(steps, effects.STEPS * len(effects.IDEAS), "step"):
        pass
    measured = effects.measure(folder, paths, ideas=effects.IDEAS, jobs=options.jobs, progress=each_picture)
    for path in effects.write(output, start, name, len(paths), measured):
        print(path)


def fuzz(options):
    from rgru_lab import bitnet, comparing, fuzz, images, model, photos

    weights = model.load(options.model)
    if options.output:
        make_folder(Path(options.output).parent)
    found = bitnet.find(weights)
    good = fuzz.seeds([found] if found.coding == "learned" else [])
    outcomes, cut = {}, 0

    def write():
        if not options.output:
            return
        said = {
            "cuts": cut,
            **{name: outcome._asdict() for name, outcome in outcomes.items()},
            "seed": options.seed,
            "codings": [start.bit_model.coding if start.bit_model else "raw" for start in good],
            **comparing.provenance(),
        }
        write_json(options.output, said)

    for name, files, sealed in (("plain", options.files, False), ("sealed", options.files // 10, True)):
        outcomes[name] = fuzz.run(
            good, files, options.seed, sealed=sealed, progress=lambda r, n=files: bar(r, n, "file")
        )
        write()
    print("\n".join(fuzz.report(outcomes)), flush=True)
    if options.kodak:
        for path in bar(photos.kodak(), 24, "picture"):
            cut += fuzz.cuts(fuzz.coded(weights, found, images.load(path)))
            write()
        print(f"cuts: {cut:,} of the Kodak photographs' files, all right")
    if options.output:
        print(options.output)


def bench(options):
    import tempfile

    from rgru_lab import bench, model
    from rgru_lab.viewer import latency

    output = Path(options.output)
    make_folder(output)
    if not re.fullmatch(r"[\w.-]*", options.machine):
        raise UsageError(f"--machine is {options.machine!r}; take letters, digits, points and hyphens")
    rows, weights = {}, model.load(options.model)
    what = next((what for what in ("viewer", "payload", "precision") if getattr(options, what)), "bench")
    with tempfile.TemporaryDirectory() as folder:
        if options.viewer:
            report = latency.report(weights, Path(folder))
        elif options.payload:
            report = latency.sizes(weights, pictures(options.payload)[1], Path(folder))
        elif options.precision:
            report = bench.precision(weights, pictures(options.precision)[1])
        else:
            report = bench.report(weights, large=not options.small)
        for quantity, value in report:
            rows[quantity] = value
            said = f"{value:,}" if isinstance(value, (int, float)) else value
            print(f"{quantity:75} {said}", flush=True)
    beside = f"-{options.machine}" if options.machine else ""
    path = output / f"{what}-{weights.name}{beside}.json"
    write_json(path, rows)
    print(path)
