"""What rows of measurements say: mean curves, sizes at equal quality by two averages, who wins, and published peers."""

import datetime
import json
import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from itertools import pairwise

import numpy as np

from rgru_lab import __version__, adaptive, metrics
from rgru_lab.config import DATA
from rgru_lab.opponents import CODECS, JPEG_SETTINGS

MOVED = "ms_ssim_moved"
"""The reading of `metrics.ms_ssim_moved`, in rows and curves."""

TARGETS = (0.85, 0.90, 0.95, 0.97, 0.98, 0.99)
PUBLISHED = DATA / "published.json"

YARDSTICK = {0.90: 0.2864, 0.95: 0.507, 0.98: 1.035}
"""Bits per pixel of optimised JPEG 4:2:0 on Kodak at an MS-SSIM, by which the bars were set before anything here was
measured. It can be rebuilt from the sizes of optimised files and the MS-SSIM that CompressAI published for JPEG. The
JPEG measured here needs about 5 % less (its MS-SSIM reads higher at the same sizes), so a bar may be met against the
one and missed against the other; `_bars` says both."""

BARS_PERCENT = {
    "small": {"raw": {0.90: -22, 0.95: -20, 0.98: -10}, "coded": {0.90: -38, 0.95: -27, 0.98: -12}},
    "base": {"raw": {0.90: -30, 0.95: -28, 0.98: -20}, "coded": {0.90: -45, 0.95: -36, 0.98: -24}},
    "fast": {"coded": {0.90: -30, 0.95: -30}},
    "best, adaptive": {"coded": {0.90: -61, 0.95: -49, 0.98: -37}},
}
"""What each preset is to be smaller by than the yardstick, its bits stored as they are, and coded; `best` in adaptive
files, as small as Johnston et al. published. For `fast` one number was set, 30 %, with no quality beside it: it is
asked at 0.90 and, since `fast-4`, at 0.95, to which its seconds are counted."""

RISING, SHIFT = "MS-SSIM that the worst iteration adds", "Colour shift of the worst iteration, levels"
BJONTEGAARD = "Bjøntegaard's difference to JPEG, %"
SMALLER = "Photographs on which it is smaller than WebP, at the worst MS-SSIM from 0.90 to 0.98"

AIMS = {
    "small": {RISING: ("over", 0), SHIFT: ("at most", 1)},
    "base": {RISING: ("over", 0), SHIFT: ("at most", 1)},
    "fast": {RISING: ("over", 0), SHIFT: ("at most", 1)},
    "best, adaptive": {BJONTEGAARD: ("at most", -50), SMALLER: ("at least", 22)},
}
"""What else each preset is to reach."""

OURS_RAW = "ours, bits as they are"
"""The second name of `beside`; the first is "ours"."""

AUTHORS = "Residual GRU, Google 2016"
"""The published curve of the model that the paper's authors gave away."""

SHIFTS = ("shift_r", "shift_g", "shift_b")

AVERAGING = (
    "Mean MS-SSIM at mean bits per pixel over the pictures, at equal iteration or quality; between two points of such "
    "a curve a rate lies on the straight line."
)
ADAPTIVE = (
    "Ours are adaptive files: a position (16 x 16 pixels) stops sending where an iteration takes away less unlikeness "
    "than its bits are worth; the slope is that price, equal for all pictures, and a larger one makes a smaller file. "
)
SEARCHED = (
    "The encoder also searched for better bits, in {} √(s / i) steps in iteration i, s being the share of positions "
    "whose bits were searched there{}. "
)


