"""Options that several commands have, and what the words after an option must look like."""

import argparse
import re

from rgru_lab.config import DEFAULT_MODEL


def add_model(parser, default=DEFAULT_MODEL):
    """--model; default=None: the weights that a file names."""
    parser.add_argument(
        "--model",
        default=default,
        metavar="NAME",
        help=f"weights by name or path (default {default or 'those that the file names'})",
    )


def add_iterations(parser, default, help):
    """--iterations: how many, or None."""
    parser.add_argument("--iterations", type=count, default=default, metavar="N", help=help)


def add_jobs(parser):
    """--jobs: how many pictures at a time."""
    parser.add_argument("--jobs", type=count, default=1, metavar="N", help="pictures at a time (default 1)")


def add_search(parser):
    """--search: how many steps the encoder looks for better bits."""
    parser.add_argument(
        "--search",
        type=count,
        default=0,
        metavar="STEPS",
        help="the encoder tries other bits, in iteration 1 so many times, 20 for one, later fewer times, and keeps "
        "those that are worth most for their bytes; it pays most at low rates, and not in plain files of many "
        "iterations; encoding takes many times as long, decoding does not",
    )


def add_force(parser):
    """--force: overwrite what is there."""
    parser.add_argument("--force", action="store_true", help="overwrite what is there")


def positive(text: str) -> float:
    """A number over 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number over 0")
    return value


def share(text: str) -> float:
    """A number over 0 and under 1."""
    value = positive(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not under 1; MS-SSIM 0.95 is a good picture")
    return value


def count(text: str) -> int:
    """A whole number from 1."""
    if not re.fullmatch(r"[0-9]{1,12}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text[:20]!r} is not a whole number from 1 up to twelve digits long")
    return int(text)


def duration(text: str) -> float:
    """Seconds, out of 90s, 45m, 2h or 1h30m."""
    match = re.fullmatch(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", text)
    if not text or not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write it as 90s, 45m, 2h or 1h30m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    if not hours + minutes + seconds:
        raise argparse.ArgumentTypeError(f"{text!r} is no time to train in; give a second or more")
    return 3600.0 * hours + 60 * minutes + seconds


def curriculum(text: str):
    """Stages, (until, iterations, patch, batch) each, out of 0.25:4:64x8,1:10:128x4."""
    stages = [re.fullmatch(r"(\d+\.?\d*|\.\d+):(\d+):(\d+)x(\d+)", part) for part in text.split(",")]
    if not all(stages):
        raise argparse.ArgumentTypeError(f"{text!r} is no curriculum; write it as 0.25:4:64x8,1:10:128x4")
    return tuple((float(m[1]), int(m[2]), int(m[3]), int(m[4])) for m in stages)


def size(text: str) -> int:
    """Bytes, out of megabytes."""
    if not re.fullmatch(r"[0-9]+(\.[0-9]+)?", text) or float(text) < 0.1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give megabytes, 0.1 or more")
    return int(float(text) * 1e6)
