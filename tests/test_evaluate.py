"""Evaluation: several processes give what one gives, and the yardstick, the bars and the colour shift are right."""

from types import SimpleNamespace

import numpy as np
import pytest

from rgru_lab import codec, evaluate, images, metrics

WEIGHTS = SimpleNamespace(name="small-9", sha256="00" * 32)


def _row(codec, point, bpp, ms_ssim, picture="a.png", shift=(0.0, 0.0, 0.0), raw_bytes=1000):
    readings = (picture, codec, point, 1000, bpp, 30.0, ms_ssim, 4.0, *shift, None if codec == "jpeg" else raw_bytes)
    return dict(zip(evaluate.COLUMNS, readings, strict=True))


JPEG_ROWS = [_row("jpeg", 5, 0.1, 0.8), _row("jpeg", 95, 2.0, 0.99)]


def _summary(points, set_name="kodak", weights=WEIGHTS, raw_bytes=1000):
    """Of one picture with these (bpp, MS-SSIM); every file has 1000 bytes, and would have `raw_bytes` with raw bits."""
    rows = [_row(weights.name, i, *point, raw_bytes=raw_bytes) for i, point in enumerate(points, start=1)]
    return evaluate.summarise(weights, set_name, rows + JPEG_ROWS)


@pytest.fixture(scope="module")
def paths(tmp_path_factory, sample):
    """A slow picture before a quick one: who is done first must not come first."""
    folder = tmp_path_factory.mktemp("set")
    for name, photo in (("b.png", sample("chelsea", 192, 224)), ("a.png", sample("coffee", 161, 161))):
        images.save_png(photo, folder / name)
    return [folder / "b.png", folder / "a.png"]


@pytest.fixture(scope="module")
def alone(weights, paths):
    return list(evaluate.measure_all(weights, paths, 2))


def test_two_processes_give_exactly_the_rows_of_one_in_the_order_of_the_pictures(weights, paths, alone):
    together = list(evaluate.measure_all(weights, paths, 2, jobs=2))
    assert [group[0]["picture"] for group in together] == ["b.png", "a.png"]
    assert together == alone


def test_the_weights_are_as_they_were_after_several_processes_had_them(weights, paths, monkeypatch):
    """Not moved into shared memory, which is small in a container."""
    monkeypatch.setattr(evaluate.multiprocessing, "get_context", lambda method: SimpleNamespace(Pool=_Pool))
    list(evaluate.measure_all(weights, paths, 1, jobs=2))
    assert _Pool.sent
    assert not any(isinstance(part, type(weights)) for part in _Pool.sent)
    assert not any(p.is_shared() for p in weights.model.parameters())


class _Pool:
    """Stands for a pool of processes and keeps what would be sent to them."""

    sent = ()

    def __init__(self, jobs, begin, given):
        assert given in ([True], [False])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def imap(self, work, items):
        type(self).sent = work.args
        return iter(())


def test_the_decision_on_bfloat16_is_handed_on(monkeypatch):
    import torch

    monkeypatch.setenv(codec.BF16_VARIABLE, "")
    threads = torch.get_num_threads()
    model = SimpleNamespace(config=SimpleNamespace(reconstruction="one-shot"))
    try:
        for bf16 in (True, False):
            evaluate._begin(bf16)
            assert codec.uses_bf16(model) is bf16
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


def test_the_colour_shift_of_every_rate_point_is_measured(weights, paths, alone):
    photo = images.load(paths[0])
    for row, (_, decoded) in zip(alone[0], codec.encode(weights.model, photo, 2), strict=False):
        measured = [row["shift_r"], row["shift_g"], row["shift_b"]]
        assert measured == pytest.approx(metrics.colour_shift(photo, decoded), abs=1e-5)
        assert max(np.abs(measured)) > 1
    jpeg = next(row for row in alone[0] if row["codec"] == "jpeg" and row["point"] == 95)
    assert max(abs(jpeg[f"shift_{channel}"]) for channel in "rgb") < 1


