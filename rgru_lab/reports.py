"""What `comparing` found, for people: Markdown tables and the page of a model's results."""

from rgru_lab.adaptive import ALL
from rgru_lab.comparing import TARGETS

LEVELS = [f"{target:.2f}" for target in TARGETS]

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
        change = signed(row["change_percent"])
        lines.append(f"| {row['ms_ssim']:.2f} | {reached(summary, row)} | {jpegs(row)} | {change} |")
    return "\n".join(lines) + "\n"


def reached(summary: dict, row: dict) -> str:
    """Our bits per pixel at a quality, or why there are none."""
    best = max(point["ms_ssim"] for point in summary["curve"])
    return f"{row['bpp']:.3f}" if row["bpp"] else "not reached" if row["ms_ssim"] > best else "begins above it"


def jpegs(row: dict) -> str:
    return f"{row['their_bpp']:.3f}" if row["their_bpp"] else "not measured"


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
                    cells.append(number(bpp) + (f" ({signed(change)})" if known else ""))
            lines.append(f"| {name} | {place} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def report(summary: dict) -> str:
    """The whole summary for people: where the curve stands against everybody, and what every iteration adds."""
    encode_s = [point["encode_s"] for point in summary["curve"]]
    lines = [
        f"# {label(summary)} on {summary['pictures']} pictures ({summary['set']})",
        "",
        f"Sizes are bytes of real files, headers included. {summary['averaging']} JPEG: "
        f"{summary['jpeg']['encoder']}, {summary['jpeg']['subsampling']}, optimised Huffman tables, the standard's "
        f"quantisation tables{_mozjpegs(summary)}. "
        f"{_ran(summary)}{summary['date']}.",
        "",
        table(summary),
        *_bars_table(summary["bars"]),
        *_aims_table(summary["aims"]),
        *coding_table(summary["coding"]),
        *_opponents_table(summary["opponents"]),
        *_moved_table(summary["opponents"]),
        *_published_table(summary["published"]),
        "The colour shift is the mean of I - P over all pixels and pictures, of R, G or B, whichever is largest; that "
        "of a picture is of its own worst colour, without the sign, averaged over the pictures. "
        f"Processor seconds are for {'the whole file' if summary.get('slopes') else 'all iterations so far'}, on "
        f"{summary['machine']}" + ("; none where files had been made beforehand." if None in encode_s else "."),
        "",
        f"| {'slope' if summary.get('slopes') else 'iteration'} | bpp, bits as they are | bpp, counted | bpp | "
        "PSNR, dB | SSIM | MS-SSIM | MS-SSIM gained | MS-SSIM one pixel on | colour shift, levels | "
        "of a picture, levels | encoding, s | decoding, s |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    before = None
    slopes = dict(enumerate(summary.get("slopes", ()), start=1))
    for point in summary["curve"]:
        gained = "" if before is None else f"{point['ms_ssim'] - before:+.4f}"
        psnr_db = "∞" if point["psnr_db"] is None else f"{point['psnr_db']:.2f}"
        rates = " | ".join(f"{point[key]:.4f}" for key in ("raw_bpp", "counted_bpp", "bpp"))
        levels = f"{point['ssim']:.4f} | {point['ms_ssim']:.4f} | {gained} | {point['ms_ssim_moved']:.4f}"
        readings = f"{psnr_db} | {levels} | {point['colour_shift']:.2f} | {point['colour_shift_of_a_picture']:.2f}"
        where = slopes.get(point["point"], point["point"])
        where = "all go on" if slopes and where == ALL else where
        seconds = " | ".join("" if each is None else f"{each:.2f}" for each in (point["encode_s"], point["decode_s"]))
        lines.append(f"| {where} | {rates} | {readings} | {seconds} |")
        before = point["ms_ssim"]
    return "\n".join(lines) + "\n"


def _mozjpegs(summary: dict) -> str:
    there = any(row["codec"] == "jpeg-mozjpeg-table" for row in summary["opponents"])
    return " (mozjpeg's are measured beside them)" if there else ""


def _ran(summary: dict) -> str:
    """What the networks ran in, where the summary says it."""
    if "precision" in summary:
        rough = ", of very smooth pictures in their first iteration alone" if summary["precision"] == "bfloat16" else ""
        return f"The networks ran in {summary['precision']}{rough}. "
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
        there = row["bpp"] is not None
        ours = (
            f"{row['bpp']:.3f} | {row['yardstick_bpp']:.3f} | {row['change_percent']:+.1f} %" if there else "– | – | –"
        )
        met, measured = (
            "met" if row[key] else f"short by {points(row[change], row['bar_percent'])}" if there else "not reached"
            for key, change in (("met", "change_percent"), ("measured_met", "measured_percent"))
        )
        lines.append(
            f"| {WORDS[row['bits']]} | {row['ms_ssim']:.2f} | {ours} | {row['bar_percent']} % | {met} | "
            f"{signed(row['measured_percent'])} | {measured} |"
        )
    return [*lines, ""]


def _aims_table(aims: list[dict]) -> list[str]:
    lines = ["What else these weights were to reach, and the same with MS-SSIM one pixel on (see below):", ""]
    lines += ["| | asked | reached | | one pixel on |", "|---|---|---|---|---|"]
    for row in aims:
        met = "met" if row["met"] else "missed"
        lines.append(f"| {row['what']} | {row['aim']} | {plain(row)} | {met} | {plain(row, 'moved')} |")
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
        rates = [number(row[key], 4) for key in ("raw_bpp", "counted_bpp", "bpp")]
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
        ms_ssim, psnr = (signed(row[f"bjontegaard_{metric}_percent"]) for metric in ("ms_ssim", "psnr"))
        reached = f"{row['bjontegaard_up_to']:.3f}"
        lines.append(f"| {row['label']} | {ms_ssim} | {reached} | {psnr} | {number(row['area'])} |")
    return [*lines, ""]


def _moved_table(opponents: list[dict]) -> list[str]:
    changes = [
        f"{row['label']} {signed(row['moved']['bjontegaard_ms_ssim_percent'])} "
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
        curves = [signed(at["change_percent"]) for at in found["at_equal_ms_ssim"]]
        each = [
            signed(at["change_percent"]) + (f" ({at['pictures']} of {most})" if 0 < at["pictures"] < most else "")
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
        rates = [number(at["bpp"]) for at in row["at_equal_ms_ssim"]]
        change = signed(row["bjontegaard_ms_ssim_percent"])
        lines.append(f"| {row['name']} | {' | '.join(rates)} | {change} | {number(row['area'])} |")
    return [*lines, ""]


def points(percent: float, bar_percent: float) -> str:
    """How far a change is from its bar; a bar that is missed is never missed by nothing."""
    short = percent - bar_percent
    return f"{short:.1f} points" if short >= 0.05 else "less than 0.1 points"


def signed(percent: float | None) -> str:
    return "–" if percent is None else f"{percent:+.1f} %"


def number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def plain(aim: dict, key: str = "reached") -> str:
    return "–" if aim[key] is None else f"{aim[key]:.5g}"
