"""Comparing: curves, rates, averages, wins and bars, each by hand; and the tables that people read."""

import json
import re
from types import SimpleNamespace

import numpy as np
import pytest

from rgru_lab import comparing, reports
from rgru_lab.measuring import COLUMNS
from rgru_lab.opponents import CODECS

WEIGHTS = SimpleNamespace(name="small-9", sha256="00" * 32)


def _row(codec, point, bpp, ms_ssim, picture="a.png", shift=(0.0, 0.0, 0.0), raw_bytes=1000, counted_bytes=1000):
    sizes = (1000, None, None) if codec in CODECS else (1000, raw_bytes, counted_bytes)
    seconds = (None, None) if codec in CODECS else (0.25, 0.125)
    readings = (picture, codec, point, *sizes, bpp, 30.0 + point, 0.5, ms_ssim, ms_ssim - 0.01, 4.0, *shift, *seconds)
    return dict(zip(COLUMNS, readings, strict=True))


JPEG_ROWS = [_row("jpeg", 5, 0.1, 0.8), _row("jpeg", 95, 2.0, 0.99)]


def _summary(points, set_name="kodak", weights=WEIGHTS, raw_bytes=1000):
    """Of one picture with these (bpp, MS-SSIM); every file has 1000 bytes, and would have `raw_bytes` with raw bits."""
    rows = [_row(weights.name, i, *point, raw_bytes=raw_bytes) for i, point in enumerate(points, start=1)]
    return comparing.summarise(weights, set_name, rows, JPEG_ROWS)


def test_a_summary_says_on_what_it_was_measured():
    machine = comparing.provenance()["machine"]
    assert re.fullmatch(r"\w+ \w+ \([\w ]+\), \d+ logical cores, Python 3\.\d+\.\d+\S*", machine)


def test_the_curve_has_the_largest_channels_mean_shift_with_its_sign():
    """Red -2 and -4 make -3; green +9 and -9 make 0 over the pictures, and 9 of each; blue +2 and +1 make +1.5."""
    rows = [
        _row("small-9", 1, 0.2, 0.9, "a.png", (-2.0, 9.0, 2.0)),
        _row("small-9", 1, 0.4, 0.8, "b.png", (-4.0, -9.0, 1.0)),
    ]
    (point,) = comparing.mean_curve(rows)
    assert point == {
        "point": 1,
        "bpp": pytest.approx(0.3),
        "psnr_db": 31.0,
        "ssim": 0.5,
        "ms_ssim": pytest.approx(0.85),
        "ms_ssim_moved": pytest.approx(0.84),
        "encode_s": 0.25,
        "decode_s": 0.125,
        "raw_bpp": pytest.approx(0.3),
        "counted_bpp": pytest.approx(0.3),
        "colour_shift": -3.0,
        "colour_shift_of_a_picture": 9.0,
    }
    jpeg = [row | {"picture": name} for name in ("a.png", "b.png") for row in JPEG_ROWS]
    summary = comparing.summarise(WEIGHTS, "kodak", rows, jpeg)
    assert summary["pictures"] == 2
    line = "| 1 | 0.3000 | 0.3000 | 0.3000 | 31.00 | 0.5000 | 0.8500 |  | 0.8400 | -3.00 | 9.00 | 0.25 | 0.12 |"
    assert line in reports.report(summary).splitlines()


def test_seconds_that_are_not_known_of_one_picture_have_no_mean():
    rows = [_row("small-9", 1, 0.2, 0.9, "a.png"), _row("small-9", 1, 0.4, 0.8, "b.png") | {"encode_s": None}]
    jpeg = [row | {"picture": name} for name in ("a.png", "b.png") for row in JPEG_ROWS]
    page = reports.report(comparing.summarise(WEIGHTS, "kodak", rows, jpeg))
    assert "| 0.8500 |  | 0.8400 | 0.00 | 0.00 |  | 0.12 |" in page
    assert "none where files had been made beforehand." in page
    assert "beforehand" not in reports.report(_summary([(0.1, 0.85)]))


