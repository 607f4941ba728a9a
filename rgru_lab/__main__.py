"""The command line: `python -m rgru_lab --help`."""

import argparse
import errno
import io
import os
import re
import sys

from rgru_lab import __version__, commands
from rgru_lab.config import CODINGS, DEFAULT_MODEL, LOSSES, MAX_ITERATIONS, PRESETS, InputError

ABOUT = """\
A codec for photographs made of a recurrent neural network (Toderici et al., CVPR 2017).

It compresses in iterations: the first makes a rough picture from 0.125 bits per pixel, each further one
looks at what is still missing (the residual) and spends as many bits again. In a file both take less, for the
bits are coded. A file may be cut after any
iteration and is still a picture."""

EXAMPLES = """\
examples:
  python -m rgru_lab compare photo.jpg                       ours beside JPEG, as a table and a figure
  python -m rgru_lab compare photo.jpg --html page.html --force
                                                             and as a page with a slider; the figure is made anew
  python -m rgru_lab compress photo.jpg photo.rgru --iterations 4
  python -m rgru_lab info photo.rgru
  python -m rgru_lab decompress photo.rgru photo.png
  python -m rgru_lab train --preset small --images my_photos --time-budget 2h

`python -m rgru_lab COMMAND --help` explains a command."""


TRAIN = """\
Train on patches cut from photographs: iterations are unrolled, and the loss sums over all of them how far each
picture is from the original. The learning rate falls to nearly zero over the time budget, so choose the budget
first. Ctrl-C stops after the step and keeps everything; --resume goes on exactly there or, where no checkpoint is, from
the weights that ship. Weights may begin with another --priming, --diffusion or --first-bits than they were trained
with; an extra look costs the time of an iteration, and not one bit.

On several GPUs: torchrun --nproc-per-node 4 -m rgru_lab train ..."""


FUZZ = """\
N random and mutated files through the parser, and a tenth as many whose checksums are made right again, so that the
range decoder meets garbage. Stops at the first file that does anything but decode or be refused."""

