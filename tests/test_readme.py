"""The sentences and tables of the README: their words follow the numbers."""

import json

from rgru_lab import comparing, model, readme, release, reports


def _summary(change=-36.0, psnr=12.3, bjontegaard=-28.6, moved=-30.5):
    at = [{"ms_ssim": level, "bpp": 0.2, "their_bpp": 0.3, "change_percent": change} for level in (0.90, 0.95, 0.98)]
    won = [
        {"ms_ssim": level, "won": won, "counted": 24, "change_percent": -33.0}
        for level, won in ((0.90, 24), (0.95, 23), (0.98, 15))
    ]
    jpeg = {
        "codec": "jpeg",
        "label": "JPEG",
        "at_equal_ms_ssim": at,
        "per_picture": won,
        "bjontegaard_ms_ssim_percent": bjontegaard,
        "bjontegaard_up_to": 0.985,
        "bjontegaard_psnr_percent": psnr,
        "moved": {
            "at_equal_ms_ssim": [row | {"change_percent": moved} for row in at],
            "per_picture": [row | {"won": row["won"] - 3} for row in won],
            "bjontegaard_ms_ssim_percent": -22.2,
            "bjontegaard_up_to": 0.972,
        },
    }
    missing = [{"ms_ssim": 0.90, "bpp": None}, {"ms_ssim": 0.95, "bpp": 0.255}, {"ms_ssim": 0.98, "bpp": 0.591}]
    return {
        "model": "small-9",
        "curve": [{"point": i, "bpp": 0.1 * i, "ms_ssim": level} for i, level in ((1, 0.9), (2, 0.985), (3, 0.984))],
        "at_equal_ms_ssim": at,
        "opponents": [jpeg],
        "published": [
            {"name": "ours", "at_equal_ms_ssim": missing},
            {"name": "ours, bits as they are", "at_equal_ms_ssim": missing},
            {"name": "Hyperprior", "at_equal_ms_ssim": missing},
            {"name": comparing.AUTHORS, "at_equal_ms_ssim": [{"ms_ssim": 0.90, "bpp": 0.27}, *missing[1:]]},
        ],
    }


def test_the_verdict_says_what_is_saved_beside_the_authors_and_where_it_ends():
    text = readme.verdict(_summary(), 25)
    assert "a file of small-9 takes 36.0 % fewer bits than the JPEG. (The 25 % that" in text
    assert "as published, takes 10.0 % fewer on these 24.)" in text
    assert (
        "the smaller file on 24 of 24 photographs at 0.90, on 23 of 24 at 0.95 and on 15 of 24 at 0.98. (Each" in text
    )
    assert (
        "own sizes at 0.90, and then their mean: 33.0 % fewer.) Over all qualities that both reach, up to 0.985,"
        in text
    )
    assert "it takes 28.6 % fewer bits than JPEG" in text
    assert "One pixel on (see below) it takes 30.5 % fewer bits at 0.90, is the smaller file on 21 of 24" in text
    assert (
        "photographs, on 20 of 24 and on 12 of 24, and takes 22.2 % fewer over all qualities, which end at 0.972 there."
        in text
    )
    assert "By PSNR, which counts squared errors alone, they take 12.3 % more bits than JPEG" in text
    assert "ends at MS-SSIM 0.985, with iteration 2 and 0.20 bits per pixel" in text


def test_the_verdict_admits_what_is_missed():
    text = readme.verdict(_summary(change=-21.5, psnr=-3.0, bjontegaard=4.0, moved=2.5), 25)
    assert "takes 21.5 % fewer bits than the JPEG" in text
    assert "it takes 4.0 % more bits than JPEG" in text
    assert "it takes 2.5 % more bits at 0.90" in text
    assert "they take 3.0 % fewer bits" in text


def test_the_verdict_says_how_ours_stands_against_the_smallest_jpeg_at_each_quality():
    summary = _summary()
    assert "(they are below) it takes 21.0 % fewer at 0.90 (JPEG), " in readme.verdict(_summary(change=-21.0), 25)
    other = summary["opponents"][0] | {"codec": "jpeg-444", "label": "JPEG 4:4:4"}
    at = [
        row | {"their_bpp": 0.25, "change_percent": 5.0} if row["ms_ssim"] == 0.98 else row | {"their_bpp": 0.35}
        for row in other["at_equal_ms_ssim"]
    ]
    webp = other | {"codec": "webp", "label": "WebP", "at_equal_ms_ssim": [row | {"their_bpp": 0.1} for row in at]}
    summary["opponents"] += [other | {"at_equal_ms_ssim": at}, webp]
    said = readme.verdict(summary, 25).partition("whichever JPEG is smallest")[2].partition("\n")[0]
    assert said.count("(JPEG)") == 2
    assert said.endswith(", 5.0 % more at 0.98 (JPEG 4:4:4).")


def test_adaptive_results_say_so_wherever_they_stand():
    summary = _summary() | {"model": "best-1", "slopes": [0.1, 0.01]}
    assert reports.label(summary) == "best-1, adaptive"
    assert "| **best-1, adaptive** |" in readme.standings([summary])
    assert "| MS-SSIM | best-1, adaptive, bpp |" in reports.table(summary)
    bars = [{"bits": "coded", "ms_ssim": 0.9, "change_percent": -50.0, "bar_percent": -61, "met": False}]
    bars[0] |= {"measured_percent": -48.0, "measured_met": False}
    said = "best-1, adaptive reaches none of its 1 and is short by 11.0 points at 0.90 (coded bits)."
    assert said in readme.bars_met([summary | {"bars": bars, "aims": []}])


