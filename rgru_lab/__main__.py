"""The command line: `python -m rgru_lab --help`."""

import argparse
import errno
import io
import os
import re
import sys

from rgru_lab import __version__, commands
from rgru_lab.config import InputError

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


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code: 0, 2 for anything wrong with the input, 130 when interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal without Unicode must not stop a command
    arguments = sys.argv[1:] if arguments is None else arguments
    for word in arguments:
        if word == "--":
            break
        if re.match("-[^-]", word) and word != "-h" and os.path.lexists(word):
            print(f"rgru_lab: {word} would be taken for an option; write ./{word} for the file", file=sys.stderr)
            return 2
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

    for room in commands.ROOMS:
        room.words(command)
    return parser


if __name__ == "__main__":
    sys.exit(main())