def summarise(
    weights,
    set_name: str,
    rows: list[dict],
    opponents: list[dict],
    slopes: Sequence[float] = (),
    search: int = 0,
) -> dict:
    """Everything that follows from the rows of one model and of its opponents, JPEG among them.

    With slopes, the rows are those of adaptive files, one for each slope. With search, so many steps were taken to find
    better bits.
    """
    ours, jpeg = mean_curve(rows), mean_curve(grouped(opponents, "codec")["jpeg"])
    where = f", at slopes of {adaptive.SEARCH_PAYS} and over" if slopes else ""
    searched = SEARCHED.format(search, where) if search else ""
    preset = weights.name.rpartition("-")[0] + (", adaptive" if slopes else ", searched" if search else "")
    return {
        "model": weights.name,
        "weights_sha256": weights.sha256,
        "set": set_name,
        "pictures": len({row["picture"] for row in rows}),
        "averaging": (ADAPTIVE if slopes else "") + searched + AVERAGING,
        "slopes": list(slopes),
        "search": search,
        "curve": written(ours),
        "jpeg_curve": written(jpeg),
        "at_equal_ms_ssim": [_at(ours, jpeg, target) for target in TARGETS],
        "opponents": [_against(rows, group) for group in grouped(opponents, "codec").values()],
        "coding": [_coded_at(ours, target) for target in TARGETS],
        "area": {"coded": _area(ours), "raw": _area(_if("raw", ours))},
        "published": beside(ours, jpeg) if set_name == "kodak" else [],
        "bars": _bars(preset, ours, jpeg) if set_name == "kodak" else [],
        "aims": _aims(preset, ours, rows, opponents) if set_name == "kodak" else [],
        "jpeg": JPEG_SETTINGS | {"encoder": CODECS["jpeg"].version},
        **provenance(),
    }


def provenance() -> dict:
    """Versions, machine and day: what a measurement depends on."""
    import torch

    others = {name: version(name) for name in ("torch", "pillow", "pytorch-msssim", "numpy")}
    return {
        "versions": {"rgru-lab": __version__} | others,  # on Colab the kit is a clone that pip does not know
        "machine": f"{platform.system()} {platform.machine()} ({torch.backends.cpu.get_cpu_capability()}), "
        f"{os.cpu_count()} logical cores, Python {platform.python_version()}",
        "date": datetime.date.today().isoformat(),
    }


def mean_curve(rows: list[dict]) -> list[dict]:
    """Means over the pictures at every rate point of one codec."""
    curve = []
    for point, group in sorted(grouped(rows, "point").items()):
        means = {key: mean(group, key) for key in ("bpp", "psnr_db", "ssim", "ms_ssim", MOVED)}
        if all(row["raw_bytes"] for row in group):  # ours
            means |= {key: mean(group, key) for key in ("encode_s", "decode_s")}
            for name in ("raw", "counted"):
                bpp = [row["bpp"] * row[f"{name}_bytes"] / row["size_bytes"] for row in group]
                means[f"{name}_bpp"] = float(np.mean(bpp))
        shifts = [mean(group, channel) for channel in SHIFTS]
        each = [max(abs(row[channel]) for channel in SHIFTS) for row in group]
        shift = {"colour_shift": max(shifts, key=abs), "colour_shift_of_a_picture": float(np.mean(each))}
        curve.append({"point": point} | means | shift)
    return curve


def written(curve: list[dict]) -> list[dict]:
    """A curve as files hold it, to five digits: what follows from a curve is worked out before."""
    return [{key: round(value, 5) if value is not None else None for key, value in point.items()} for point in curve]


def bpp_at(curve: list[dict], level: float, key: str = "ms_ssim") -> float | None:
    """Bits per pixel at which a curve first reaches an MS-SSIM, linear between its points; None outside them.

    With the key "ms_ssim_moved": an MS-SSIM whose grid begins one pixel on.
    """
    for low, high in pairwise(curve):
        if low[key] <= level <= high[key] and low[key] < high[key]:
            share = (level - low[key]) / (high[key] - low[key])
            return low["bpp"] + share * (high["bpp"] - low["bpp"])
    return None