TRAIN_BITS = """\
Two fifths of the time make bits of photographs with the codec, half of it trains a small network to predict them,
the rest measures. The result, NAME.bits, stands beside the codec's weights and is used from then on. Ctrl-C stops
after the step and keeps what is learned so far; --resume goes on there."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for anything wrong with the input, 130 when interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode must not stop a command
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        if sys.stdout is not None:
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
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"rgru_lab: {error.filename or 'the output'} cannot be written: the disk is full", file=sys.stderr)
        os._exit(2)  # or Python would try once more to write what is left, and fail again
    return 0


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        """One sentence, as for all else that is wrong with the input."""
        self.exit(2, f"rgru_lab: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    layout = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = _Parser("python -m rgru_lab", description=ABOUT, epilog=EXAMPLES, **layout)
    parser.add_argument("--version", action="version", version=__version__)
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")

    def command(run, help, description):
        new = subparsers.add_parser(run.__name__.replace("_", "-"), help=help, description=description, **layout)
        new.set_defaults(run=run)
        return new

    for group in (_photographs, _trainings, _measurements, _upkeep):
        group(command)
    return parser


def _photographs(command):
    new = command(
        commands.compress,
        "photograph to .rgru file",
        "Compress a photograph of any format that Pillow reads, up to 16 bits a channel; of an animation the first.",
    )
    new.add_argument("input", metavar="PHOTO", help="- for the standard input")
    new.add_argument("output", metavar="OUT.rgru", help="- for the standard output")
    _add_model(new)
    size = new.add_mutually_exclusive_group()
    _add_iterations(size, None, f"1 to {MAX_ITERATIONS}; each adds at most 0.125 bits per pixel (default 8)")
    size.add_argument("--bpp", type=_positive, metavar="X", help="as many as fit into so many bits per pixel")
    size.add_argument("--bytes", type=_count, metavar="B", help="as many as fit into so many bytes")
    size.add_argument("--quality", type=_share, metavar="Q", help="as few as reach this MS-SSIM, 0.95 for one")
    new.add_argument(
        "--adaptive",
        action="store_true",
        help="positions stop sending bits where an iteration no longer pays: smaller files, and several times the time "
        "to find out where; with --quality, --bpp or --bytes",
    )
    _add_search(new)
    new.add_argument(
        "--coding", choices=CODINGS, help="of the bits (default: learned where the weights have a model, else counts)"
    )
    _add_force(new)

    new = command(
        commands.decompress,
        ".rgru file to PNG",
        "Decompress to a PNG (a large file: PNG is lossless, the photo is not).",
    )
    new.add_argument("input", metavar="IN.rgru", help="- for the standard input")
    new.add_argument("output", metavar="OUT.png", help="- for the standard output")
    _add_model(new, None)
    _add_iterations(new, None, "stop after so many (default: all that the file holds)")
    new.add_argument("--partial", action="store_true", help="of a damaged file, take what comes before the damage")
    _add_force(new)

    new = command(
        commands.info, "what a .rgru file holds", "Header, iterations and bytes of a .rgru file; every part is checked."
    )
    new.add_argument("input", metavar="IN.rgru", help="- for the standard input")

    new = command(
        commands.compare,
        "a photograph beside JPEG",
        "Bytes and quality after every iteration, beside JPEG, and a figure.",
    )
    new.add_argument("photo", metavar="PHOTO", help="- for the standard input")
    new.add_argument("--output", metavar="PNG", help="the figure (default: PHOTO-compare.png here)")
    new.add_argument("--html", metavar="PAGE", help="also a page with the slider, for any browser, without Python")
    _add_model(new)
    _add_iterations(new, 8, "how many to show (default 8)")
    _add_force(new)


def _trainings(command):
    new = command(commands.train, "train a codec on a folder of photographs", TRAIN)
    new.add_argument("--preset", choices=PRESETS, default=DEFAULT_MODEL)
    new.add_argument("--images", required=True, metavar="DIR", help="photographs, sub-folders included")
    new.add_argument("--time-budget", type=_duration, metavar="TIME", help="90s, 45m, 2h, 1h30m")
    new.add_argument("--steps", type=_count, metavar="N", help="instead of, or besides, the time budget")
    new.add_argument("--output", metavar="DIR", help="checkpoint, log and weights (default runs/PRESET)")
    new.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    new.add_argument(
        "--start-from", metavar="NAME", help="begin with these weights (a name or a path), not with random ones"
    )
    new.add_argument(
        "--curriculum",
        type=_curriculum,
        metavar="STAGES",
        help="UNTIL:ITERATIONS:PATCHxBATCH,...: until which share of the training how many iterations are unrolled, on "
        "patches of how many pixels and how many of them (for example 0.25:4:64x8,1:10:128x4)",
    )
    new.add_argument("--batch", type=_count, metavar="N", help="patches per step and process, in every stage")
    new.add_argument(
        "--loss", choices=LOSSES, help="what is made smaller (default: l1, the paper's; ms-ssim from weights)"
    )
    new.add_argument("--learning-rate", type=float, metavar="RATE")
    new.add_argument(
        "--colour",
        type=float,
        metavar="WEIGHT",
        help="weight of each patch's mean error of brightness and colour; 0: off",
    )
    new.add_argument(
        "--moving",
        action=argparse.BooleanOptionalAction,
        help="let the grid of MS-SSIM begin at another pixel of the patches in each step, so that no error hides in it "
        "(default: from weights yes, from random ones no)",
    )
    new.add_argument(
        "--late", type=float, metavar="P", help="weigh iteration i in the loss by i to the power of P; 0: all alike"
    )
    new.add_argument(
        "--priming", type=int, metavar="K", help="look K times more before the first codes and the first picture"
    )
    new.add_argument("--diffusion", type=int, metavar="K", help="the same in every later iteration")
    new.add_argument(
        "--first-bits", type=int, metavar="K", help="a smaller first step: so many bits of each position; 0: all"
    )
    new.add_argument(
        "--skip", type=int, metavar="N", help="run up to N iterations without a gradient before those of the curriculum"
    )
    new.add_argument(
        "--rate",
        type=float,
        metavar="WEIGHT",
        help="how many percent of its loss an iteration may give for one percent fewer coded bits; what predicts the "
        "bits (that of --start-from, if it has any) learns along and is written, too; 0: off",
    )
    new.add_argument(
        "--adaptive",
        type=float,
        metavar="SHARE",
        help="in this share of the patches, positions stop sending bits once they are good enough, as in files that "
        "compress --adaptive writes; 0: off",
    )
    new.add_argument(
        "--hard",
        type=float,
        metavar="SHARE",
        help="cut patches from the share of places that PNG compresses worst only",
    )
    new.add_argument("--bf16", action=argparse.BooleanOptionalAction, help="bfloat16 (default: what is faster here)")
    new.add_argument(
        "--graphs",
        action=argparse.BooleanOptionalAction,
        help="record each step as a CUDA graph and play it from then on (default: on a single GPU)",
    )
    new.add_argument("--part-size", type=_size, metavar="MB", help="write checkpoints in parts of so many megabytes")
    new.add_argument("--seed", type=int, metavar="N", help="of weights, patches and random bits (default 0)")

    new = command(
        commands.average,
        "the mean of trained weights",
        "Number by number, of weights that have a common beginning: of two trainings alike but for --seed, or "
        "of weights and what was trained on from them.",
    )
    new.add_argument("weights", nargs="+", metavar="NAME", help="two or more: names, or paths of .safetensors files")
    new.add_argument(
        "--shares", type=float, nargs="+", metavar="SHARE", help="how much of each (default: as much of each)"
    )
    new.add_argument("--output", required=True, metavar="NAME.safetensors")
    _add_force(new)

    new = command(
        commands.trials,
        "small trainings that decide the recipe",
        "One change at a time, a few seeds; goes on if stopped.",
    )
    new.add_argument(
        "--images", required=True, metavar="DIR", help="the training photographs, validation ones included"
    )
    new.add_argument("--output", default="data/results", metavar="DIR")
    new.add_argument("--weights", metavar="DIR", help="keep the weights of the comparison of cells here")

    new = command(commands.train_bits, "train the model that predicts a codec's bits", TRAIN_BITS)
    _add_model(new)
    new.add_argument("--images", required=True, metavar="DIR", help="photographs, sub-folders included")
    new.add_argument("--time-budget", type=_duration, default=600.0, metavar="TIME", help="default 10m")
    new.add_argument(
        "--output",
        metavar="DIR",
        help="checkpoint, log and the codec's bits that are learned from (default runs/NAME-bits)",
    )
    new.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    new.add_argument(
        "--start-from", metavar="NAME", help="begin with the bits of these weights, not with random numbers"
    )
    new.add_argument("--learning-rate", type=float, metavar="RATE", help="default 6e-3")
    new.add_argument(
        "--adaptive",
        type=float,
        metavar="SHARE",
        help="in this share of the crops positions stop sending, as in adaptive files (default 0)",
    )
    new.add_argument("--seed", type=int, metavar="N", help="of weights and crops (default 0)")
    _add_force(new)


def _measurements(command):
    new = command(
        commands.evaluate,
        "a set of photographs, into data/results",
        "Bytes and qualities of every picture, and what follows; goes on if stopped.",
    )
    new.add_argument("--images", default="kodak", metavar="kodak|DIR")
    new.add_argument("--output", default="data/results", metavar="DIR")
    _add_model(new)
    _add_iterations(new, MAX_ITERATIONS, f"how far to go (default {MAX_ITERATIONS})")
    new.add_argument(
        "--adaptive", action="store_true", help="adaptive files instead, in which positions stop where it pays no more"
    )
    new.add_argument(
        "--files",
        metavar="DIR",
        help="keep the adaptive files in this folder; those that lie there already are measured and not made again",
    )
    _add_search(new)
    new.add_argument(
        "--against",
        default="jpeg",
        metavar="CODECS",
        help="opponents: jpeg (always among them), webp, avif, or all, with JPEG's variants (default jpeg)",
    )
    new.add_argument("--fresh", action="store_true", help="measure the opponents again, even where their results are")
    _add_jobs(new)

    new = command(commands.ablation, "what each part is worth", "Without memory, without coded bits, with other cells.")
    new.add_argument("--images", default="kodak", metavar="kodak|DIR")
    new.add_argument("--output", default="data/results", metavar="DIR", help="where evaluate and trials wrote, too")
    _add_model(new)
    _add_iterations(new, 4, "how far to go (default 4)")

    new = command(
        commands.effects,
        "what each idea beyond the paper is worth",
        "The same weights trained on for a little with one idea at a time, and measured. Stopped, the next call goes "
        "on with the idea or the picture that was due.",
    )
    new.add_argument("--images", required=True, metavar="DIR", help="photographs to train on, sub-folders included")
    new.add_argument("--on", default="kodak", metavar="kodak|DIR", help="photographs to measure on (default kodak)")
    new.add_argument("--start-from", default=DEFAULT_MODEL, metavar="NAME", help="weights (default %(default)s)")
    new.add_argument("--weights", default="runs/effects", metavar="DIR", help="keep weights here (default %(default)s)")
    new.add_argument("--output", default="data/results", metavar="DIR")
    _add_jobs(new)

    new = command(commands.fuzz, "damaged files by the thousand: nothing may break", FUZZ)
    _add_model(new)
    new.add_argument("--files", type=_count, default=10_000, metavar="N", help="default 10000")
    new.add_argument("--kodak", action="store_true", help="also cut the files of the Kodak photographs at every byte")
    new.add_argument("--seed", type=int, default=0)
    new.add_argument("--output", metavar="JSON", help="also write the outcome into this file")

    new = command(
        commands.bench,
        "how fast this machine is at it",
        "Seconds, memory and share of peak, beside a straightforward loop.",
    )
    _add_model(new)
    new.add_argument("--output", default="data/results", metavar="DIR")
    new.add_argument("--small", action="store_true", help="leave out the picture of 12 megapixels")
    new.add_argument("--viewer", action="store_true", help="the scrubber in Chromium instead (needs playwright)")
    new.add_argument(
        "--payload", metavar="kodak|DIR", help="how much the scrubber sends for these photographs, instead"
    )
    new.add_argument("--precision", metavar="kodak|DIR", help="what bfloat16 changes in these photographs, instead")


def _upkeep(command):
    new = command(
        commands.release,
        "rebuild all that depends on the weights",
        "Evaluation of the newest weights of each name, ablation, figures, README's tables, notebooks' outputs. What "
        "it only reads is measured by trials, effects, bench, bench --viewer, bench --payload, fuzz, and evaluate "
        "--adaptive --search 20.",
    )
    _add_jobs(new)
    new.add_argument(
        "--notebooks", nargs="*", metavar="NAME", help="only run notebooks: all, or those named, 02 for one"
    )

    new = command(
        commands.fork, "name the repository in badges and set-up cells", "Rewrites notebooks, README and CITATION.cff."
    )
    new.add_argument("repository", metavar="OWNER/NAME")
    new.add_argument("--tag", default="main", help="branch or tag that Colab and Binder open (default %(default)s)")

    new = command(commands.student, "notebooks without solutions and outputs", "Copies of all notebooks, for a class.")
    new.add_argument("folder", metavar="DIR")


def _add_model(parser, default=DEFAULT_MODEL):
    parser.add_argument(
        "--model",
        default=default,
        metavar="NAME",
        help=f"weights by name or path (default {default or 'those that the file names'})",
    )


def _add_iterations(parser, default, help):
    parser.add_argument("--iterations", type=_count, default=default, metavar="N", help=help)


def _add_jobs(parser):
    parser.add_argument("--jobs", type=_count, default=1, metavar="N", help="pictures at a time (default 1)")


def _add_search(parser):
    parser.add_argument(
        "--search",
        type=_count,
        default=0,
        metavar="STEPS",
        help="the encoder tries other bits, in iteration 1 so many times, 20 for one, later fewer times, and keeps "
        "those that are worth most for their bytes; it pays with --adaptive; encoding takes many times as long, "
        "decoding does not",
    )


def _add_force(parser):
    parser.add_argument("--force", action="store_true", help="overwrite what is there")


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
    if not hours + minutes + seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no time to train in; give a second or more")
    return 3600.0 * hours + 60 * minutes + seconds


def _curriculum(text: str):
    stages = [re.fullmatch(r"(\d+\.?\d*|\.\d+):(\d+):(\d+)x(\d+)", part) for part in text.split(",")]
    if not all(stages):
        raise argparse.ArgumentTypeError(f"{text!r} is no curriculum; write it as 0.25:4:64x8,1:10:128x4")
    return tuple((float(m[1]), int(m[2]), int(m[3]), int(m[4])) for m in stages)


def _size(text: str) -> int:
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or float(text) < 0.1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give megabytes, 0.1 or more")
    return int(float(text) * 1e6)


if __name__ == "__main__":
    sys.exit(main())
