"""What `comparing` found, for people: Markdown tables and the page of a model's results."""

import math

from rgru_lab.adaptive import ALL
from rgru_lab.comparing import AUTHORS, OURS_RAW, TARGETS

LEVELS = [f"{target:.2f}" for target in TARGETS]

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
)
"""What of `bench` the README shows."""

PLACES_AT = (0.90, 0.95, 0.97, 0.98)
"""MS-SSIM at which `both_places` shows sizes."""

WORDS = {"raw": "bits as they are", "coded": "coded bits"}


def label(summary: dict) -> str:
    """Whose results these are: the weights' name, whether their files were adaptive, and their bits searched for."""
    ways = [word for key, word in (("slopes", "adaptive"), ("search", "searched")) if summary.get(key)]
    return ", ".join([summary["model"], *ways])


def table(summary: dict) -> str:
    """The sizes at equal MS-SSIM as a Markdown table."""
    lines = [f"| MS-SSIM | {label(summary)}, bpp | JPEG, bpp | file size against JPEG |", "|---|---|---|---|"]
    for row in summary["at_equal_ms_ssim"]:
        change = _signed(row["change_percent"])
        lines.append(f"| {row['ms_ssim']:.2f} | {_reached(summary, row)} | {_jpegs(row)} | {change} |")
    return "\n".join(lines) + "\n"


def side_by_side(summaries: list[dict]) -> str:
    """The sizes at equal MS-SSIM of several weights beside the same JPEG's, as one Markdown table."""
    lines = [f"| MS-SSIM | JPEG, bpp | {' | '.join(map(label, summaries))} |", "|---|---|" + "---|" * len(summaries)]
    for rows in zip(*(summary["at_equal_ms_ssim"] for summary in summaries), strict=True):
        cells = []
        for summary, row in zip(summaries, rows, strict=True):
            change = "" if row["change_percent"] is None else f" ({_signed(row['change_percent'])})"
            cells.append(_reached(summary, row) + change)
        lines.append(f"| {rows[0]['ms_ssim']:.2f} | {_jpegs(rows[0])} | {' | '.join(cells)} |")
    jpegs = [next(row for row in summary["opponents"] if row["codec"] == "jpeg") for summary in summaries]
    for name, key in (("Bjøntegaard, by MS-SSIM", "ms_ssim"), ("Bjøntegaard, by PSNR", "psnr")):
        over_all = " | ".join(_signed(jpeg[f"bjontegaard_{key}_percent"]) for jpeg in jpegs)
        lines.append(f"| {name} | | {over_all} |")
    return "\n".join(lines) + "\n"


def _reached(summary: dict, row: dict) -> str:
    """Our bits per pixel at a quality, or why there are none."""
    best = max(point["ms_ssim"] for point in summary["curve"])
    return f"{row['bpp']:.3f}" if row["bpp"] else "not reached" if row["ms_ssim"] > best else "begins above it"


def _jpegs(row: dict) -> str:
    return f"{row['their_bpp']:.3f}" if row["their_bpp"] else "not measured"


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
        f"{best['ms_ssim']:.3f}, with iteration {best['point']} and {best['bpp']:.2f} bits per pixel; what is better "
        "than that is JPEG's alone.\n"
    )


