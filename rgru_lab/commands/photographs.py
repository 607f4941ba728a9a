"""One photograph: compress, decompress, info, compare."""

import math
import os
import sys
from collections import deque
from pathlib import Path

from rgru_lab.commands.common import UsageError, bar, check_output, say
from rgru_lab.commands.options import add_force, add_iterations, add_model, add_search, count, positive, share
from rgru_lab.config import CODINGS, MAX_ITERATIONS
from rgru_lab.files import write_atomically

COMPARING_BYTES = 450
"""For each pixel, what looking at pictures and JPEGs takes beside the codec: 260 to 430 with 8 and 16 iterations."""

PAGE_PIXELS = 1_500_000
"""Larger photographs are scaled down for a page: its browser holds about forty pictures of that size."""


def words(command):
    """Declare these commands and their options."""
    new = command(
        compress,
        "photograph to .rgru file",
        "Compress a photograph of any format that Pillow reads, up to 16 bits a channel; of an animation the first.",
    )
    new.add_argument("input", metavar="PHOTO", help="- for the standard input")
    new.add_argument("output", metavar="OUT.rgru", help="- for the standard output")
    add_model(new)
    size = new.add_mutually_exclusive_group()
    add_iterations(size, None, f"1 to {MAX_ITERATIONS}; each adds at most 0.125 bits per pixel (default 8)")
    size.add_argument("--bpp", type=positive, metavar="X", help="as many as fit into so many bits per pixel")
    size.add_argument("--bytes", type=count, metavar="B", help="as many as fit into so many bytes")
    size.add_argument("--quality", type=share, metavar="Q", help="as few as reach this MS-SSIM, 0.95 for one")
    new.add_argument(
        "--adaptive",
        action="store_true",
        help="positions stop sending bits where an iteration no longer pays: smaller files, and several times the time "
        "to find out where; with --quality, --bpp or --bytes",
    )
    add_search(new)
    new.add_argument(
        "--coding", choices=CODINGS, help="of the bits (default: learned where the weights have a model, else counts)"
    )
    add_force(new)

    new = command(
        decompress,
        ".rgru file to PNG",
        "Decompress to a PNG (a large file: PNG is lossless, the photo is not).",
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
        compare,
        "a photograph beside JPEG",
        "Bytes and quality after every iteration, beside JPEG, and a figure.",
    )
    new.add_argument("photo", metavar="PHOTO", help="- for the standard input")
    new.add_argument("--output", metavar="PNG", help="the figure (default: PHOTO-compare.png here)")
    new.add_argument("--html", metavar="PAGE", help="also a page with the slider, for any browser, without Python")
    add_model(new)
    add_iterations(new, 8, "how many to show (default 8)")
    add_force(new)


def compress(options):
    from rgru_lab import images, model, search
    from rgru_lab.metrics import MS_SSIM_MIN_SIDE, has_ms_ssim
    from rgru_lab.progression import Progression

    check_output(options.output, ".rgru", options.input, options.force)
    if options.search:
        search.check_steps(options.search)
    photo = images.load(*_bytes_of(options.input))
    if options.quality and not has_ms_ssim(photo):
        raise UsageError(f"{options.input} has a side under {MS_SSIM_MIN_SIDE} px, too small for MS-SSIM; use --bpp")
    weights = model.load(options.model)
    limit_bytes = options.bytes or (options.bpp and options.bpp * photo.shape[0] * photo.shape[1] / 8)
    if options.adaptive:
        progression = _adaptive(weights, photo, options, limit_bytes)
        chosen = len(progression)
        _write(options.output, progression.file(chosen))
        sent = progression.counts
        most = _iterations(sent.max())
        said = f"positions send {sent.min()} to {most}, {sent.mean():.1f} on average"
        said = f"every position sends {most}" if sent.min() == sent.max() else said
        size = _size_of(progression[chosen], options.quality)
        print(f"{options.output}: {size}; {said}", file=_messages(options.output))
        return
    progression = Progression(weights, photo, _bit_model(weights, options), search=options.search)
    most = options.iterations or (MAX_ITERATIONS if limit_bytes or options.quality else 8)
    chosen = 0
    for i, decoded in bar(progression.run(most), most, "iteration"):
        if limit_bytes and decoded.size_bytes > limit_bytes:
            break
        chosen = i
        if options.quality and decoded.ms_ssim >= options.quality:
            break
    if not chosen:
        least = progression[1]
        raise UsageError(f"one iteration takes {_at_least(least)}, and {_limit(options)} allows less; allow as much")
    decoded = progression[chosen]
    if options.quality and decoded.ms_ssim < options.quality:
        best = max(range(1, chosen + 1), key=lambda i: progression[i].ms_ssim)
        reached = _reachable(progression[best])
        raise UsageError(f"MS-SSIM is {reached} at best, after {_iterations(best)}; ask for a --quality up to that")
    _write(options.output, progression.file(chosen))
    saved = 100 * (1 - decoded.size_bytes / decoded.raw_bytes)
    said = f"; {_iterations(chosen)}"
    said += f", {saved:.1f} % saved by coding ({progression.bit_model.coding})" if saved else ""
    print(f"{options.output}: {_size_of(decoded, options.quality)}{said}", file=_messages(options.output))


