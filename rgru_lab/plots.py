"""Matplotlib figures. Each function returns a `Figure`; `png` turns one into bytes, `show` shows it with alt text."""

import base64
import io
from collections.abc import Iterable, Sequence
from itertools import cycle

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from rgru_lab.config import InputError
from rgru_lab.opponents import Ladder
from rgru_lab.progression import Progression

OURS, JPEG = "#0072b2", "#d55e00"  # two colours that everybody can tell apart (Okabe and Ito)
CURVES = ((OURS, "o"), ("#009e73", "s"), ("black", "^"), ("#56b4e9", "D"))
"""Colours of the same set, and markers, for several models in one figure."""

BESIDE = (
    ("#cc79a7", "--"),
    ("#e69f00", "-."),
    ("0.45", (0, (1, 1))),
    ("0.45", (0, (9, 3))),
    ("#882255", (0, (1, 2))),
    ("#332288", (0, (6, 1, 1, 1, 1, 1))),
)
"""Other colours, and dashes, for what stands beside them."""

MS_SSIM_TICKS = (0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.98, 0.99)
"""Where an axis of MS-SSIM has its marks."""

RESIDUAL_SCALE = 64
"""8-bit levels at which the colours of a residual are at their fullest: one scale for every picture and iteration."""

RESIDUAL_COLOURS = "PuOr_r"  # purple: P too bright; orange: P too dark; safe for the colour-blind


