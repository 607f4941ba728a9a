"""The README's numbers: the Markdown between its marks, all of it from results files."""

import math
import re

from rgru_lab.comparing import AUTHORS, OURS_RAW
from rgru_lab.config import InputError
from rgru_lab.reports import WORDS, jpegs, label, number, plain, points, reached, signed

HALVES_PAY = "bfloat16, times as fast as float32 at a convolution"

SPEEDS = (
    "encoding, 16 iterations at 768 x 512, s",
    "decoding, s per iteration at 768 x 512",
    "bits to file, 16 iterations at 768 x 512, s",
    "file to bits, 16 iterations at 768 x 512, s",
    "iterations to MS-SSIM 0.95 at 768 x 512",
    "photo to file and back at MS-SSIM 0.95, 768 x 512, s",
    "float32, times as fast as the straightforward loop",
    "float32, % of the matrix product's peak",
    HALVES_PAY,
    "bfloat16, times as fast as the straightforward loop",
    "bfloat16, % of the matrix product's peak",
    "768 x 512 px: first iteration, s",
    "768 x 512 px: straightforward loop, first iteration, s",
    "768 x 512 px: peak memory, MB",
    "768 x 512 px: straightforward loop, peak memory, MB",
    "4000 x 3000 px: first iteration, s",
    "4000 x 3000 px: straightforward loop, first iteration, s",
    "4000 x 3000 px: encoding, s per iteration",
    "4000 x 3000 px: decoding, s per iteration",
    "4000 x 3000 px: peak memory, MB",
    "seconds at 768 x 512: growth, s per iteration",
    "seconds at 768 x 512: farthest from that line, %",
    "seconds of the first iteration: the power of the pixels that fits best",
    "seconds of the first iteration: growth, s per megapixel",
    "seconds of the first iteration: farthest from that line, %",
    "peak memory: growth, MB per megapixel",
    "peak memory: farthest from that line, %",
    "training, patches of 128 px per s, 10 iterations",
    "training, straightforward loop, patches of 128 px per s, 10 iterations",
)
"""What of `bench` the README shows."""


def side_by_side(summaries: list[dict]) -> str:
    """The sizes at equal MS-SSIM of several weights beside the same JPEG's, as one Markdown table."""
    lines = [f"| MS-SSIM | JPEG, bpp | {' | '.join(map(label, summaries))} |", "|---|---|" + "---|" * len(summaries)]
    for rows in zip(*(summary["at_equal_ms_ssim"] for summary in summaries), strict=True):
        cells = []
        for summary, row in zip(summaries, rows, strict=True):
            change = "" if row["change_percent"] is None else f" ({signed(row['change_percent'])})"
            cells.append(reached(summary, row) + change)
        lines.append(f"| {rows[0]['ms_ssim']:.2f} | {jpegs(rows[0])} | {' | '.join(cells)} |")
    against = [next(row for row in summary["opponents"] if row["codec"] == "jpeg") for summary in summaries]
    for name, key in (("Bjøntegaard, by MS-SSIM", "ms_ssim"), ("Bjøntegaard, by PSNR", "psnr")):
        over_all = " | ".join(signed(jpeg[f"bjontegaard_{key}_percent"]) for jpeg in against)
        lines.append(f"| {name} | | {over_all} |")
    return "\n".join(lines) + "\n"