def test_the_curve_has_the_largest_channels_mean_shift_with_its_sign():
    """Red -2 and -4 make -3; green +9 and -9 make 0 over the pictures; blue +2 and +1 make +1.5."""
    rows = [
        _row("small-9", 1, 0.2, 0.9, "a.png", (-2.0, 9.0, 2.0)),
        _row("small-9", 1, 0.4, 0.8, "b.png", (-4.0, -9.0, 1.0)),
    ]
    summary = evaluate.summarise(WEIGHTS, "kodak", rows + JPEG_ROWS)
    (point,) = summary["curve"]
    assert point == {
        "point": 1,
        "bpp": pytest.approx(0.3),
        "psnr_db": 30.0,
        "ms_ssim": pytest.approx(0.85),
        "raw_bpp": pytest.approx(0.3),
        "colour_shift": -3.0,
    }
    assert summary["pictures"] == 2
    assert "| 1 | 0.3000 | 0.3000 | 30.00 | 0.8500 |  | -3.00 |" in evaluate.report(summary)


def test_bars_by_hand_met_missed_and_out_of_reach():
    """At 0.90: 0.2 of 0.2864 bpp is 30.2 % less, asked are 22. At 0.95: 0.45 of 0.507 is 11.2 % less, asked are 20."""
    summary = _summary([(0.1, 0.85), (0.2, 0.90), (0.45, 0.95), (0.6, 0.97)])
    low, middle, high = summary["bars"][:3]
    assert low == {
        "bits": "raw",
        "ms_ssim": 0.90,
        "bpp": 0.2,
        "yardstick_bpp": 0.2864,
        "change_percent": -30.2,
        "bar_percent": -22,
        "met": True,
    }
    assert (middle["bpp"], middle["change_percent"], middle["bar_percent"], middle["met"]) == (0.45, -11.2, -20, False)
    assert (high["bpp"], high["change_percent"], high["bar_percent"], high["met"]) == (None, None, -10, False)
    lines = evaluate.report(summary).splitlines()
    assert "| raw | 0.90 | 0.200 | 0.286 | -30.2 % | -22 % | met |" in lines
    assert "| raw | 0.95 | 0.450 | 0.507 | -11.2 % | -20 % | short by 8.8 points |" in lines
    assert "| raw | 0.98 | – | – | – | -10 % | not reached |" in lines


def test_bits_as_they_are_and_coded_ones_have_bars_of_their_own():
    """Files that would be a quarter larger with raw bits: 0.17 bpp are 40.6 % less than 0.2864, 0.2125 are 25.8 %."""
    bars = _summary([(0.1, 0.85), (0.17, 0.90)], raw_bytes=1250)["bars"]
    raw, coded = bars[0], bars[3]
    assert (raw["bits"], raw["bpp"], raw["change_percent"], raw["bar_percent"]) == ("raw", 0.2125, -25.8, -22)
    assert (coded["bits"], coded["bpp"], coded["change_percent"], coded["bar_percent"]) == ("coded", 0.17, -40.6, -38)


@pytest.mark.parametrize(("bpp", "met"), [(0.2234, True), (0.2240, False)])
def test_a_bar_is_met_at_its_own_value(bpp, met):
    """22 % less than 0.2864 bpp are 0.2234."""
    assert _summary([(0.1, 0.85), (bpp, 0.90)])["bars"][0]["met"] is met


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
    assert ("yardstick" in evaluate.report(summary)) is bool(asked)


def test_a_rate_that_no_file_has_is_said_in_words():
    """The curve begins at 0.88 and ends at 0.96; JPEG's from 0.8 to 0.99."""
    lines = evaluate.table(_summary([(0.2, 0.88), (0.7, 0.96)])).splitlines()
    assert lines[2].startswith("| 0.85 | below the first file | 0.600 | – |")
    assert lines[3].startswith("| 0.90 | 0.325 | 1.100 | -70.5 % |")
    assert lines[5].startswith("| 0.97 | not reached | 1.800 | – |")