def test_bars_are_those_of_the_encoders_first_idea_not_of_a_search():
    rows = [_row("small-9", 1, 0.2, 0.9), _row("small-9", 2, 0.4, 0.95)]
    first, searched = (comparing.summarise(WEIGHTS, "kodak", rows, JPEG_ROWS, search=steps) for steps in (0, 20))
    assert first["bars"]
    assert first["aims"]
    assert searched["bars"] == searched["aims"] == []
    assert reports.label(searched) == "small-9, searched"


def test_bars_by_hand_met_missed_and_out_of_reach():
    """At 0.90: 0.2 of 0.2864 bpp is 30.2 % less, asked are 22. At 0.95: 0.45 of 0.507 is 11.2 % less, asked are 20.

    The JPEG measured here goes from 0.1 bpp at 0.8 to 2.0 at 0.99: 1.1 at 0.90, 1.6 at 0.95, so both are met there.
    """
    summary = _summary([(0.1, 0.85), (0.2, 0.90), (0.45, 0.95), (0.6, 0.97)])
    low, middle, high = summary["bars"][:3]
    assert low == {
        "bits": "raw",
        "ms_ssim": 0.90,
        "bpp": 0.2,
        "yardstick_bpp": 0.2864,
        "change_percent": -30.2,
        "measured_percent": -81.8,
        "bar_percent": -22,
        "met": True,
        "measured_met": True,
    }
    assert (middle["bpp"], middle["change_percent"], middle["bar_percent"], middle["met"]) == (0.45, -11.2, -20, False)
    assert (high["bpp"], high["change_percent"], high["bar_percent"], high["met"]) == (None, None, -10, False)
    lines = reports.report(summary).splitlines()
    assert "| bits as they are | 0.90 | 0.200 | 0.286 | -30.2 % | -22 % | met | -81.8 % | met |" in lines
    assert (
        "| bits as they are | 0.95 | 0.450 | 0.507 | -11.2 % | -20 % | short by 8.8 points | -71.9 % | met |" in lines
    )
    assert "| bits as they are | 0.98 | – | – | – | -10 % | not reached | – | not reached |" in lines


def test_a_bar_can_be_missed_against_the_jpeg_measured_here_alone():
    """0.2 bpp are 30.2 % less than the yardstick's 0.2864, and 20 % less than 0.25; asked are 22."""
    rows = [_row("small-9", i, *point) for i, point in enumerate([(0.1, 0.85), (0.2, 0.90)], start=1)]
    jpeg = [_row("jpeg", 5, 0.2, 0.8), _row("jpeg", 50, 0.3, 1.0)]
    summary = comparing.summarise(WEIGHTS, "kodak", rows, jpeg)
    low = summary["bars"][0]
    assert (low["met"], low["measured_met"], low["measured_percent"]) == (True, False, -20.0)
    line = "| bits as they are | 0.90 | 0.200 | 0.286 | -30.2 % | -22 % | met | -20.0 % | short by 2.0 points |"
    assert line in reports.report(summary).splitlines()


def test_bits_as_they_are_and_coded_ones_have_bars_of_their_own():
    """Files that would be a quarter larger with raw bits: 0.17 bpp are 40.6 % less than 0.2864, 0.2125 are 25.8 %."""
    bars = _summary([(0.1, 0.85), (0.17, 0.90)], raw_bytes=1250)["bars"]
    raw, coded = bars[0], bars[3]
    assert (raw["bits"], raw["bpp"], raw["change_percent"], raw["bar_percent"]) == ("raw", 0.2125, -25.8, -22)
    assert (coded["bits"], coded["bpp"], coded["change_percent"], coded["bar_percent"]) == ("coded", 0.17, -40.6, -38)


def _aims(summary):
    return {row["what"]: (row["reached"], row["met"]) for row in summary["aims"]}