def per_picture(ours: list[dict], theirs: list[dict], ms_ssim: float, key: str = "ms_ssim") -> dict:
    """Each picture's own sizes at an MS-SSIM, then their mean; and on how many pictures ours is smaller.

    Where even a codec's smallest file is better, that file counts. The means are over the pictures on which both get
    there; a picture on which one alone gets there is won by that one, and one on which none does is not counted.
    `key` as in `bpp_at`.
    """
    pairs = []
    for picture, rows in grouped(ours, "picture").items():
        curves = (rows, grouped(theirs, "picture")[picture])
        pairs.append([_bpp_for(sorted(curve, key=lambda row: row["point"]), ms_ssim, key) for curve in curves])
    both = [pair for pair in pairs if None not in pair]
    bpp, their_bpp = map(float, np.mean(both, axis=0)) if both else (None, None)
    return {
        "ms_ssim": ms_ssim,
        "pictures": len(both),
        "bpp": _rate(bpp),
        "their_bpp": _rate(their_bpp),
        "change_percent": _change(bpp, their_bpp),
        "won": sum(a is not None and (b is None or a < b) for a, b in pairs),
        "counted": sum(pair != [None, None] for pair in pairs),
    }


def published() -> dict[str, dict]:
    """Curves of other systems on Kodak: name to `source`, `note` and `curve` (means over the pictures)."""
    return json.loads(PUBLISHED.read_text(encoding="utf-8"))


def beside(ours: list[dict], jpeg: list[dict]) -> list[dict]:
    """Our mean curve, coded and not, and those of others at equal MS-SSIM, all against the JPEG measured here."""
    curves = {"ours": ours, OURS_RAW: _if("raw", ours)}
    curves |= {name: entry["curve"] for name, entry in published().items()}
    return [
        {
            "name": name,
            "at_equal_ms_ssim": [{"ms_ssim": target, "bpp": _rate(bpp_at(curve, target))} for target in TARGETS],
            "bjontegaard_ms_ssim_percent": _percent(_bjontegaard(curve, jpeg, "ms_ssim")),
            "area": _area(curve),
        }
        for name, curve in curves.items()
    ]


def _at(ours: list[dict], theirs: list[dict], target: float, key: str = "ms_ssim") -> dict:
    bpp, their_bpp = bpp_at(ours, target, key), bpp_at(theirs, target, key)
    change = _change(bpp, their_bpp)
    return {"ms_ssim": target, "bpp": _rate(bpp), "their_bpp": _rate(their_bpp), "change_percent": change}


def _against(ours: list[dict], theirs: list[dict]) -> dict:
    codec, curve, their_curve = theirs[0]["codec"], mean_curve(ours), mean_curve(theirs)
    return {
        "codec": codec,
        "label": CODECS[codec].label,
        "encoder": CODECS[codec].version,
        "settings": CODECS[codec].settings,
        "at_equal_ms_ssim": [_at(curve, their_curve, target) for target in TARGETS],
        "per_picture": [per_picture(ours, theirs, target) for target in TARGETS],
        "moved": {
            "at_equal_ms_ssim": [_at(curve, their_curve, target, MOVED) for target in TARGETS],
            "per_picture": [per_picture(ours, theirs, target, MOVED) for target in TARGETS],
            "bjontegaard_ms_ssim_percent": _percent(_bjontegaard(curve, their_curve, MOVED)),
            "bjontegaard_up_to": _both_reach(curve, their_curve, MOVED),
        },
        "bjontegaard_ms_ssim_percent": _percent(_bjontegaard(curve, their_curve, "ms_ssim")),
        "bjontegaard_up_to": _both_reach(curve, their_curve, "ms_ssim"),
        "bjontegaard_psnr_percent": _percent(_bjontegaard(curve, their_curve, "psnr_db")),
        "area": _area(their_curve),
    }


def _bars(preset: str, curve: list[dict], jpeg: list[dict]) -> list[dict]:
    """Each bar, against the yardstick and against the JPEG measured here."""
    rows = []
    for bits, bars in BARS_PERCENT.get(preset, {}).items():
        for target, bar in bars.items():
            bpp = bpp_at(_if("raw", curve) if bits == "raw" else curve, target)
            measured_bpp = bpp_at(jpeg, target)
            met, measured_met = (
                None not in (bpp, their_bpp) and bpp <= (1 + bar / 100) * their_bpp
                for their_bpp in (YARDSTICK[target], measured_bpp)
            )
            rows.append(
                {
                    "bits": bits,
                    "ms_ssim": target,
                    "bpp": _rate(bpp),
                    "yardstick_bpp": YARDSTICK[target],
                    "change_percent": _change(bpp, YARDSTICK[target]),
                    "measured_percent": _change(bpp, measured_bpp),
                    "bar_percent": bar,
                    "met": met,
                    "measured_met": measured_met,
                }
            )
    return rows