def comparison(progression: Progression, ladder: Ladder, iterations: list[int]) -> Figure:
    """The photo after some iterations, each above the JPEG that is not larger.

    Args:
        progression: ours, run at least as far as the last of `iterations`.
        ladder: JPEG's, of the same photo.
        iterations: which to show, from 1.
    """
    columns = min(4, len(iterations))
    rows = 2 * -(-len(iterations) // columns)
    height = 3.2 * _ratio(progression.original) + 0.6
    figure = Figure(figsize=(3.2 * columns, rows * height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel in axes.flat:
        panel.axis("off")
    for k, i in enumerate(iterations):
        row, column = 2 * (k // columns), k % columns
        ours = progression[i]
        _picture(axes[row, column], ours.photo, f"iteration {i}: {_reading(ours)}", OURS)
        _rival(axes[row + 1, column], ladder, ours.size_bytes)
    return figure


def strip(progression: Progression, iterations: list[int], width: float = 2.5, rivals: Sequence[Ladder] = ()) -> Figure:
    """I, then P[i] above R[i] for some iterations: the residual on one fixed scale, so that its shrinking is seen.

    Args:
        progression: run at least as far as the last of `iterations`.
        iterations: which to show, from 1.
        width: of a panel, as in `pictures`.
        rivals: other codecs' files of the same photo; each has a row below, with what is not larger than P[i].
    """
    if not iterations:
        raise InputError("there is no iteration to draw yet; let at least one be computed first")
    columns, rows = len(iterations) + 1, 2 + len(rivals)
    original = progression.original
    figure = Figure(figsize=(width * columns, rows * (width * _ratio(original) + 0.5)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    _picture(axes[0, 0], original, f"I, the original\n{original.shape[1]} × {original.shape[0]} px", "black")
    for panel in axes[1:, 0]:
        panel.axis("off")
    for column, i in enumerate(iterations, start=1):
        ours = progression[i]
        _picture(axes[0, column], ours.photo, f"P[{i}]: {_reading(ours)}", OURS)
        shown = _picture(
            axes[1, column], residual_map(ours.residual), "", "black", cmap=RESIDUAL_COLOURS, vmin=-1, vmax=1
        )
        axes[1, column].set_title(f"R[{i}] = I - P[{i}]\nmean |R| {ours.mean_abs_residual:.1f} levels", fontsize=9)
        for row, ladder in enumerate(rivals, start=2):
            _rival(axes[row, column], ladder, ours.size_bytes)
    bar = figure.colorbar(shown, cax=axes[1, 0].inset_axes([0.8, 0.05, 0.07, 0.9]))
    bar.ax.yaxis.set_ticks_position("left")
    bar.ax.yaxis.set_label_position("left")
    bar.set_ticks([-1, 0, 1], labels=[f"-{RESIDUAL_SCALE} or less", "0", f"+{RESIDUAL_SCALE} or more"])
    bar.set_label("R in 8-bit levels", fontsize=9)
    return figure


def pictures(
    shown: list[np.ndarray],
    titles: list[str],
    columns: int = 4,
    *,
    limit: float | None = None,
    width: float = 2.6,
) -> Figure:
    """Pictures side by side, each under its title.

    Args:
        shown: photos (H, W, 3) uint8, or maps (H, W) of numbers: these on one scale of colours, white at 0.
        titles: one for each.
        columns: pictures in a row.
        limit: the number at which a map's colours are at their fullest; None: the largest there is.
        width: of a panel, in inches; the smaller, the larger the titles beside the pictures.
    """
    if not shown or len(shown) != len(titles):
        raise InputError(f"there are {len(shown)} pictures and {len(titles)} titles; give one title for each picture")
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    above = 0.25 + 0.15 * max(title.count("\n") + 1 for title in titles)  # inches, for the titles
    figure = Figure(figsize=(width * columns, rows * (width * _ratio(shown[0]) + above)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    maps = [np.abs(pixels).max() for pixels in shown if pixels.ndim == 2]
    limit = limit or max([*maps, 1e-9])
    for panel in axes.flat:
        panel.axis("off")
    for panel, pixels, title in zip(axes.flat, shown, titles, strict=False):
        options = {"cmap": RESIDUAL_COLOURS, "vmin": -limit, "vmax": limit} if pixels.ndim == 2 else {}
        _picture(panel, pixels, title, "black", **options)
    return figure


def lines(curves: dict[str, tuple], x: str, y: str, *, joined: bool = True) -> Figure:
    """Curves in one pair of axes.

    Args:
        curves: name to (x values, y values); at most four beside "JPEG", each with a colour and a marker of its own.
        x, y: what the axes show, with units.
        joined: whether a line leads from each point to the next; not where there is nothing between two points.
    """
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.subplots()
    for (name, (xs, ys)), (colour, marker) in zip(curves.items(), _styles(curves), strict=True):
        axes.plot(xs, ys, f"{marker}{'-' * joined}", label=name, color=colour, ms=4)
    axes.set(xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    if len(curves) > 1:
        axes.legend()
    return figure


def training(log: list[dict], frames: list[tuple[str, np.ndarray]] = ()) -> Figure:
    """How a training goes: |R[i]| of each iteration, learning rate and speed over the steps, and pictures below.

    Where the loss of a picture is another number than mean |R[i]|, a fourth panel shows it.

    Args:
        log: records of `runs.run`, or lines of its `log.jsonl`, as dicts; at least one.
        frames: titles and pictures (H, W, 3) uint8: a validation photograph and what the codec makes of it by now.
    """
    if not log:
        raise InputError("the log holds no step yet; let the training run a little longer")
    figure = Figure(figsize=(10.5, 3.4 + (2.6 if frames else 0)), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[3.4, 2.6]) if frames else (figure, None)
    steps = [line["step"] for line in log]
    residuals = [dict(enumerate(line["residuals"], start=1)) for line in log]
    losses = [_losses(line) for line in log]
    differ = any(abs(loss - of[i]) > 1e-6 for of, by in zip(residuals, losses, strict=True) for i, loss in by.items())
    errors, *more, rates, speed = above.subplots(1, 3 + differ, width_ratios=[2] * (1 + differ) + [1, 1])
    levels = [{i: 255 * residual for i, residual in of.items()} for of in residuals]
    _by_iteration(errors, steps, levels, "mean |R[i]| on the patches, 8-bit levels")
    for panel in more:
        _by_iteration(panel, steps, losses, "loss of P[i]")
    rates.plot(steps, [line["learning_rate"] for line in log], color=OURS)
    rates.set(title="learning rate", xlabel="step")
    speed.plot(steps, _smooth(np.array([line["patches_per_s"] for line in log])), color=OURS)
    speed.set(title="patches per second", xlabel="step", ylim=(0, None))
    for panel in (errors, *more, rates, speed):
        panel.title.set_fontsize(9)
        panel.grid(alpha=0.3)
    if frames:
        panels = below.subplots(1, len(frames), squeeze=False)[0]
        for panel, (title, picture) in zip(panels, frames, strict=True):
            _picture(panel, picture, title, "black")
    return figure


def _losses(line: dict) -> dict[int, float]:
    """i to the loss of P[i], of the iterations that were not skipped; none in logs from before there were any."""
    losses = line.get("losses", ())
    return dict(enumerate(losses, start=len(line["residuals"]) - len(losses) + 1))


def _by_iteration(panel, steps: list[int], lines: list[dict[int, float]], title: str):
    """A curve for each iteration i over the steps, from lines of i to a number."""
    numbers = sorted(set().union(*lines))
    last = numbers[-1]
    shades = colormaps["viridis_r"](np.linspace(0.15, 1, last))
    for i in numbers:
        x, y = np.array([(step, line[i]) for step, line in zip(steps, lines, strict=True) if i in line]).T
        named = last <= 4 or i in (numbers[0], last)
        panel.plot(x, _smooth(y), color=shades[i - 1], lw=1.2, label=f"{i}" if named else None)
    panel.set(title=title, xlabel="step", yscale="log")
    panel.yaxis.set_major_formatter("{x:g}")
    panel.yaxis.set_minor_formatter("{x:g}")
    panel.legend(title="i", fontsize=8)


def _smooth(values: np.ndarray) -> np.ndarray:
    """Running mean over nine; the ends average over fewer."""
    ones = np.ones(min(9, len(values)))
    return np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same")


def rate_distortion(curves: dict[str, list[dict]], title: str, beside: dict[str, list[dict]] | None = None) -> Figure:
    """MS-SSIM over bits per pixel; where it is high, steps look larger, as they do in decibels.

    Args:
        curves: name to points, each with "bpp" and "ms_ssim"; the name "JPEG" gets JPEG's colour, each other one a
            colour and a marker of its own.
        title: what was measured.
        beside: more curves, thin, each with its own kind of line; the axes end where `curves` do, or at 2 bpp.
    """
    figure = Figure(figsize=(7, 5), layout="constrained")
    axes = figure.subplots()
    axes.set_yscale("function", functions=(lambda q: -np.log10(np.maximum(1 - q, 1e-6)), lambda v: 1 - 10.0**-v))
    axes.set_yticks(MS_SSIM_TICKS, labels=[f"{tick:g}" for tick in MS_SSIM_TICKS])
    for (name, curve), (colour, marker) in zip(curves.items(), _styles(curves), strict=True):
        axes.plot(*_rates(curve), f"{marker}-", label=name, color=colour, ms=4)
    ends = axes.get_ylim()[0], min(2.0, axes.get_xlim()[1])
    for (name, curve), (colour, dash) in zip((beside or {}).items(), cycle(BESIDE), strict=False):
        axes.plot(*_rates(curve), ls=dash, label=name, color=colour, lw=1)
    axes.set(xlabel="bits per pixel", ylabel="MS-SSIM (RGB)", title=title)
    if beside:
        axes.set(xlim=(0, ends[1]), ylim=(max(0.8, ends[0]), 0.992))
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def _rates(curve: list[dict]) -> tuple:
    """Bits per pixel and MS-SSIM of a curve's points."""
    return tuple(zip(*((p["bpp"], p["ms_ssim"]) for p in curve if p["ms_ssim"] is not None), strict=True))


def residual_map(residual: np.ndarray) -> np.ndarray:
    """A residual (H, W, 3) in levels as (H, W) in [-1, 1]: the mean over R, G and B in units of the fixed scale."""
    return np.clip(residual.mean(axis=2) / RESIDUAL_SCALE, -1, 1)


def residual_colours() -> bytes:
    """The colours of `residual_map` from -1 to 1: 255 times red, green, blue, a byte each."""
    return colormaps[RESIDUAL_COLOURS](np.linspace(0, 1, 255), bytes=True)[:, :3].tobytes()


def png(figure: Figure, *, dpi: int = 110, palette: bool = False) -> bytes:
    """A figure as the bytes of a PNG file, the same bytes for the same figure.

    Args:
        figure: one of those that this module makes.
        dpi: 80 makes a panel of `pictures` 208 px wide.
        palette: at most 256 colours, chosen for the figure: a half to a quarter of the bytes of photographs.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    if palette:
        from PIL import Image

        picture, buffer = Image.open(buffer).convert("RGB"), io.BytesIO()
        picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def show(figure: Figure, alt: str, *, palette: bool = False):
    """Show a figure in a notebook with a text for those who cannot see it; `palette` as in `png`."""
    from IPython.display import display

    data, metadata = bundle(figure, alt, palette=palette)
    display(data, metadata=metadata, raw=True)


def bundle(figure: Figure, alt: str, *, palette: bool = False) -> tuple[dict, dict]:
    """What `show` hands to a notebook, data and metadata: IPython's own Image knows no alt text on Colab (7.34)."""
    data = {"image/png": base64.b64encode(png(figure, dpi=80, palette=palette)).decode(), "text/plain": alt}
    return data, {"image/png": {"alt": alt}}


def _picture(axes, pixels: np.ndarray, title: str, colour: str, **options):
    shown = axes.imshow(pixels, interpolation="antialiased", **options)
    axes.set_title(title, fontsize=9, color=colour)
    axes.axis("off")
    return shown


def _rival(axes, ladder: Ladder, size_bytes: int):
    """The file that is not larger than this, or else the codec's smallest."""
    rival = ladder.fitting(size_bytes)
    name = f"{ladder.label} quality {rival.quality}" if rival else f"{ladder.label} gets no smaller"
    rival = rival or ladder.smallest
    _picture(axes, rival.photo, f"{name}: {_reading(rival)}", JPEG)


def _styles(names: Iterable[str]) -> list[tuple[str, str]]:
    """Colour and marker of each curve: JPEG's own, or the next that is free."""
    free = cycle(CURVES)
    return [(JPEG, "o") if name == "JPEG" else next(free) for name in names]


def _ratio(photo: np.ndarray) -> float:
    """Height over width, within what still makes a page: the panorama of one row gets a panel of its own height."""
    return min(3.0, max(0.3, photo.shape[0] / photo.shape[1]))


def _reading(decoded) -> str:
    quality = f"PSNR {decoded.psnr_db:.1f} dB" if decoded.ms_ssim is None else f"MS-SSIM {decoded.ms_ssim:.3f}"
    return f"{decoded.size_bytes:,} bytes\n{decoded.bpp:.3f} bpp, {quality}"