def test_what_else_is_asked_by_hand():
    """MS-SSIM of .85, .90, .8999: the worst iteration loses .0001; blue is off by -1.5 levels in the first."""
    rows = [_row("small-9", i, 0.1 * i, q) for i, q in ((1, 0.85), (2, 0.90), (3, 0.8999))]
    rows[0]["shift_b"] = -1.5
    summary = comparing.summarise(WEIGHTS, "kodak", rows, JPEG_ROWS)
    assert _aims(summary) == {comparing.RISING: (-0.0001, False), comparing.SHIFT: (1.5, False)}
    lines = reports.report(summary).splitlines()
    assert "| Colour shift of the worst iteration, levels | at most 1 | 1.5 | missed | – |" in lines
    assert "| MS-SSIM that the worst iteration adds | over 0 | -0.0001 | missed | -0.0001 |" in lines
    rows[0]["shift_b"], rows[2]["ms_ssim"] = 1.0, 0.9001
    found = _aims(comparing.summarise(WEIGHTS, "kodak", rows, JPEG_ROWS))
    assert found == {comparing.RISING: (0.0001, True), comparing.SHIFT: (1.0, True)}
    assert comparing.summarise(WEIGHTS, "holiday", rows, JPEG_ROWS)["aims"] == []


@pytest.mark.parametrize(("bpp", "met"), [(0.09999, True), (0.10001, False)])
def test_half_of_jpegs_bits_is_met_before_rounding_and_webp_counts_where_it_is_hardest(bpp, met):
    """JPEG and WebP have one straight curve of .2 and 2 bpp; ours is half of that, but for a ten-thousandth."""
    best = SimpleNamespace(name="best-9", sha256="")
    theirs = [
        _row(codec, i, rate, q) for codec in ("jpeg", "webp") for i, (rate, q) in enumerate([(0.2, 0.8), (2, 0.99)])
    ]
    ours = [_row("best-9", 1, bpp, 0.8), _row("best-9", 2, 10 * bpp, 0.99)]
    summary = comparing.summarise(best, "kodak", ours, theirs, slopes=(1.0, 0.5))
    halved = (pytest.approx(100 * (bpp / 0.2 - 1), abs=1e-4), met)
    assert _aims(summary) == {comparing.BJONTEGAARD: halved, comparing.SMALLER: (1, False)}
    ours[1:] = [_row("best-9", 2, 0.2, 0.97), _row("best-9", 3, 4.0, 0.99)]  # WebP's is smaller at 0.98 alone
    assert _aims(comparing.summarise(best, "kodak", ours, theirs, slopes=(1.0, 0.5)))[comparing.SMALLER][0] == 0
    for row in ours:  # one pixel on it ends below 0.98
        row["ms_ssim_moved"] = min(row["ms_ssim"], 0.975)
    for row in theirs:
        row["ms_ssim_moved"] = row["ms_ssim"]
    ours[1:] = [_row("best-9", 2, 10 * bpp, 0.99) | {"ms_ssim_moved": 0.975}]
    moved = {row["what"]: row["moved"] for row in comparing.summarise(best, "kodak", ours, theirs, slopes=(1,))["aims"]}
    assert moved[comparing.SMALLER] == 0 < _aims(summary)[comparing.SMALLER][0]
    assert moved[comparing.BJONTEGAARD] != halved[0]


def test_what_coding_saves_is_at_equal_quality_and_read_from_the_sizes_by_hand():
    """Files of 1000 bytes that would take 1250 with raw bits and 1100 counted: 0.2, 0.25 and 0.22 bpp."""
    rows = [
        _row("small-9", i, *at, raw_bytes=1250, counted_bytes=1100) for i, at in ((1, (0.1, 0.85)), (2, (0.2, 0.9)))
    ]
    summary = comparing.summarise(WEIGHTS, "kodak", rows, JPEG_ROWS)
    assert summary["coding"][1] == {
        "ms_ssim": 0.90,
        "raw_bpp": 0.25,
        "counted_bpp": 0.22,
        "bpp": 0.2,
        "saved_percent": 20.0,
    }
    lines = reports.report(summary).splitlines()
    assert "| 0.90 | 0.2500 | 0.2200 | 0.2000 | 20.0 % |" in lines
    assert "| 0.95 | – | – | – | – |" in lines