def _adaptive(weights, photo, options, limit_bytes):
    """The `Progression` of the adaptive file that was asked for."""
    from rgru_lab import adaptive

    if not (options.quality or limit_bytes):
        instead = f" instead of --iterations {options.iterations}" if options.iterations else ""
        raise UsageError(f"an adaptive file needs something to reach: give --quality, --bpp or --bytes{instead}")

    def progress(steps, total):
        return bar(steps, total, "iteration")

    bit_model = _bit_model(weights, options)
    if options.quality:
        found = adaptive.reaching(weights, photo, options.quality, bit_model, search=options.search, progress=progress)
        best = found[len(found)]
        if best.ms_ssim < options.quality:
            raise UsageError(
                f"adaptive files reach MS-SSIM {_reachable(best)} here, not {options.quality:g}; ask for a --quality "
                "up to that, or leave out --adaptive: a file of all bits may reach a little more"
            )
    else:
        found = adaptive.fitting(weights, photo, limit_bytes, bit_model, search=options.search, progress=progress)
        least = found[len(found)]
        if least.size_bytes > limit_bytes:
            raise UsageError(
                f"one iteration everywhere takes {_at_least(least)}, and {_limit(options)} allows less; allow as much"
            )
    return found


def decompress(options):
    from rgru_lab import bitstream, images, progression

    check_output(options.output, ".png", options.input, options.force)
    source, name = _bytes_of(options.input)
    limit = frames = None
    while frames is None:
        try:
            file = progression.read(source, limit)
            wanted = options.iterations or file.iterations
            if limit:
                wanted = min(wanted, limit)
            if wanted > file.iterations:
                raise UsageError(
                    f"{options.input} holds {_iterations(file.iterations)}, not {wanted}; ask for at most that many"
                )
            frames = progression.decode(file, wanted, options.model)
        except bitstream.DamagedSegment as error:
            if not (options.partial and error.whole):
                hint = f", or add --partial for the {_iterations(error.whole)} before it" if error.whole else ""
                raise UsageError(f"{error}{hint}") from None
            limit = error.whole
            print(f"warning: {error}; this is what comes before it", file=sys.stderr)
    frame = deque(bar(frames, wanted, "iteration"), maxlen=1).pop()  # the last one
    _write(options.output, images.encode_png(frame))
    if file.left_over_bytes and limit is None:
        print(f"warning: {name or options.input}: {_left_over(file)}", file=sys.stderr)
    size = f"{frame.shape[1]} x {frame.shape[0]} px"
    said = f"after {wanted} of {_iterations(file.iterations)}"
    print(f"{options.output}: {size} {said}", file=_messages(options.output))


def info(options):
    from rgru_lab import progression

    file = progression.read(_bytes_of(options.input)[0])
    header = file.header
    pixels = header.width * header.height
    coding = {"raw": "stored as they are", "counts": "coded with counted contexts"}.get(header.coding)
    coding = coding or f"coded with the learned model {header.bit_model.hex()}"
    print(f"picture      {header.width} x {header.height} px")
    print(f"weights      {header.name}, fingerprint {header.fingerprint.hex()}, {header.reconstruction}")
    print(f"bits         {header.bits} per position and iteration, {coding}")
    if header.adaptive:
        print("adaptive     positions stop sending where it pays no more; raw bytes are of all positions")
    print("\niterations       bytes  bits per pixel  raw bytes  bits per bit")
    for i, (end, raw) in enumerate(zip(file.ends_bytes, file.raw_bytes, strict=True), start=1):
        print(f"{i:10} {end:11,}  {8 * end / pixels:14.3f}  {raw:9,}  {file.bits_per_bit[i - 1]:12.3f}")
    if file.left_over_bytes:
        print(f"\nleft over    {_left_over(file)}")