def test_weights_stand_side_by_side_against_the_same_jpeg():
    ends = {"ms_ssim": 0.99, "bpp": None, "their_bpp": 1.7, "change_percent": None}
    begins = {"ms_ssim": 0.85, "bpp": None, "their_bpp": None, "change_percent": None}
    one, other = _summary(), _summary(change=-50.0) | {"model": "best-9", "slopes": [0.1]}
    for summary in (one, other):
        summary["at_equal_ms_ssim"] = [begins, summary["at_equal_ms_ssim"][0], ends]
    assert readme.side_by_side([one, other]).splitlines() == [
        "| MS-SSIM | JPEG, bpp | small-9 | best-9, adaptive |",
        "|---|---|---|---|",
        "| 0.85 | not measured | begins above it | begins above it |",
        "| 0.90 | 0.300 | 0.200 (-36.0 %) | 0.200 (-50.0 %) |",
        "| 0.99 | 1.700 | not reached | not reached |",
        "| Bjøntegaard, by MS-SSIM | | -28.6 % | -28.6 % |",
        "| Bjøntegaard, by PSNR | | +12.3 % | +12.3 % |",
    ]


def test_standings_list_ours_once_then_the_measured_then_the_published():
    lines = readme.standings([_summary(), _summary() | {"model": "base-3"}]).splitlines()
    assert lines[2:] == [
        "| **small-9** | 0.200 | 0.200 | 0.200 |",
        "| **base-3** | 0.200 | 0.200 | 0.200 |",
        "| JPEG | 0.300 | 0.300 | 0.300 |",
        "| small-9, bits as they are | – | 0.255 | 0.591 |",
        "| *Hyperprior* | – | 0.255 | 0.591 |",
        f"| *{comparing.AUTHORS}* | 0.270 | 0.255 | 0.591 |",
    ]


def test_aims_that_are_missed_are_named_with_how_far():
    def bar(bits, level, change, met):
        return {"bits": bits, "ms_ssim": level, "change_percent": change, "bar_percent": -30, "met": met} | {
            "measured_met": met and change < -31
        }

    aims = [
        {"what": "colour shift, levels", "aim": "at most 1", "reached": 1.3514, "met": False},
        {"what": "wins", "aim": "at least 22", "reached": 23, "met": True},
    ]
    whole = {"model": "small-9", "bars": [bar("raw", 0.90, -31.0, True), bar("coded", 0.90, -40.0, True)], "aims": []}
    bars = [bar("raw", 0.90, -31.0, True), bar("coded", 0.95, -28.5, False), bar("raw", 0.98, None, False)]
    text = readme.bars_met(
        [whole, {"model": "base-9", "bars": bars, "aims": aims}, {"model": "micro-1", "bars": [], "aims": []}]
    )
    assert "small-9 reaches both that were set for it. base-9 reaches 1 of its 3 and is short" in text
    assert "by 1.5 points at 0.95 (coded bits), of 0.98, which it does not reach (bits as they are)." in text
    assert "micro-1" not in text
    assert "against that these are reached: small-9 1 of 2; base-9 0 of 3." in text
    assert text.endswith("this is missed. colour shift, levels (asked: at most 1): base-9 1.3514.\n")
    one = readme.bars_met([{"model": "fast-9", "bars": bars[:1], "aims": aims[1:]}])
    assert "fast-9 reaches the one that was set for it." in one
    assert "missed" not in one


def test_the_caption_of_the_claim_says_what_was_compared():
    found = {"ms_ssim": 0.9004, "jpeg_ms_ssim": 0.8991, "size_bytes": 1585, "jpeg_size_bytes": 2840}
    text = readme.claim(found | {"smaller_percent": 44.2, "model": "best-1", "iterations": 3}, 0.9, 25)
    assert "0.9004 and 0.8991, ours takes 1,585 bytes and the JPEG 2,840: ours is 44 % smaller" in text
    assert "Announced were 25 % at 0.90. Ours is an adaptive file of best-1 of up to 3 iterations" in text


def test_the_speeds_are_those_of_the_benchmarks_beside_each_other():
    first, second = ({"machine": "x86_64, 2 threads", "model": name} for name in ("small-9", "fast-9"))
    first |= dict.fromkeys(readme.SPEEDS, 12.5) | {"something else": 3}
    second |= {readme.SPEEDS[0]: 1250}
    text = readme.speed([first, second], {"JupyterLab: cell start to first visible frame, s": 1.9, "payload, MB": 6})
    lines = text.splitlines()
    assert lines[:5] == [
        "| | small-9 | fast-9 |",
        "|---|---|---|",
        "| machine | x86_64, 2 threads | x86_64, 2 threads |",
        "| encoding, 16 iterations at 768 x 512, s | 12.5 | 1,250 |",
        "| decoding, s per iteration at 768 x 512 | 12.5 | – |",
    ]
    assert lines[-1] == "| JupyterLab: cell start to first visible frame, s | 1.9 | |"
    assert len(lines) == 4 + len(readme.SPEEDS)


def test_every_speed_of_the_readme_is_one_that_bench_measures():
    measured = json.loads((release.RESULTS / f"bench-{model.newest('small')}.json").read_text(encoding="utf-8"))
    halves = {what for what in readme.SPEEDS if what.startswith("bfloat16, ")} - {readme.HALVES_PAY}
    assert set(readme.SPEEDS) - halves <= set(measured)
    if measured[readme.HALVES_PAY] > 1:
        assert halves <= set(measured)


def test_a_speed_that_none_of_the_models_has_is_no_row():
    """Without bfloat16 there is nothing to say of it."""
    bench = {"machine": "x86_64", "model": "small-9"} | dict.fromkeys(readme.SPEEDS[1:], 12.5)
    assert readme.SPEEDS[0] not in readme.speed([bench], {})
    assert readme.SPEEDS[1] in readme.speed([bench], {})