def verdict(summary: dict, claimed_percent: float) -> str:
    """The table in words: the claim, where JPEG wins, what PSNR says, and where the quality ends."""
    at = {row["ms_ssim"]: row for row in summary["at_equal_ms_ssim"]}
    jpeg = next(row for row in summary["opponents"] if row["codec"] == "jpeg")
    best = max(summary["curve"], key=lambda point: point["ms_ssim"])
    authors = next(row for row in summary["published"] if row["name"] == AUTHORS)["at_equal_ms_ssim"]
    authors_bpp = next(row["bpp"] for row in authors if row["ms_ssim"] == 0.90)
    theirs = _more(100 * (authors_bpp / at[0.90]["their_bpp"] - 1))
    each = {row["ms_ssim"]: row for row in jpeg["per_picture"]}
    moved = jpeg["moved"]
    moved_at = {row["ms_ssim"]: row for row in moved["at_equal_ms_ssim"]}
    low, middle, high = _won(jpeg["per_picture"])
    moved_low, moved_middle, moved_high = _won(moved["per_picture"])
    return (
        f"At MS-SSIM 0.90 a file of {label(summary)} takes {_more(at[0.90]['change_percent'])} bits than the JPEG. "
        f"(The {claimed_percent} % that the paper's authors announced were of one photograph: see below. Their "
        f"model of 2016, as published, takes {theirs} on these 24.) Ours is the smaller file on {low} photographs at "
        f"0.90, on {middle} at 0.95 and on {high} at 0.98. (Each picture's own sizes at 0.90, and then their mean: "
        f"{_more(each[0.90]['change_percent'])}.) Over all qualities that both reach, up to "
        f"{jpeg['bjontegaard_up_to']:.3f}, it takes {_more(jpeg['bjontegaard_ms_ssim_percent'])} bits than JPEG "
        f"(Bjøntegaard's difference). {_other_jpegs(summary)}\n\n"
        f"One pixel on (see below) it takes {_more(moved_at[0.90]['change_percent'])} bits at 0.90, is the smaller "
        f"file on {moved_low} photographs, on {moved_middle} and on {moved_high}, and takes "
        f"{_more(moved['bjontegaard_ms_ssim_percent'])} over all qualities, which end at "
        f"{moved['bjontegaard_up_to']:.3f} there.\n\n"
        "MS-SSIM is what these weights were trained for. By PSNR, which counts squared errors alone, they take "
        f"{_more(jpeg['bjontegaard_psnr_percent'])} bits than JPEG. Their quality ends at MS-SSIM "
        f"{best['ms_ssim']:.3f}, with iteration {best['point']} and {best['bpp']:.2f} bits per pixel; only "
        "the others go beyond that.\n"
    )


def _other_jpegs(summary: dict) -> str:
    """Our size against the smallest of all JPEGs, whichever that is at each of the three qualities."""
    written = [row for row in summary["opponents"] if row["codec"].startswith("jpeg")]
    said = []
    for level in (0.90, 0.95, 0.98):
        rows = {row["label"]: {at["ms_ssim"]: at for at in row["at_equal_ms_ssim"]}[level] for row in written}
        label = min(rows, key=lambda label: rows[label]["their_bpp"] or math.inf)
        if rows[label]["change_percent"] is not None:
            said.append(f"{_more(rows[label]['change_percent'])} at {level:.2f} ({label})")
    return f"Against whichever JPEG is smallest (they are below) it takes {', '.join(said)}." if said else ""


def _won(per_picture: list[dict]) -> list[str]:
    """On how many pictures ours is the smaller file, at the three qualities that the verdict names."""
    won = {row["ms_ssim"]: row for row in per_picture}
    return [f"{won[level]['won']} of {won[level]['counted']}" for level in (0.90, 0.95, 0.98)]


def bars_met(summaries: list[dict]) -> str:
    """How many of their bars all weights reach, how far they are from the others, and what else they miss."""
    said, measured = [], []
    for summary in summaries:
        if summary["bars"]:
            met = sum(row["measured_met"] for row in summary["bars"])
            measured.append(f"{label(summary)} {met} of {len(summary['bars'])}")
        missed = [row for row in summary["bars"] if not row["met"]]
        if not summary["bars"]:
            continue
        if not missed:
            count = len(summary["bars"])
            all_of_them = {1: "the one that was", 2: "both that were"}.get(count, f"all {count} that were")
            said.append(f"{label(summary)} reaches {all_of_them} set for it.")
            continue
        short = [
            f"by {points(row['change_percent'], row['bar_percent'])} at {row['ms_ssim']:.2f} ({WORDS[row['bits']]})"
            if row["change_percent"] is not None
            else f"of {row['ms_ssim']:.2f}, which it does not reach ({WORDS[row['bits']]})"
            for row in missed
        ]
        met = len(summary["bars"]) - len(missed) or "none"
        said.append(f"{label(summary)} reaches {met} of its {len(summary['bars'])} and is short {', '.join(short)}.")
    else_missed = {}
    for summary in summaries:
        for row in (row for row in summary["aims"] if not row["met"]):
            asked = f"{row['what']} (asked: {row['aim']})"
            else_missed.setdefault(asked, []).append(f"{label(summary)} {plain(row)}")
    rest = "; ".join(f"{asked}: {', '.join(short)}" for asked, short in else_missed.items())
    besides = f"\nOf what else was asked this is missed. {rest}.\n" if rest else ""
    return (
        "Beforehand, sizes had been set as aims, against a JPEG that was put together from others' curves (in "
        f"data/results each stands beside what was reached). {' '.join(said)} The JPEG measured here is a little "
        f"smaller; against that these are reached: {'; '.join(measured)}.\n{besides}"
    )


