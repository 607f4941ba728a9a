"""The command line: `python -m rgru_lab --help`."""

import argparse
import io
import os
import re
import sys
import time
from collections import deque
from pathlib import Path

from rgru_lab import __version__
from rgru_lab.config import CODINGS, DEFAULT_MODEL, MAX_ITERATIONS, PRESETS, InputError

ABOUT = """\
A codec for photographs made of a recurrent neural network (Toderici et al., CVPR 2017).

It compresses in iterations: the first makes a rough picture from 0.125 bits per pixel, each further one
looks at what is still missing (the residual) and spends as many bits again. A file may be cut after any
iteration and is still a picture."""

EXAMPLES = """\
examples:
  python -m rgru_lab compare photo.jpg                       ours beside JPEG, as a table and a figure
  python -m rgru_lab compress photo.jpg photo.rgru --iterations 4
  python -m rgru_lab info photo.rgru
  python -m rgru_lab decompress photo.rgru photo.png
  python -m rgru_lab train --preset small --images my_photos --time-budget 2h

`python -m rgru_lab COMMAND --help` explains a command."""


class UsageError(InputError):
    """A command that cannot be carried out as given; the message says what to change."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for anything wrong with the input, 130 when interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode must not stop a command
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nrgru_lab: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, `head` for one, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except InputError as error:
        print(f"rgru_lab: {error}", file=sys.stderr)
        return 2
    return 0


def compress(options):
    from rgru_lab import images, model
    from rgru_lab.metrics import MS_SSIM_MIN_SIDE, has_ms_ssim
    from rgru_lab.progression import Progression

    _check_output(options.output, ".rgru", options.input, options.force)
    photo = images.load(*_bytes_of(options.input))
    if options.quality and not has_ms_ssim(photo):
        raise UsageError(f"{options.input} has a side under {MS_SSIM_MIN_SIDE} px, too small for MS-SSIM; use --bpp")
    weights = model.load(options.model)
    progression = Progression(weights, photo, _bit_model(weights, options))
    limit_bytes = options.bytes or (options.bpp and options.bpp * photo.shape[0] * photo.shape[1] / 8)
    most = options.iterations or (MAX_ITERATIONS if limit_bytes or options.quality else 8)
    chosen = 0
    for i, decoded in _bar(progression.run(most), most, "iteration"):
        if limit_bytes and decoded.size_bytes > limit_bytes:
            break
        chosen = i
        if options.quality and decoded.ms_ssim >= options.quality:
            break
    if not chosen:
        least = progression[1]
        raise UsageError(f"one iteration takes {least.size_bytes:,} bytes, {least.bpp:.3f} bits per pixel; allow more")
    decoded = progression[chosen]
    if options.quality and decoded.ms_ssim < options.quality:
        raise UsageError(f"{chosen} iterations reach MS-SSIM {decoded.ms_ssim:.4f}; ask for a --quality up to that")
    _write(options.output, progression.file(chosen))
    saved = 100 * (1 - decoded.size_bytes / decoded.raw_bytes)
    said = f"{decoded.size_bytes:,} bytes, {decoded.bpp:.3f} bits per pixel, {decoded.psnr_db:.2f} dB"
    said += f"; {chosen} iterations, {saved:.1f} % saved by coding ({progression.bit_model.coding})" if saved else ""
    print(f"{options.output}: {said}", file=_messages(options.output))


def decompress(options):
    from rgru_lab import bitstream, images, progression

    _check_output(options.output, ".png", options.input, options.force)
    source = _bytes_of(options.input)[0] if options.input == "-" else options.input
    limit = frames = None
    while frames is None:
        try:
            file = progression.read(source, limit)
            wanted = options.iterations or file.iterations
            if wanted > file.iterations:
                raise UsageError(
                    f"{options.input} holds {file.iterations} iterations, not {wanted}; ask for at most that many"
                )
            frames = progression.decode(file, wanted, options.model)
        except bitstream.DamagedSegment as error:
            if not (options.partial and error.whole):
                hint = f", or add --partial for the {error.whole} iterations before it" if error.whole else ""
                raise UsageError(f"{error}{hint}") from None
            limit = error.whole
            print(f"warning: {error}; this is what comes before it", file=sys.stderr)
    frame = deque(_bar(frames, wanted, "iteration"), maxlen=1).pop()  # the last one
    _write(options.output, images.encode_png(frame))
    if file.left_over_bytes and limit is None:
        print(f"warning: {_left_over(file)}", file=sys.stderr)
    size = f"{frame.shape[1]} x {frame.shape[0]} px"
    print(f"{options.output}: {size} after {wanted} of {file.iterations} iterations", file=_messages(options.output))


def info(options):
    from rgru_lab import progression

    file = progression.read(_bytes_of(options.input)[0] if options.input == "-" else options.input)
    header = file.header
    pixels = header.width * header.height
    coding = {"raw": "bits stored as they are", "counts": "bits coded with counted contexts"}.get(header.coding)
    coding = coding or f"bits coded with the learned model {header.bit_model.hex()}"
    print(f"picture      {header.width} x {header.height} px")
    print(f"weights      {header.name}, fingerprint {header.fingerprint.hex()}")
    print(f"coding       {header.reconstruction}, {header.bits} bits per position and iteration, {coding}")
    print(f"iterations   {file.iterations}")
    for i, (end, raw) in enumerate(zip(file.ends_bytes, file.raw_bytes, strict=True), start=1):
        share = f"  {file.bits_per_bit[i - 1]:.3f} bits per bit"
        print(f"  after {i:2}   {end:>9,} bytes  {8 * end / pixels:.3f} bits per pixel  raw {raw:>9,} bytes{share}")
    if file.left_over_bytes:
        print(f"left over    {_left_over(file)}")


def compare(options):
    from rgru_lab import bitnet, images, model, plots
    from rgru_lab.opponents import JpegLadder
    from rgru_lab.progression import Progression

    photo = images.load(options.photo)
    output = Path(options.output or f"{Path(options.photo).stem}-compare.png")
    _check_output(output, ".png", options.photo, options.force or options.output is None)
    weights = model.load(options.model)
    progression, ladder = Progression(weights, photo, bitnet.find(weights, options.model)), JpegLadder(photo)
    print(f"{options.photo}: {photo.shape[1]} x {photo.shape[0]} px, weights {progression.weights.name}")
    print("JPEG: 4:2:0, optimised Huffman tables. 'same bytes': its largest quality that is not larger than ours;")
    print("'same MS-SSIM': its least quality that reaches ours, and how much smaller (-) our file is.\n")
    print("            ours                                   JPEG, same bytes                JPEG, same MS-SSIM")
    print("  i     bytes    bpp  PSNR dB  MS-SSIM  |R|     q     bytes  PSNR dB  MS-SSIM     q     bytes   ours")
    for i, ours in _bar(progression.run(options.iterations), options.iterations, "iteration"):
        rival = ladder.fitting(ours.size_bytes)
        equal = ladder.reaching(ours.ms_ssim) if ours.ms_ssim is not None else None
        line = f"{i:3} {_reading(ours)} {ours.mean_abs_residual:4.1f}   {_rival(rival, ladder)}   "
        if equal:
            line += f"{equal.quality:3} {equal.size_bytes:9,}  {100 * (ours.size_bytes / equal.size_bytes - 1):+4.0f} %"
        else:
            line += "none gets there" if ours.ms_ssim is not None else "MS-SSIM needs sides over 160 px"
        _say(line)
    figure = plots.comparison(progression, ladder, list(range(1, len(progression) + 1)))
    images.write_atomically(output, plots.png(figure))
    print(f"\nfigure: {output}")


def train(options):
    from rgru_lab import model, photos, training
    from rgru_lab.config import TrainConfig, preset

    if not (options.steps or options.time_budget):
        raise UsageError("say how long to train: --time-budget 2h or --steps 10000")
    changes = {name: getattr(options, name) for name in ("patch", "batch", "learning_rate", "late")}
    if options.start_from:  # trained weights know the first iterations already
        changes["curriculum"] = ((1.0, TrainConfig.curriculum[-1][1]),)
    recipe = TrainConfig(seed=options.seed, **{key: value for key, value in changes.items() if value is not None})
    start = model.load(options.start_from).model if options.start_from else None
    folder = Path(options.output or f"runs/{options.preset}")
    if (folder / "checkpoint.pt").exists() and not options.resume:
        raise UsageError(f"{folder} holds a checkpoint already; add --resume to go on, or choose another --output")
    _make_folder(folder)

    found = training.pictures_in(
        options.images, leave_out=photos.validation_names(), progress=lambda paths: _bar(paths, len(paths), "picture")
    )
    budget = {"steps": options.steps, "time_budget_s": options.time_budget}
    trainer = training.Trainer(preset(options.preset), recipe, found.photos, device=_device(), **budget)
    if options.resume:
        training.load_checkpoint(trainer, folder)
    elif start:
        trainer.start_from(start)
    print(f"{options.preset} on {found}; log in {folder / 'log.jsonl'}; Ctrl-C keeps everything", flush=True)
    try:
        _watch(trainer, folder, _residuals)
    finally:
        if sys.exc_info()[0] in (None, KeyboardInterrupt):
            weights = folder / f"{options.preset}-local.safetensors"
            model.save(trainer.averaged_model(), weights, record=training.record(trainer, options.images))
            print(f"\n{weights}: {trainer.step_count:,} steps in {trainer.elapsed_s:,.0f} s")
            print(f"try it: python -m rgru_lab compare photo.jpg --model {weights}")


def train_bits(options):
    from rgru_lab import bitdata, bitmodel, bitnet, bittraining, model, photos, training

    weights = model.load(options.model)
    target = bitnet.path_beside(weights, options.model)
    folder = Path(options.output or f"runs/{weights.name}-bits")
    if (folder / "checkpoint.pt").exists() and not options.resume:
        raise UsageError(f"{folder} holds a checkpoint already; add --resume to go on, or choose another --output")
    _make_folder(folder)
    for_training, for_validation = bitdata.split(options.images, photos.validation_names())
    print(
        f"{weights.name}: {len(for_training)} pictures to learn from, {len(for_validation)} to validate on", flush=True
    )

    seconds = options.time_budget
    codes = bitdata.load_codes(folder, weights) if options.resume else []
    if not codes:
        making = bitdata.collect(weights.model, for_training, seconds=bittraining.COLLECTING * seconds)
        codes = list(_bar(making, None, "crop"))
        bitdata.save_codes(folder, weights, codes)
    recipe = bittraining.BitTrainConfig(seed=options.seed)
    trainer = bittraining.BitTrainer(codes, recipe, time_budget_s=bittraining.LEARNING * seconds)
    if options.resume and (folder / "checkpoint.pt").exists():
        training.load_checkpoint(trainer, folder)
    try:
        _watch(trainer, folder, lambda record: f"B[{record.iteration}] {record.bits_per_bit:.3f} bits per bit")
    finally:
        if sys.exc_info()[0] in (None, KeyboardInterrupt):
            record = bittraining.record(trainer, options.images)
            learned = bitnet.Learned(bittraining.integers(trainer.averaged_net()), weights.fingerprint, record)
            bitnet.save(learned, target)
            print(f"\n{target}: {trainer.step_count:,} steps in {trainer.elapsed_s:,.0f} s", flush=True)
    paths = _bar(for_validation, len(for_validation), "picture")
    codes = [bitdata.validation_codes(weights.model, path) for path in paths]
    print("bits per bit on validation photographs\n  i  counts  learned")
    both = (bittraining.bits_per_bit(each, codes) for each in (bitmodel.Counts(), learned))
    for i, (counts, best) in enumerate(zip(*both, strict=True), start=1):
        print(f"{i:3}  {counts:.4f}  {best:.4f}")


def evaluate(options):
    from rgru_lab import bitnet, evaluate, model

    weights = model.load(options.model)
    name, paths = _pictures(options.images)
    _make_folder(Path(options.output))
    evaluate.check(paths)
    rows = []
    for path in _bar(paths, len(paths), "picture"):
        rows += evaluate.measure(weights, path, options.iterations, bitnet.find(weights, options.model))
    summary = evaluate.summarise(weights, name, rows)
    for path in evaluate.write(options.output, f"{name}-{weights.name}", rows, summary):
        print(path)
    print("\n" + evaluate.report(summary))


def gain(options):
    from rgru_lab import bitnet, evaluate, gain, model

    weights = model.load(options.model)
    found = bitnet.find(weights, options.model)
    name, paths = _pictures(options.images)
    _make_folder(Path(options.output))
    evaluate.check(paths)
    rows = []
    for path in _bar(paths, len(paths), "picture"):
        rows += gain.measure(weights, path, options.iterations, gain.models(found))
    summary = gain.summarise(weights, found, name, rows)
    for path in gain.write(options.output, summary):
        print(path)
    print("\n" + gain.report(summary))


def fuzz(options):
    import datetime
    import json
    import platform

    from rgru_lab import bitnet, fuzz, images, model, photos

    weights = model.load(options.model)
    found = bitnet.find(weights, options.model)
    good = fuzz.seeds([found] if found.coding == "learned" else [])
    outcomes = {}
    for name, files, sealed in (("plain", options.files, False), ("sealed", options.files // 10, True)):
        outcomes[name] = fuzz.run(
            good, files, options.seed, sealed=sealed, progress=lambda r, n=files: _bar(r, n, "file")
        )
    print("\n".join(fuzz.report(outcomes)))
    cut = 0
    if options.kodak:
        for path in _bar(photos.kodak(), 24, "picture"):
            cut += fuzz.cuts(fuzz.coded(weights, found, images.load(path)))
        print(f"cuts: {cut:,} of the Kodak photographs' files, all right")
    if options.output:
        said = (
            {"cuts": cut}
            | {name: outcome._asdict() for name, outcome in outcomes.items()}
            | {
                "seed": options.seed,
                "codings": [start.bit_model.coding if start.bit_model else "raw" for start in good],
                "machine": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
                "date": datetime.date.today().isoformat(),
            }
        )
        images.write_atomically(options.output, (json.dumps(said, indent=1) + "\n").encode())
        print(options.output)


def release(options):
    from rgru_lab import model, photos, release

    weights = model.load(options.model)
    paths = photos.kodak()
    release.readme(release.results(weights, paths, lambda items: _bar(items, len(items), "picture")))
    release.four_rates(weights)
    for path in release.notebooks():
        print(path)


def _pictures(images: str) -> tuple[str, list[Path]]:
    """A set's name and its pictures: the word kodak, or a folder."""
    from rgru_lab import photos
    from rgru_lab.images import SUFFIXES

    if images == "kodak":
        return "kodak", photos.kodak()
    paths = sorted(p for p in Path(images).glob("*") if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise UsageError(f"{images} is no folder with pictures; give one, or the word kodak")
    return Path(images).resolve().name, paths


def _watch(trainer, folder: Path, reading):
    from rgru_lab import training

    said = time.monotonic()
    with _bar(None, 100, "percent") as bar:
        bar.bar_format = "{percentage:3.0f}% |{bar}| {postfix}"
        for record in training.run(trainer, folder):
            start = f"step {record.step:,}, {record.elapsed_s:,.0f} s, rate {record.learning_rate:.1e}, "
            text = start + reading(record)
            bar.n = 100 * record.progress
            bar.set_postfix_str(text)
            if bar.disable and time.monotonic() - said > 60:  # no terminal: a line a minute
                said = time.monotonic()
                print(f"{record.progress:4.0%} {text}", flush=True)


def _residuals(record) -> str:
    return "|R[i]| " + " ".join(f"{255 * residual:.1f}" for residual in record.residuals)


def _parser() -> argparse.ArgumentParser:
    layout = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser("python -m rgru_lab", description=ABOUT, epilog=EXAMPLES, **layout)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def command(run, help, description):
        new = commands.add_parser(run.__name__.replace("_", "-"), help=help, description=description, **layout)
        new.set_defaults(run=run)
        return new

    def add_model(parser, default=DEFAULT_MODEL):
        parser.add_argument(
            "--model", default=default, metavar="NAME", help=f"weights by name or path (default {default})"
        )

    def add_iterations(parser, default, help):
        parser.add_argument("--iterations", type=_count, default=default, metavar="N", help=help)

    def add_force(parser):
        parser.add_argument("--force", action="store_true", help="overwrite what is there")

    new = command(compress, "photograph to .rgru file", "Compress a photograph of any format that Pillow reads.")
    new.add_argument("input", metavar="PHOTO", help="- for the standard input")
    new.add_argument("output", metavar="OUT.rgru", help="- for the standard output")
    add_model(new)
    size = new.add_mutually_exclusive_group()
    add_iterations(size, None, f"1 to {MAX_ITERATIONS}; each adds at most 0.125 bits per pixel (default 8)")
    size.add_argument("--bpp", type=_positive, metavar="X", help="as many as fit into so many bits per pixel")
    size.add_argument("--bytes", type=_count, metavar="B", help="as many as fit into so many bytes")
    size.add_argument("--quality", type=_share, metavar="Q", help="as few as reach this MS-SSIM, 0.95 for one")
    new.add_argument(
        "--coding", choices=CODINGS, help="of the bits (default: learned where the weights have a model, else counts)"
    )
    add_force(new)

    new = command(
        decompress, ".rgru file to PNG", "Decompress to a PNG (a large file: PNG is lossless, the photo is not)."
    )
    new.add_argument("input", metavar="IN.rgru", help="- for the standard input")
    new.add_argument("output", metavar="OUT.png", help="- for the standard output")
    add_model(new, None)
    add_iterations(new, None, "stop after so many (default: all that the file holds)")
    new.add_argument("--partial", action="store_true", help="of a damaged file, take what comes before the damage")
    add_force(new)

    new = command(
        info, "what a .rgru file holds", "Header, iterations and bytes of a .rgru file; every part is checked."
    )
    new.add_argument("input", metavar="IN.rgru", help="- for the standard input")

    new = command(
        compare, "a photograph beside JPEG", "Bytes and quality after every iteration, beside JPEG, and a figure."
    )
    new.add_argument("photo", metavar="PHOTO")
    new.add_argument("--output", metavar="PNG", help="the figure (default: PHOTO-compare.png in this folder)")
    add_model(new)
    add_iterations(new, 8, "how many to show (default 8)")
    add_force(new)

    new = command(train, "train a codec on a folder of photographs", TRAIN)
    new.add_argument("--preset", choices=PRESETS, default=DEFAULT_MODEL)
    new.add_argument("--images", required=True, metavar="DIR", help="photographs, sub-folders included")
    new.add_argument("--time-budget", type=_duration, metavar="TIME", help="90s, 45m, 2h, 1h30m")
    new.add_argument("--steps", type=_count, metavar="N", help="instead of, or besides, the time budget")
    new.add_argument("--output", metavar="DIR", help="checkpoint, log and weights (default runs/PRESET)")
    new.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    new.add_argument(
        "--start-from", metavar="NAME", help="begin with these weights (a name or a path), not with random ones"
    )
    new.add_argument("--patch", type=_count, metavar="PX", help="side of the patches, a multiple of 16")
    new.add_argument("--batch", type=_count, metavar="N", help="patches per step")
    new.add_argument("--learning-rate", type=float, metavar="RATE")
    new.add_argument(
        "--late", type=float, metavar="P", help="weigh |R[i]| in the loss by i to the power of P; 0: all alike"
    )
    new.add_argument("--seed", type=int, default=0)

    new = command(train_bits, "train the model that predicts a codec's bits", TRAIN_BITS)
    add_model(new)
    new.add_argument("--images", required=True, metavar="DIR", help="photographs, sub-folders included")
    new.add_argument("--time-budget", type=_duration, default=600.0, metavar="TIME", help="default 10m")
    new.add_argument("--output", metavar="DIR", help="bits, checkpoint and log (default runs/NAME-bits)")
    new.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    new.add_argument("--seed", type=int, default=0)

    new = command(
        evaluate, "a set of photographs, into data/results", "Bytes and qualities of every picture, and mean curves."
    )
    new.add_argument("--images", default="kodak", metavar="kodak|DIR")
    new.add_argument("--output", default="data/results", metavar="DIR")
    add_model(new)
    add_iterations(new, 8, "how far to go (default 8)")

    new = command(gain, "what coding the bits saves", "Sizes raw, counted and learned, at equal quality, and JPEG's.")
    new.add_argument("--images", default="kodak", metavar="kodak|DIR")
    new.add_argument("--output", default="data/results", metavar="DIR")
    add_model(new)
    add_iterations(new, MAX_ITERATIONS, "how far to go (default 16)")

    new = command(fuzz, "damaged files by the thousand: nothing may break", FUZZ)
    add_model(new)
    new.add_argument("--files", type=_count, default=10_000, metavar="N", help="default 10000")
    new.add_argument("--kodak", action="store_true", help="also cut the files of the Kodak photographs at every byte")
    new.add_argument("--seed", type=int, default=0)
    new.add_argument("--output", metavar="JSON", help="also write the outcome into this file")

    new = command(
        release, "rebuild all that depends on the weights", "Results, figures, README table and notebook outputs."
    )
    add_model(new)
    return parser


TRAIN = """\
Train on patches cut from photographs: iterations are unrolled, the loss is the mean |R[i]| over all of them,
weighted by i. The learning rate falls to nearly zero over the time budget, so choose the budget first. Ctrl-C stops
after the step and keeps everything; --resume goes on exactly there."""


FUZZ = """\
N random and mutated files through the parser, and a tenth as many whose checksums are made right again, so that the
range decoder meets garbage. Stops at the first file that does anything but decode or be refused."""

TRAIN_BITS = """\
Two fifths of the time make bits of photographs with the codec, half of it trains a small network to predict them,
the rest measures. The result, NAME.bits, stands beside the codec's weights and is used from then on. Ctrl-C stops
after the step and keeps what is learned so far; --resume goes on there."""


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number over 0")
    return value


def _share(text: str) -> float:
    value = _positive(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not under 1; MS-SSIM 0.95 is a good picture")
    return value


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]+", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def _duration(text: str) -> float:
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write it as 90s, 45m, 2h or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return 3600.0 * hours + 60 * minutes + seconds


def _bit_model(weights, options):
    """What `--coding` asks for, or the best there is."""
    from rgru_lab import bitmodel, bitnet

    found = bitnet.find(weights, options.model)
    if options.coding == "learned" and found.coding != "learned":
        raise UsageError(f"{weights.name} has no learned model of its bits; run train-bits, or leave out --coding")
    return {None: found, "learned": found, "counts": bitmodel.Counts(), "raw": None}[options.coding]


def _bytes_of(name: str):
    """What to read, and what to call it: a path as it is, or all of the standard input."""
    return (sys.stdin.buffer.read(), "standard input") if name == "-" else (name, None)


def _write(name: str, data: bytes):
    from rgru_lab import images

    if name == "-":
        sys.stdout.buffer.write(data)
    else:
        images.write_atomically(name, data)


def _messages(output: str):
    return sys.stderr if output == "-" else sys.stdout


def _check_output(path, suffix: str, source, force: bool):
    """Refuse, before any work is done, a name that the result cannot or should not have; - is the standard output."""
    if path == "-":
        return
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise UsageError(f"the output is called {str(path)!r}; give it a name that ends in {suffix}")
    try:
        there = os.path.lexists(path)
        if there and not path.is_file():
            raise UsageError(f"{path} is there and is not a file; choose another name")
        if there and os.path.exists(source) and os.path.samefile(path, source):
            raise UsageError(f"{path} is the input; choose another name for the output")
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(path)[:60]!r} cannot be a file's name ({error}); choose another") from None
    if there and not force:
        raise UsageError(f"{path} is there already; add --force to overwrite it, or choose another name")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}; make it first")


def _make_folder(folder: Path):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder} ({error.strerror}); choose another --output") from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder {folder} cannot be written to; choose another --output")


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _bar(items, total: int, unit: str):
    from tqdm import tqdm

    return tqdm(items, total=total, unit=unit, leave=False, disable=None)


def _say(line: str):
    from tqdm import tqdm

    tqdm.write(line)


def _left_over(file) -> str:
    whole = file.iterations
    return f"{file.left_over_bytes:,} bytes after iteration {whole} are no whole iteration: the file was cut"


def _reading(decoded) -> str:
    quality = "      -" if decoded.ms_ssim is None else f"{decoded.ms_ssim:7.4f}"
    return f"{decoded.size_bytes:9,} {decoded.bpp:6.3f}  {decoded.psnr_db:7.2f}  {quality}"


def _rival(rival, ladder) -> str:
    if rival is None:
        return f"cannot: its smallest has {ladder.smallest.size_bytes:,}".ljust(32)
    quality = "      -" if rival.ms_ssim is None else f"{rival.ms_ssim:7.4f}"
    return f"{rival.quality:3} {rival.size_bytes:9,}  {rival.psnr_db:7.2f}  {quality}"


if __name__ == "__main__":
    sys.exit(main())