@pytest.mark.parametrize(("bpp", "met"), [(0.223392, True), (0.2234, False)])
def test_a_bar_is_met_at_its_own_value_and_not_by_rounding(bpp, met):
    """22 % less than 0.2864 bpp are 0.223392; 0.2234 are 21.997 % less, which is written as 22.0."""
    summary = _summary([(0.1, 0.85), (bpp, 0.90)])
    assert summary["bars"][0]["met"] is met
    said = "met" if met else "short by less than 0.1 points"
    assert f"| bits as they are | 0.90 | 0.223 | 0.286 | -22.0 % | -22 % | {said} |" in reports.report(summary)


@pytest.mark.parametrize(
    ("set_name", "name", "asked"),
    [
        ("kodak", "small-9", [-22, -20, -10, -38, -27, -12]),
        ("kodak", "base-1", [-30, -28, -20, -45, -36, -24]),
        ("kodak", "micro-1", []),
        ("holiday", "small-9", []),
    ],
)
def test_only_the_models_that_are_to_reach_something_have_bars_and_only_on_kodak(set_name, name, asked):
    weights = SimpleNamespace(name=name, sha256="")
    summary = _summary([(0.1, 0.85), (0.2, 0.90)], set_name, weights)
    assert [row["bar_percent"] for row in summary["bars"]] == asked
    assert ("yardstick" in reports.report(summary)) is bool(asked)


def test_a_page_says_that_mozjpegs_table_was_measured_only_where_it_was():
    summary = _summary([(0.2, 0.88), (0.7, 0.96)])
    said = "mozjpeg's are measured beside them"
    assert said not in reports.report(summary)
    other = summary["opponents"][0] | {"codec": "jpeg-mozjpeg-table", "label": "the other"}
    assert said in reports.report(summary | {"opponents": [*summary["opponents"], other]})


def test_a_rate_that_no_file_has_is_said_in_words():
    """The curve begins at 0.88 and ends at 0.96; JPEG's from 0.8 to 0.99."""
    lines = reports.table(_summary([(0.2, 0.88), (0.7, 0.96)])).splitlines()
    assert lines[2].startswith("| 0.85 | begins above it | 0.600 | – |")
    assert lines[3].startswith("| 0.90 | 0.325 | 1.100 | -70.5 % |")
    assert lines[5].startswith("| 0.97 | not reached | 1.800 | – |")


# --- two averages, and who wins ---


def _curve(codec, picture, *points):
    return [_row(codec, k, bpp, level, picture) for k, (bpp, level) in enumerate(points, start=1)]


def test_each_picture_has_its_own_size_then_the_mean_by_hand():
    """At .90 picture a needs .2 against .4 bpp, b .5 against .6: means .35 and .5, 30 % less; both are won."""
    ours = _curve("small-9", "a", (0.1, 0.8), (0.3, 1.0)) + _curve("small-9", "b", (0.4, 0.85), (0.6, 0.95))
    jpeg = _curve("jpeg", "a", (0.2, 0.8), (0.6, 1.0)) + _curve("jpeg", "b", (0.4, 0.8), (0.8, 1.0))
    assert comparing.per_picture(ours, jpeg, 0.9) == {
        "ms_ssim": 0.9,
        "pictures": 2,
        "bpp": 0.35,
        "their_bpp": 0.5,
        "change_percent": -30.0,
        "won": 2,
        "counted": 2,
    }


def test_who_alone_gets_there_wins_and_what_neither_reaches_is_not_counted():
    ours = _curve("small-9", "a", (0.1, 0.8), (0.3, 0.92)) + _curve("small-9", "b", (0.1, 0.8), (0.3, 0.97))
    ours += _curve("small-9", "c", (0.1, 0.8), (0.3, 0.9))
    jpeg = _curve("jpeg", "a", (0.1, 0.8), (0.3, 0.97)) + _curve("jpeg", "b", (0.1, 0.8), (0.3, 0.92))
    jpeg += _curve("jpeg", "c", (0.1, 0.8), (0.3, 0.9))
    found = comparing.per_picture(ours, jpeg, 0.95)
    assert (found["won"], found["counted"], found["pictures"], found["bpp"]) == (1, 2, 0, None)