def compare(options):
    from rgru_lab import codec, images, machine, model, plots
    from rgru_lab.opponents import Ladder
    from rgru_lab.progression import Progression

    codec.check_iterations(options.iterations)
    for path, what, suffix in ((options.output, "figure", ".png"), (options.html, "page", ".html")):
        if path == "-":
            raise UsageError(f"the table goes to the standard output; give the {what} a name that ends in {suffix}")
    photo = images.load(*_bytes_of(options.photo))
    name = "standard input" if options.photo == "-" else options.photo
    output = Path(options.output or f"{'stdin' if options.photo == '-' else Path(name).stem}-compare.png")
    check_output(output, ".png", options.photo, options.force)
    if options.html:
        check_output(options.html, ".html", options.photo, options.force)
        if photo.shape[0] * photo.shape[1] > PAGE_PIXELS:
            whole, photo = photo, images.shrink(photo, PAGE_PIXELS)
            print(f"scaled down from {whole.shape[1]} x {whole.shape[0]} px, to make a page that opens quickly")
    weights = model.load(options.model)
    machine.check_memory(weights.model.config, *photo.shape[:2], beside_bytes=COMPARING_BYTES)
    progression, ladder = Progression(weights, photo), Ladder(photo)
    print(f"{name}: {photo.shape[1]} x {photo.shape[0]} px, weights {progression.weights.name}")
    print("JPEG: 4:2:0, optimised Huffman tables. 'same bytes': its largest quality that is not larger than ours;")
    print("'same MS-SSIM': its least quality that reaches ours, and how much smaller (-) our file is.\n")
    print("            ours                                   JPEG, same bytes                JPEG, same MS-SSIM")
    print("  i     bytes    bpp  PSNR dB  MS-SSIM  |R|     q     bytes  PSNR dB  MS-SSIM     q     bytes   ours")
    for i, ours in bar(progression.run(options.iterations), options.iterations, "iteration"):
        rival = ladder.fitting(ours.size_bytes)
        equal = ladder.reaching(ours.ms_ssim) if ours.ms_ssim is not None else None
        line = f"{i:3} {_reading(ours)} {ours.mean_abs_residual:4.1f}   {_rival(rival, ladder)}   "
        if equal:
            line += f"{equal.quality:3} {equal.size_bytes:9,}  {100 * (ours.size_bytes / equal.size_bytes - 1):+4.0f} %"
        else:
            line += "none gets there" if ours.ms_ssim is not None else "MS-SSIM needs sides over 160 px"
        say(line)
    figure = plots.comparison(progression, ladder, list(range(1, len(progression) + 1)))
    write_atomically(output, plots.png(figure))
    print(f"\nfigure: {output}")
    if options.html:
        from rgru_lab.viewer import Scrubber

        scrubber = Scrubber(progression)
        scrubber.save_html(options.html, f"{Path(name).name} in {_iterations(len(progression))}")
        print(f"page: {options.html}, {os.path.getsize(options.html):,} bytes; open it in a browser")


def _bit_model(weights, options):
    """What `--coding` asks for, or the best there is."""
    from rgru_lab import bitmodel, bitnet

    if options.coding in ("counts", "raw"):
        return bitmodel.Counts() if options.coding == "counts" else None
    found = bitnet.find(weights)
    if options.coding == "learned" and found.coding != "learned":
        raise UsageError(f"{weights.name} has no learned model of its bits; run train-bits, or leave out --coding")
    return found


def _bytes_of(name: str):
    """What to read, and what to call it: a path as it is, or all of the standard input."""
    if not name:
        raise UsageError("the input's name is empty; give a file, or - for the standard input")
    if name != "-":
        return name, None
    if sys.stdin is None:
        raise UsageError("the standard input is closed; name a file instead of -")
    return sys.stdin.buffer.read(), "standard input"


def _write(name: str, data: bytes):
    if name == "-":
        if sys.stdout is None:
            raise UsageError("the standard output is closed; name a file instead of -")
        sys.stdout.buffer.write(data)
    else:
        write_atomically(name, data)


def _messages(output: str):
    return sys.stderr if output == "-" else sys.stdout


def _size_of(decoded, with_ms_ssim: bool = False) -> str:
    said = f"{decoded.size_bytes:,} bytes, {decoded.bpp:.3f} bits per pixel, PSNR {decoded.psnr_db:.2f} dB"
    return f"{said}, MS-SSIM {decoded.ms_ssim:.4f}" if with_ms_ssim else said


def _reachable(decoded) -> str:
    """The MS-SSIM, rounded down: whoever asks for that gets it."""
    return f"{math.floor(1e4 * decoded.ms_ssim) / 1e4:.4f}"


def _limit(options) -> str:
    """The option that says how large a file may be, as it was given."""
    return f"--bytes {options.bytes}" if options.bytes else f"--bpp {options.bpp:g}"


def _iterations(count: int) -> str:
    return f"{count} iteration{'' if count == 1 else 's'}"


def _at_least(decoded) -> str:
    """The size of a file, rounded up, so that as much allows it."""
    return f"{decoded.size_bytes:,} bytes, {math.ceil(1000 * decoded.bpp) / 1000:.3f} bits per pixel"


def _left_over(file) -> str:
    whole = file.iterations
    return (
        f"{file.left_over_bytes:,} bytes after iteration {whole} are no whole iteration: the file was cut, or "
        "something was added to it"
    )


def _reading(decoded) -> str:
    quality = "      -" if decoded.ms_ssim is None else f"{decoded.ms_ssim:7.4f}"
    return f"{decoded.size_bytes:9,} {decoded.bpp:6.3f}  {decoded.psnr_db:7.2f}  {quality}"


def _rival(rival, ladder) -> str:
    if rival is None:
        return f"cannot: its smallest has {ladder.smallest.size_bytes:,}".ljust(32)
    quality = "      -" if rival.ms_ssim is None else f"{rival.ms_ssim:7.4f}"
    return f"{rival.quality:3} {rival.size_bytes:9,}  {rival.psnr_db:7.2f}  {quality}"