def _aims(preset: str, curve: list[dict], rows: list[dict], opponents: list[dict]) -> list[dict]:
    """What was reached of what else is asked of a preset: one dict for each of its `AIMS`."""
    others = grouped(opponents, "codec")
    levels = [round(0.9 + step / 100, 2) for step in range(9)]
    reach = {
        RISING: lambda key: min((b[key] - a[key] for a, b in pairwise(curve)), default=None),
        SHIFT: lambda key: max(abs(point["colour_shift"]) for point in curve),
        BJONTEGAARD: lambda key: _bjontegaard(curve, mean_curve(others["jpeg"]), key),
        SMALLER: lambda key: min(per_picture(rows, others["webp"], level, key)["won"] for level in levels),
    }
    found = []
    for what, (word, aim) in AIMS.get(preset, {}).items():
        if what != SMALLER or "webp" in others:
            value, moved = reach[what]("ms_ssim"), reach[what](MOVED) if what != SHIFT else None
            met = value is not None and {"over": value > aim, "at most": value <= aim, "at least": value >= aim}[word]
            reached = {"reached": value and round(value, 4), "moved": moved and round(moved, 4)}
            found.append({"what": what, "aim": f"{word} {aim}", **reached, "met": met})
    return found


def _if(coding: str, curve: list[dict]) -> list[dict]:
    """The curve of the same bits stored as they are ("raw"), or coded with counts alone ("counted")."""
    return [point | {"bpp": point[f"{coding}_bpp"]} for point in curve]


def _coded_at(curve: list[dict], target: float) -> dict:
    raw, counted, bpp = (bpp_at(each, target) for each in (_if("raw", curve), _if("counted", curve), curve))
    saved = None if None in (raw, bpp) else round(100 * (1 - bpp / raw), 1)
    rates = {"raw_bpp": _rate(raw), "counted_bpp": _rate(counted), "bpp": _rate(bpp)}
    return {"ms_ssim": target, **rates, "saved_percent": saved}


def _bpp_for(curve: list[dict], ms_ssim: float, key: str) -> float | None:
    """Bits per pixel that a picture needs for an MS-SSIM, those of the smallest file at least."""
    return curve[0]["bpp"] if curve[0][key] >= ms_ssim else bpp_at(curve, ms_ssim, key)


def _bjontegaard(ours: list[dict], theirs: list[dict], key: str) -> float | None:
    """As `metrics.bjontegaard_percent`, not rounded."""

    def points(curve):
        level = float if key == "psnr_db" else metrics.ms_ssim_db
        return [(point["bpp"], level(point[key])) for point in curve if point[key] is not None]

    return metrics.bjontegaard_percent(points(ours), points(theirs))


def _both_reach(ours: list[dict], theirs: list[dict], key: str) -> float:
    """The MS-SSIM at which Bjøntegaard's range ends."""
    return round(min(max(point[key] for point in curve) for curve in (ours, theirs)), 4)


def _area(curve: list[dict]) -> float | None:
    area = metrics.area([(point["bpp"], point["ms_ssim"]) for point in curve])
    return None if area is None else round(area, 4)


def _rate(bpp: float | None) -> float | None:
    """To be written, to more digits than are shown: everything that is decided is decided before."""
    return None if bpp is None else round(bpp, 6)


def _percent(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _change(bpp: float | None, their_bpp: float | None) -> float | None:
    return _percent(None if bpp is None or their_bpp is None else 100 * (bpp / their_bpp - 1))


def grouped(rows: Sequence[dict], key: str) -> dict:
    """The rows that share a value, by that value, in the order in which the values first come."""
    groups = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def mean(rows: list[dict], key: str) -> float | None:
    """Of one reading; None where one of them is not known or infinite: the PSNR of a picture that came back exactly."""
    values = [row[key] for row in rows]
    if None in values:
        return None
    mean = float(np.mean(values))
    return mean if np.isfinite(mean) else None