def test_a_file_of_the_same_size_has_not_won():
    ours, jpeg = (_curve(codec, "a", (0.1, 0.8), (0.3, 1.0)) for codec in ("small-9", "jpeg"))
    found = comparing.per_picture(ours, jpeg, 0.9)
    assert (found["won"], found["counted"], found["change_percent"]) == (0, 1, 0.0)


def test_a_smallest_file_that_is_better_than_asked_counts_as_it_is():
    ours = _curve("small-9", "a", (0.1, 0.92), (0.3, 0.97))
    jpeg = _curve("jpeg", "a", (0.2, 0.8), (0.4, 1.0))
    found = comparing.per_picture(ours, jpeg, 0.9)
    assert (found["bpp"], found["their_bpp"], found["won"]) == (0.1, 0.3, 1)


def test_what_is_measured_one_pixel_on_is_compared_at_the_same_place():
    """At the corner JPEG needs .4 bpp for .90 and ours .3; one pixel on JPEG stays, and ours needs .48 for it."""
    jpeg = [row | {"ms_ssim_moved": row["ms_ssim"]} for row in _curve("jpeg", "a", (0.2, 0.8), (0.58, 0.99))]
    ours = _curve("small-9", "a", (0.1, 0.8), (0.48, 0.99))
    ours = [row | {"ms_ssim_moved": level} for row, level in zip(ours, (0.71, 0.9), strict=True)]
    summary = comparing.summarise(WEIGHTS, "holiday", ours, jpeg)
    (found,) = summary["opponents"]
    assert [at["change_percent"] for at in found["at_equal_ms_ssim"]][1] == -25.0
    assert [at["change_percent"] for at in found["moved"]["at_equal_ms_ssim"]][1] == 20.0
    assert (found["per_picture"][1]["won"], found["moved"]["per_picture"][1]["won"]) == (1, 0)
    assert found["moved"]["bjontegaard_ms_ssim_percent"] > found["bjontegaard_ms_ssim_percent"]
    corner, moved = (text.splitlines() for text in reports.report(summary).split("one pixel further down"))
    assert "| JPEG | mean curves | -33.3 % | -25.0 % | -20.0 % | -18.5 % | -17.9 % | -17.2 % |" in corner
    assert "| JPEG | mean curves | +26.7 % | +20.0 % | – | – | – | – |" in moved
    table = reports.both_places([summary]).splitlines()
    assert table[2:] == [
        "| JPEG | at the corner | 0.400 | 0.500 | 0.540 | 0.560 |",
        "| JPEG | one pixel on | 0.400 | 0.500 | 0.540 | 0.560 |",
        "| small-9 | at the corner | 0.300 (-25.0 %) | 0.400 (-20.0 %) | 0.440 (-18.5 %) | 0.460 (-17.9 %) |",
        "| small-9 | one pixel on | 0.480 (+20.0 %) | – | – | – |",
    ]


def test_the_order_of_rows_does_not_matter():
    ours = _curve("small-9", "a", (0.1, 0.8), (0.2, 0.9), (0.3, 1.0))
    jpeg = _curve("jpeg", "a", (0.2, 0.8), (0.6, 1.0))
    assert comparing.per_picture(ours[::-1], jpeg[::-1], 0.85) == comparing.per_picture(ours, jpeg, 0.85)