def _other_jpegs(summary: dict) -> str:
    """Our size against the smallest of all JPEGs, whichever that is at each of the three qualities."""
    jpegs = [row for row in summary["opponents"] if row["codec"].startswith("jpeg")]
    said = []
    for level in (0.90, 0.95, 0.98):
        rows = {row["label"]: {at["ms_ssim"]: at for at in row["at_equal_ms_ssim"]}[level] for row in jpegs}
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
            said.append(
                f"{label(summary)} reaches {f'all {count} that were' if count > 1 else 'the one that was'} set for it."
            )
            continue
        short = [
            f"by {_points(row['change_percent'], row['bar_percent'])} at {row['ms_ssim']:.2f} ({WORDS[row['bits']]})"
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
            else_missed.setdefault(asked, []).append(f"{label(summary)} {_plain(row)}")
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
        return " | ".join(_number(found[level]) for level in levels)

    lines = [f"| bits per pixel at MS-SSIM | {' | '.join(f'{level:.2f}' for level in levels)} |", "|---|---|---|---|"]
    for ours in summaries:
        lines.append(f"| **{label(ours)}** | {rates(ours['at_equal_ms_ssim'], 'bpp')} |")
    for row in summary["opponents"]:
        lines.append(f"| {row['label']} | {rates(row['at_equal_ms_ssim'], 'their_bpp')} |")
    for row in summary["published"][1:]:
        name = f"*{row['name']}*" if row["name"] != OURS_RAW else row["name"].replace("ours", label(summary))
        lines.append(f"| {name} | {rates(row['at_equal_ms_ssim'], 'bpp')} |")
    return "\n".join(lines) + "\n"


def both_places(summaries: list[dict]) -> str:
    """Bits per pixel where MS-SSIM's grid begins at the corner and where it begins one pixel on, against JPEG's."""
    opponents = {row["codec"]: row for row in summaries[0]["opponents"]}
    rows = [
        (opponents[codec]["label"], opponents[codec], "their_bpp")
        for codec in ("jpeg", "jpeg-mozjpeg-table", "webp")
        if codec in opponents
    ]
    for summary in summaries:
        rows.append((label(summary), next(row for row in summary["opponents"] if row["codec"] == "jpeg"), "bpp"))
    lines = [
        f"| | grid | {' | '.join(f'{level:.2f}' for level in PLACES_AT)} |",
        "|---|---|" + "---|" * len(PLACES_AT),
    ]
    jpeg = opponents["jpeg"]
    for name, row, key in rows:
        for place, found, beside in (("at the corner", row, jpeg), ("one pixel on", row["moved"], jpeg["moved"])):
            cells = []
            for at, jpeg_at in zip(found["at_equal_ms_ssim"], beside["at_equal_ms_ssim"], strict=True):
                if at["ms_ssim"] in PLACES_AT:
                    bpp, jpeg_bpp = at[key], jpeg_at["their_bpp"]
                    known = None not in (bpp, jpeg_bpp) and name != jpeg["label"]
                    change = at["change_percent"] if key == "bpp" else known and 100 * (bpp / jpeg_bpp - 1)
                    cells.append(_number(bpp) + (f" ({_signed(change)})" if known else ""))
            lines.append(f"| {name} | {place} | {' | '.join(cells)} |")
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
    """What `bench` found for a few models on one machine, and `bench --viewer` for the first, as a table."""
    lines = [
        f"| on {benches[0]['machine']} | {' | '.join(bench['model'] for bench in benches)} |",
        "|---|" + "---|" * len(benches),
    ]
    for what in (what for what in SPEEDS if any(what in bench for bench in benches)):
        values = [f"{bench[what]:,}" if what in bench else "–" for bench in benches]
        lines.append(f"| {what} | {' | '.join(values)} |")
    more = " |" * (len(benches) - 1)
    lines += [f"| {what} | {value:,} |{more}" for what, value in viewer.items() if what.startswith("JupyterLab: ")]
    return "\n".join(lines) + "\n"


def report(summary: dict) -> str:
    """The whole summary for people: where the curve stands against everybody, and what every iteration adds."""
    encode_s = [point["encode_s"] for point in summary["curve"]]
    lines = [
        f"# {label(summary)} on {summary['pictures']} pictures ({summary['set']})",
        "",
        f"Sizes are bytes of real files, headers included. {summary['averaging']} JPEG: "
        f"{summary['jpeg']['encoder']}, {summary['jpeg']['subsampling']}, optimised Huffman tables, the standard's "
        f"quantisation tables (mozjpeg's are measured beside them). "
        f"{_ran(summary)}{summary['date']}.",
        "",
        table(summary),
        *_bars_table(summary["bars"]),
        *_aims_table(summary["aims"]),
        *coding_table(summary["coding"]),
        *_opponents_table(summary["opponents"]),
        *_moved_table(summary["opponents"]),
        *_published_table(summary["published"]),
        "The colour shift is the mean of I - P over all pixels and pictures, of R, G or B, whichever is largest. "
        f"Processor seconds are for {'the whole file' if summary.get('slopes') else 'all iterations so far'}, on "
        f"{summary['machine']}" + ("; none where files had been made beforehand." if None in encode_s else "."),
        "",
        f"| {'slope' if summary.get('slopes') else 'iteration'} | bpp, bits as they are | bpp, counted | bpp | "
        "PSNR, dB | SSIM | MS-SSIM | MS-SSIM gained | MS-SSIM one pixel on | colour shift, levels | encoding, s | "
        "decoding, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    before = None
    slopes = dict(enumerate(summary.get("slopes", ()), start=1))
    for point in summary["curve"]:
        gained = "" if before is None else f"{point['ms_ssim'] - before:+.4f}"
        psnr_db = "∞" if point["psnr_db"] is None else f"{point['psnr_db']:.2f}"
        rates = " | ".join(f"{point[key]:.4f}" for key in ("raw_bpp", "counted_bpp", "bpp"))
        levels = f"{point['ssim']:.4f} | {point['ms_ssim']:.4f} | {gained} | {point['ms_ssim_moved']:.4f}"
        readings = f"{psnr_db} | {levels} | {point['colour_shift']:.2f}"
        where = slopes.get(point["point"], point["point"])
        where = "all go on" if slopes and where == ALL else where
        seconds = " | ".join("" if each is None else f"{each:.2f}" for each in (point["encode_s"], point["decode_s"]))
        lines.append(f"| {where} | {rates} | {readings} | {seconds} |")
        before = point["ms_ssim"]
    return "\n".join(lines) + "\n"


def _ran(summary: dict) -> str:
    """What the networks ran in, where the summary says it."""
    if "precision" in summary:
        return f"The networks ran in {summary['precision']}. "
    return "Some of these files were made in bfloat16; all were decoded in float32. " if summary.get("slopes") else ""


def _bars_table(bars: list[dict]) -> list[str]:
    if not bars:
        return []
    lines = [
        "What these weights were to reach, against a yardstick that was set before anything here was measured: "
        "optimised JPEG 4:2:0, put together from others' curves. The JPEG measured here takes a little less; the last "
        "columns are against that:",
        "",
        "| bits | MS-SSIM | bpp | yardstick, bpp | file size against it | to reach | | against JPEG as measured | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in bars:
        reached = row["bpp"] is not None
        ours = (
            f"{row['bpp']:.3f} | {row['yardstick_bpp']:.3f} | {row['change_percent']:+.1f} %"
            if reached
            else "– | – | –"
        )
        met, measured = (
            "met" if row[key] else f"short by {_points(row[change], row['bar_percent'])}" if reached else "not reached"
            for key, change in (("met", "change_percent"), ("measured_met", "measured_percent"))
        )
        lines.append(
            f"| {WORDS[row['bits']]} | {row['ms_ssim']:.2f} | {ours} | {row['bar_percent']} % | {met} | "
            f"{_signed(row['measured_percent'])} | {measured} |"
        )
    return [*lines, ""]


def _aims_table(aims: list[dict]) -> list[str]:
    lines = ["What else these weights were to reach:", "", "| | asked | reached | |", "|---|---|---|---|"]
    for row in aims:
        lines.append(f"| {row['what']} | {row['aim']} | {_plain(row)} | {'met' if row['met'] else 'missed'} |")
    return [*lines, ""] if aims else []


def coding_table(rows: list[dict]) -> list[str]:
    """What coding the bits saves at equal MS-SSIM, as lines."""
    lines = [
        "What coding the bits saves: files of the same bits stored as they are, coded with counts of what was there "
        "before, and coded by the network that was trained for these bits. In bits per pixel:",
        "",
        "| MS-SSIM | as they are | counted | learned | saved |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        rates = [_number(row[key], 4) for key in ("raw_bpp", "counted_bpp", "bpp")]
        saved = "–" if row["saved_percent"] is None else f"{row['saved_percent']:.1f} %"
        lines.append(f"| {row['ms_ssim']:.2f} | {' | '.join(rates)} | {saved} |")
    return [*lines, ""]


def _opponents_table(opponents: list[dict]) -> list[str]:
    lines = [
        "Our file size against each opponent's, by two averages: from the mean curves, and from each picture's own "
        "size at that MS-SSIM (of the smallest file if that is better), then the mean over the pictures on which both "
        "get there: where one does not, that picture is left out, which flatters the one. How many are left stands "
        "behind it where they are not all. Won: on how many pictures ours is the smaller file, or the only one.",
        "",
        *_changes(opponents, opponents),
        "",
        "Over all qualities that both reach, how many percent more bits ours takes (Bjøntegaard: the mean difference "
        "of the rates' logarithms over MS-SSIM in decibels, curves drawn with PCHIP); and the opponent's area under "
        "MS-SSIM from 0.125 to 2 bits per pixel, flat from where its curve ends (a dash: its smallest files are larger "
        "than that).",
        "",
        "| against | Bjøntegaard, MS-SSIM in dB | up to MS-SSIM | Bjøntegaard, PSNR | area |",
        "|---|---|---|---|---|",
    ]
    for row in opponents:
        ms_ssim, psnr = (_signed(row[f"bjontegaard_{metric}_percent"]) for metric in ("ms_ssim", "psnr"))
        reached = f"{row['bjontegaard_up_to']:.3f}"
        lines.append(f"| {row['label']} | {ms_ssim} | {reached} | {psnr} | {_number(row['area'])} |")
    return [*lines, ""]


def _moved_table(opponents: list[dict]) -> list[str]:
    changes = [
        f"{row['label']} {_signed(row['moved']['bjontegaard_ms_ssim_percent'])} "
        f"(up to {row['moved']['bjontegaard_up_to']:.3f})"
        for row in opponents
    ]
    return [
        "MS-SSIM halves a picture by means of 2 x 2 pixels, the first of which begin in its corner, as they did for "
        "all of the above. The same files and averages, where they begin one pixel further down and to the right:",
        "",
        *_changes(opponents, [row["moved"] for row in opponents]),
        "",
        f"Bjøntegaard's difference there: {', '.join(changes)}.",
        "",
    ]


def _changes(opponents: list[dict], readings: list[dict]) -> list[str]:
    """Our size against each opponent's by two averages, and on how many pictures it is the smaller, as lines."""
    lines = [f"| against | average | {' | '.join(LEVELS)} |", "|---|---|" + "---|" * len(LEVELS)]
    for opponent, found in zip(opponents, readings, strict=True):
        most = max(at["pictures"] for at in found["per_picture"])
        curves = [_signed(at["change_percent"]) for at in found["at_equal_ms_ssim"]]
        each = [
            _signed(at["change_percent"]) + (f" ({at['pictures']} of {most})" if 0 < at["pictures"] < most else "")
            for at in found["per_picture"]
        ]
        won = [f"{at['won']} of {at['counted']}" for at in found["per_picture"]]
        lines.append(f"| {opponent['label']} | mean curves | {' | '.join(curves)} |")
        lines.append(f"| | per picture | {' | '.join(each)} |")
        lines.append(f"| | won | {' | '.join(won)} |")
    return lines


def _published_table(rows: list[dict]) -> list[str]:
    if not rows:
        return []
    lines = [
        "Beside what others have published (sources: [published.json](../published.json)), bits per pixel at equal "
        "MS-SSIM; the last columns are Bjøntegaard's difference (MS-SSIM in dB) from the JPEG measured here, and the "
        "area:",
        "",
        f"| | {' | '.join(LEVELS)} | against JPEG | area |",
        "|---|" + "---|" * (len(LEVELS) + 2),
    ]
    for row in rows:
        rates = [_number(at["bpp"]) for at in row["at_equal_ms_ssim"]]
        change = _signed(row["bjontegaard_ms_ssim_percent"])
        lines.append(f"| {row['name']} | {' | '.join(rates)} | {change} | {_number(row['area'])} |")
    return [*lines, ""]


def _points(percent: float, bar_percent: float) -> str:
    """How far a change is from its bar; a bar that is missed is never missed by nothing."""
    short = percent - bar_percent
    return f"{short:.1f} points" if short >= 0.05 else "less than 0.1 points"


def _signed(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:+.1f} %"


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _plain(aim: dict) -> str:
    return "–" if aim["reached"] is None else f"{aim['reached']:.5g}"


def _more(percent: float) -> str:
    return f"{abs(percent):.1f} % {'more' if percent > 0 else 'fewer'}"