def standings(summaries: list[dict]) -> str:
    """Bits per pixel at a few qualities: ours, the opponents measured here, and what others have published.

    Of the first of ours also its bits as they are, since that is how some of the others store theirs.
    """
    summary = summaries[0]
    levels = (0.90, 0.95, 0.98)

    def rates(rows, key):
        found = {row["ms_ssim"]: row[key] for row in rows}
        return " | ".join(number(found[level]) for level in levels)

    lines = [f"| bits per pixel at MS-SSIM | {' | '.join(f'{level:.2f}' for level in levels)} |", "|---|---|---|---|"]
    for ours in summaries:
        lines.append(f"| **{label(ours)}** | {rates(ours['at_equal_ms_ssim'], 'bpp')} |")
    for row in summary["opponents"]:
        lines.append(f"| {row['label']} | {rates(row['at_equal_ms_ssim'], 'their_bpp')} |")
    for row in summary["published"][1:]:
        name = f"*{row['name']}*" if row["name"] != OURS_RAW else row["name"].replace("ours", label(summary))
        lines.append(f"| {name} | {rates(row['at_equal_ms_ssim'], 'bpp')} |")
    return "\n".join(lines) + "\n"


def claim(found: dict, claimed_ms_ssim: float, claimed_percent: float) -> str:
    """The caption of the announcement's figure, made again."""
    return (
        f"*At the same MS-SSIM, {found['ms_ssim']:.4f} and {found['jpeg_ms_ssim']:.4f}, ours takes "
        f"{found['size_bytes']:,} bytes and the JPEG {found['jpeg_size_bytes']:,}: ours is "
        f"{found['smaller_percent']:.0f} % smaller. Announced were {claimed_percent} % at {claimed_ms_ssim:.2f}. Ours "
        f"is an adaptive file of {found['model']} of up to {found['iterations']} iterations.*\n"
    )


def speed(benches: list[dict], viewer: dict) -> str:
    """What `bench` found for a few models, each on its machine, and `bench --viewer` for the first, as a table."""
    lines = [
        f"| | {' | '.join(bench['model'] for bench in benches)} |",
        "|---|" + "---|" * len(benches),
        f"| machine | {' | '.join(bench['machine'] for bench in benches)} |",
    ]
    for what in (what for what in SPEEDS if any(what in bench for bench in benches)):
        values = [f"{bench[what]:,}" if what in bench else "–" for bench in benches]
        lines.append(f"| {what} | {' | '.join(values)} |")
    more = " |" * (len(benches) - 1)
    lines += [f"| {what} | {value:,} |{more}" for what, value in viewer.items() if what.startswith("JupyterLab: ")]
    return "\n".join(lines) + "\n"


def _more(percent: float) -> str:
    return f"{abs(percent):.1f} % {'more' if percent > 0 else 'fewer'}"


def with_blocks(text: str, blocks: dict[str, str]) -> str:
    """The text with what stands between `<!-- NAME -->` and `<!-- /NAME -->` made new, for every block."""
    for name, block in blocks.items():
        text, count = re.subn(
            f"<!-- {name} -->.*?<!-- /{name} -->",
            lambda _, name=name, block=block: f"<!-- {name} -->\n{block}<!-- /{name} -->",
            text,
            flags=re.DOTALL,
        )
        if count != 1:
            raise InputError(f"the README has {count} places marked <!-- {name} -->; it needs one")
    return text