def test_every_opponent_is_compared_by_itself():
    """Twice JPEG's bits at every quality, and half of WebP's: +100 % and -50 % by all of the figures."""
    levels = (0.80, 0.90, 0.95, 0.98, 0.992)
    ours = _curve("small-9", "a", *((0.2 * 2**k, level) for k, level in enumerate(levels)))
    jpeg = _curve("jpeg", "a", *((0.1 * 2**k, level) for k, level in enumerate(levels)))
    webp = _curve("webp", "a", *((0.4 * 2**k, level) for k, level in enumerate(levels)))
    by_jpeg, by_webp = comparing.summarise(WEIGHTS, "holiday", ours, jpeg + webp)["opponents"]
    assert (by_jpeg["label"], by_webp["label"]) == ("JPEG", "WebP")
    for found, change in ((by_jpeg, 100.0), (by_webp, -50.0)):
        assert {at["change_percent"] for at in found["at_equal_ms_ssim"]} == {change}
        assert {at["change_percent"] for at in found["per_picture"]} == {change}
        assert {at["won"] for at in found["per_picture"]} == {int(change < 0)}
        assert found["bjontegaard_ms_ssim_percent"] == change
        assert found["bjontegaard_psnr_percent"] == change
    text = reports.report(comparing.summarise(WEIGHTS, "holiday", ours, jpeg + webp))
    assert "| WebP | mean curves | -50.0 % | -50.0 % | -50.0 % | -50.0 % | -50.0 % | -50.0 % |" in text
    assert "| | won | 0 of 1 | 0 of 1 |" in text
    assert "| WebP | -50.0 % | 0.992 | -50.0 % |" in text


# --- what others have published ---


def test_the_published_curves_are_the_ones_the_bars_were_made_from():
    """Facts that stand in many places: Google's model .2445 bpp at .90, the follow-up .259 at .95, BPG .735 at .98."""
    curves = {name: entry["curve"] for name, entry in comparing.published().items()}
    at = {name: [comparing.bpp_at(curve, level) for level in (0.9, 0.95, 0.98)] for name, curve in curves.items()}
    assert at["Residual GRU, Google 2016"] == pytest.approx([0.2445, 0.471, 1.020], abs=1e-3)
    assert at["LSTM, 1zb 2017"] == pytest.approx([0.2227, 0.401, 0.893], abs=1e-3)
    assert at["RNN and GDN, khawar"] == pytest.approx([0.2130, 0.380, 0.845], abs=1e-3)
    assert at["Johnston 2018"] == pytest.approx([0.1127, 0.259, 0.649], abs=1e-3)
    assert at["BPG 4:2:0"] == pytest.approx([0.106, 0.278, 0.735], abs=1e-3)
    assert at["Hyperprior, for PSNR"][1:] == pytest.approx([0.255, 0.591], abs=1e-3)


def test_every_published_curve_is_cited_and_rises():
    for name, entry in comparing.published().items():
        assert ", commit " in entry["source"], name
        assert entry["note"], name
        for key in ("bpp", "ms_ssim"):
            assert np.diff([point[key] for point in entry["curve"]]).min() > 0, name


def test_published_curves_stand_beside_kodak_alone():
    points = [(0.1, 0.8), (0.3, 0.91), (1.0, 0.99)]
    kodak = _summary(points)
    assert [row["name"] for row in kodak["published"]][:2] == ["ours", "ours, bits as they are"]
    assert "Johnston 2018" in reports.report(kodak)
    assert _summary(points, "holiday")["published"] == []
    assert "Johnston" not in reports.report(_summary(points, "holiday"))
    mine = kodak["published"][0]
    assert [at["bpp"] for at in mine["at_equal_ms_ssim"]] == [row["bpp"] for row in kodak["at_equal_ms_ssim"]]


def test_a_summary_can_be_written_as_json_and_says_what_it_depends_on():
    summary = json.loads(json.dumps(_summary([(0.1, 0.8), (0.3, 0.91)]), allow_nan=False))
    assert set(summary["versions"]) == {"rgru-lab", "torch", "pillow", "pytorch-msssim", "numpy"}
    assert summary["opponents"][0]["encoder"].startswith("libjpeg")
    assert summary["opponents"][0]["settings"]["subsampling"] == "4:2:0"
    assert summary["machine"]
    assert summary["date"]
