"""Measuring: every row is of a real file, several processes give what one gives, and what was stopped goes on."""

import hashlib
import json
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from rgru_lab import bitstream, codec, images, losses, machine, measuring, metrics, progression
from rgru_lab.bitmodel import Counts
from rgru_lab.measuring import COLUMNS
from rgru_lab.opponents import CODECS, Ladder
from rgru_lab.progression import Progression

SECONDS = ("encode_s", "decode_s")


def _timeless(rows):
    return [{key: value for key, value in row.items() if key not in SECONDS} for row in rows]


@pytest.fixture(scope="module")
def paths(tmp_path_factory, sample):
    """A slow picture before a quick one: who is done first must not come first."""
    folder = tmp_path_factory.mktemp("set")
    for name, photo in (("b.png", sample("chelsea", 192, 224)), ("a.png", sample("coffee", 161, 161))):
        images.save_png(photo, folder / name)
    return [folder / "b.png", folder / "a.png"]


@pytest.fixture(scope="module")
def work(weights):
    return partial(measuring.ours, weights, iterations=2)


@pytest.fixture(scope="module")
def identity(weights):
    return measuring.our_identity(weights, None)


@pytest.fixture(scope="module")
def alone(work, paths, identity, tmp_path_factory):
    return list(measuring.every(work, paths, tmp_path_factory.mktemp("alone") / "rows.part", identity))


def test_rows_hold_every_column_and_pass_through_a_file_unchanged(alone, tmp_path):
    rows = [row for group in alone for row in group]
    assert all(tuple(row) == COLUMNS for row in rows)
    measuring.write(tmp_path / "rows.csv", rows)
    assert measuring.read(tmp_path / "rows.csv") == rows


def test_ours_are_the_files_and_the_pictures_they_decode_to(weights, paths, alone):
    photo = images.load(paths[0])
    progression = Progression(weights, photo)
    for row, (i, decoded) in zip(alone[0], progression.run(2), strict=True):
        assert (row["picture"], row["codec"], row["point"]) == ("b.png", weights.name, i)
        assert row["size_bytes"] == len(progression.file(i))
        assert row["raw_bytes"] == decoded.raw_bytes
        counted = Progression(weights, photo, Counts())
        assert row["counted_bytes"] == [each.size_bytes for _, each in counted.run(2)][i - 1]
        assert row["bpp"] == pytest.approx(8 * len(progression.file(i)) / (192 * 224), abs=1e-5)
        assert row["psnr_db"] == pytest.approx(metrics.psnr_db(photo, decoded.photo), abs=1e-5)
        assert row["ssim"] == pytest.approx(metrics.ssim(photo, decoded.photo), abs=1e-5)
        assert row["ms_ssim"] == pytest.approx(metrics.ms_ssim(photo, decoded.photo), abs=1e-5)
        assert row["ms_ssim_moved"] == pytest.approx(metrics.ms_ssim_moved(photo, decoded.photo), abs=1e-5)
        shift = [row["shift_r"], row["shift_g"], row["shift_b"]]
        assert shift == pytest.approx(metrics.colour_shift(photo, decoded.photo), abs=1e-5)


def test_what_is_measured_is_what_comes_out_of_the_file_not_what_the_encoder_saw(weights, paths, monkeypatch):
    """A decoder that errs must be seen, even if the encoder's own pictures are right."""
    monkeypatch.setattr(measuring.codec, "decode", lambda model, codes: iter([np.zeros((161, 161, 3), np.uint8)]))
    (row,) = measuring.ours(weights, paths[1], 1)
    assert row["mean_abs_residual"] == pytest.approx(images.load(paths[1]).mean(), abs=1e-4)


@pytest.mark.parametrize("column", SECONDS)
def test_seconds_are_those_from_the_photo_to_this_file_and_back(alone, column):
    for rows in alone:
        assert 0 < rows[0][column] < rows[1][column]


def test_time_between_two_steps_is_not_counted(monkeypatch):
    clock = iter([0.0, 1.0, 100.0, 103.0, 200.0])
    monkeypatch.setattr(measuring.time, "process_time", lambda: next(clock))
    assert list(measuring._timed(iter("ab"))) == [(1.0, "a"), (4.0, "b")]


def test_opponents_are_measured_at_their_points_with_their_own_files(paths):
    rows = list(measuring.theirs(["jpeg", "webp"], paths[1]))
    assert [(row["codec"], row["point"]) for row in rows] == [
        (c, q) for c in ("jpeg", "webp") for q in CODECS[c].points
    ]
    ladder = Ladder(images.load(paths[1]))
    for row in rows[:3]:
        rung = ladder[row["point"]]
        assert (row["size_bytes"], row["raw_bytes"], row["counted_bytes"]) == (len(rung.data), None, None)
        assert row["ms_ssim"] == pytest.approx(metrics.ms_ssim(rung.original, rung.photo), abs=1e-5)
        assert row["ms_ssim_moved"] == pytest.approx(metrics.ms_ssim_moved(rung.original, rung.photo), abs=1e-5)


def test_files_of_the_same_pixels_are_looked_at_once_and_others_are_not_mixed_up(paths, monkeypatch):
    looked = []
    monkeypatch.setattr(measuring, "readings", lambda rung: looked.append(rung.codec) or _readings(rung))
    _readings = lambda rung: dict.fromkeys(measuring.READINGS, float(rung.photo.mean()))  # noqa: E731
    variants = ["jpeg", "jpeg-default", "jpeg-444"]
    rows = list(measuring.theirs(variants, paths[1]))
    points = len(CODECS["jpeg"].points)
    assert looked == ["jpeg"] * points + ["jpeg-444"] * points
    for name in variants:
        ladder = Ladder(images.load(paths[1]), name)
        for row in (row for row in rows if row["codec"] == name):
            assert row["ssim"] == pytest.approx(float(ladder[row["point"]].photo.mean()), abs=1e-5)
            assert row["size_bytes"] == ladder[row["point"]].size_bytes


def test_two_processes_give_exactly_the_rows_of_one_in_the_order_of_the_pictures(
    work, paths, identity, alone, tmp_path
):
    together = list(measuring.every(work, paths, tmp_path / "rows.part", identity, jobs=2))
    assert [group[0]["picture"] for group in together] == ["b.png", "a.png"]
    assert [_timeless(group) for group in together] == [_timeless(group) for group in alone]


def test_the_weights_are_as_they_were_after_several_processes_had_them(weights, work, paths, tmp_path, monkeypatch):
    """Not moved into shared memory, which is small in a container."""
    monkeypatch.setattr(measuring.multiprocessing, "get_context", lambda method: SimpleNamespace(Pool=_Pool))
    with pytest.raises(RuntimeError):  # the pool that stands in has no rows to give
        list(measuring.every(work, paths, tmp_path / "rows.part", {}, jobs=2))
    assert _Pool.begun_with == [False]
    assert _Pool.sent
    assert not any(isinstance(part, (type(weights), partial)) for part in _Pool.sent)
    assert not any(p.is_shared() for p in weights.model.parameters())


class _Pool:
    """Stands for a pool of processes and keeps what would be sent to them."""

    sent = ()
    begun_with = None

    def __init__(self, jobs, begin, given):
        type(self).begun_with = given

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def imap(self, work, items):
        type(self).sent = work.args
        return iter(())


@pytest.mark.parametrize(("precision", "bf16"), [("bfloat16", True), ("float32", False)])
def test_all_processes_have_the_precision_that_the_rows_are_kept_under(
    work, paths, identity, tmp_path, monkeypatch, precision, bf16
):
    monkeypatch.setattr(measuring.multiprocessing, "get_context", lambda method: SimpleNamespace(Pool=_Pool))
    with pytest.raises(RuntimeError):  # the pool that stands in has no rows to give
        list(measuring.every(work, paths, tmp_path / "rows.part", identity | {"precision": precision}, jobs=2))
    assert _Pool.begun_with == [bf16]


def test_the_decision_on_bfloat16_is_handed_on(monkeypatch):
    import torch

    monkeypatch.setenv(machine.BF16_VARIABLE, "")
    threads = torch.get_num_threads()
    model = SimpleNamespace(config=SimpleNamespace(reconstruction="one-shot"))
    try:
        for bf16 in (True, False):
            measuring._begin(bf16)
            assert machine.uses_bf16(model) is bf16
            assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize(("pictures", "jobs"), [(0.5, 1), (1.5, 1), (2.5, 2), (99, 4)])
def test_memory_decides_how_many_pictures_at_a_time(weights, paths, monkeypatch, pictures, jobs):
    largest = machine.memory_bytes(weights.model.config, 192, 224)
    process = measuring.PROCESS_BYTES
    monkeypatch.setattr(machine, "free_bytes", lambda: int(pictures * (largest + process)))
    assert measuring.affordable_jobs(weights, paths, 4) == jobs
    three = int(pictures * (largest + process) / (3 * largest + process))
    assert measuring.affordable_jobs(weights, paths, 4, times=3.0) == max(1, min(4, three))


# --- stopped and resumed ---


@pytest.fixture
def counted(paths):
    """A way to measure that counts, and can be told to fail at a picture."""

    def work(path):
        if path.name == work.fails_at:
            raise KeyboardInterrupt
        work.calls.append(path.name)
        return [{"picture": path.name, "bpp": len(work.calls)}]

    work.calls, work.fails_at = [], None
    return work


def test_what_was_stopped_goes_on_with_the_next_picture(counted, paths, tmp_path):
    kept = tmp_path / "rows.part"
    counted.fails_at = "a.png"
    with pytest.raises(KeyboardInterrupt):
        list(measuring.every(counted, paths, kept, {"weights": "1"}))
    counted.fails_at = None
    rows = list(measuring.every(counted, paths, kept, {"weights": "1"}))
    assert counted.calls == ["b.png", "a.png"]
    assert rows == [[{"picture": "b.png", "bpp": 1}], [{"picture": "a.png", "bpp": 2}]]


def test_rows_of_something_else_are_not_taken(counted, paths, tmp_path):
    kept = tmp_path / "rows.part"
    list(measuring.every(counted, paths, kept, {"weights": "1"}))
    list(measuring.every(counted, paths, kept, {"weights": "2"}))
    assert counted.calls == ["b.png", "a.png"] * 2
    assert json.loads(kept.read_text(encoding="utf-8").splitlines()[0]) == {"weights": "2"}
    assert len(kept.read_text(encoding="utf-8").splitlines()) == 3


def test_a_picture_that_has_changed_is_measured_again_and_a_renamed_one_is_not(counted, paths, tmp_path, sample):
    mine = [tmp_path / path.name for path in paths]
    for source, target in zip(paths, mine, strict=True):
        target.write_bytes(source.read_bytes())
    kept = tmp_path / "rows.part"
    list(measuring.every(counted, mine, kept, {}))
    images.save_png(sample("rocket", 161, 161), mine[0])
    renamed = mine[1].rename(tmp_path / "c.png")
    groups = list(measuring.every(counted, [mine[0], renamed], kept, {}))
    assert counted.calls == ["b.png", "a.png", "b.png"]
    assert [group[0]["picture"] for group in groups] == ["b.png", "c.png"]


def test_a_line_that_was_half_written_costs_that_picture_alone(counted, paths, tmp_path):
    kept = tmp_path / "rows.part"
    list(measuring.every(counted, paths, kept, {}))
    kept.write_bytes(kept.read_bytes()[:-9])
    assert len(list(measuring.every(counted, paths, kept, {}))) == 2
    assert counted.calls == ["b.png", "a.png", "a.png"]
    list(measuring.every(counted, paths, kept, {}))
    assert counted.calls == ["b.png", "a.png", "a.png"]


def test_a_picture_too_small_is_named_before_hours_are_spent(tmp_path, sample):
    images.save_png(sample("rocket", 100, 300), tmp_path / "flat.png")
    with pytest.raises(metrics.MetricError, match=r"flat\.png is 300 x 100 px, too small for MS-SSIM; leave out"):
        measuring.check([tmp_path / "flat.png"])


def test_the_search_counts_in_the_seconds_of_every_adaptive_file(weights, paths, monkeypatch):
    likeness, looks = losses.Similarity.ms_ssim, []
    monkeypatch.setattr(losses.Similarity, "ms_ssim", lambda *each: looks.append(each) or likeness(*each))
    monkeypatch.setattr(measuring.time, "process_time", lambda: float(len(looks)))  # a look takes a second

    def seconds(*slopes):
        return [row["encode_s"] for row in measuring.ours_adaptive(weights, paths[1], slopes, search=4)]

    assert seconds(1.0, 0.02, 0.0) == [*seconds(1.0), *seconds(0.02), *seconds(0.0)]
    assert seconds(1.0) == [5.0]
    assert seconds(0.0) == [0.0]  # too low a slope for a search


def test_seconds_hold_looking_at_the_photo_and_reading_the_bits(weights, paths, monkeypatch):
    """A look takes 100 s, a plane's bits 10 s and its picture 1 s; after two iterations a third gains little."""
    clock = [0.0]

    def slow(seconds, steps):
        def each(*given, **options):
            for step in steps(*given, **options):
                clock[0] += seconds
                yield step

        return each

    curves = np.array([0.9, 0.5, 0.45])[:, None, None] * np.ones((3, 11, 11))
    monkeypatch.setattr(measuring.time, "process_time", lambda: clock[0])
    monkeypatch.setattr(measuring.adaptive, "unlikeness", slow(100, lambda *given: iter(curves)))
    monkeypatch.setattr(measuring.bitstream, "planes", slow(10, bitstream.planes))
    monkeypatch.setattr(measuring.codec, "decode", slow(1, codec.decode))
    rows = list(measuring.ours_adaptive(weights, paths[1], (0.1, 1.0), iterations=3))
    assert [(row["encode_s"], row["decode_s"]) for row in rows] == [(300.0, 22.0), (300.0, 11.0)]
    assert [row["decode_s"] for row in measuring.ours(weights, paths[1], 2)] == [11.0, 22.0]


def test_adaptive_files_are_kept_and_measured_as_they_lie_there(weights, weights_path, paths, tmp_path):
    def rows(search=0):
        return list(
            measuring.ours_adaptive(weights, paths[1], (0.02, 0.001), iterations=3, search=search, files=tmp_path)
        )

    made = rows()
    picture = f"a-{hashlib.sha256(paths[1].read_bytes()).hexdigest()[:8]}"
    names = [f"{picture}-3-0.02.rgru", f"{picture}-3-0.001.rgru"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    photo = images.load(paths[1])
    for row, name in zip(made, names, strict=True):
        *_, frame = progression.decode(progression.read(tmp_path / name), 3, weights_path)
        assert row["ms_ssim"] == pytest.approx(metrics.ms_ssim(photo, frame), abs=1e-5)
        assert row["size_bytes"] == (tmp_path / name).stat().st_size
        assert row["encode_s"] > 0
    assert _timeless(rows()) == _timeless(made)
    assert [row["encode_s"] for row in rows()] == [None, None]
    searched = rows(search=2)
    assert len(list(tmp_path.iterdir())) == 3
    assert (tmp_path / f"{picture}-3-0.02-search-2.rgru").stat().st_size == searched[0]["size_bytes"]
    assert searched[0]["ms_ssim"] != made[0]["ms_ssim"]
    assert _timeless(searched)[1] == _timeless(made)[1]  # too low a slope for a search
    (tmp_path / names[1]).write_bytes((tmp_path / names[0]).read_bytes())
    assert rows()[1]["size_bytes"] == made[0]["size_bytes"]
    (tmp_path / names[1]).write_bytes((tmp_path / names[0]).read_bytes() + b"12345")
    with pytest.raises(bitstream.BitstreamError, match=f"{names[1]} was cut, or something was added to it; remove it"):
        rows()


def test_a_kept_file_of_other_weights_or_another_picture_is_not_measured(weights, paths, tmp_path):
    def rows(weights, path):
        return list(measuring.ours_adaptive(weights, path, (0.02,), iterations=1, files=tmp_path))

    rows(weights, paths[1])
    (kept,) = tmp_path.iterdir()
    with pytest.raises(bitstream.BitstreamError, match=r"-1-0\.02\.rgru was made with other weights than mine-1"):
        rows(weights._replace(name="mine-1"), paths[1])
    (tmp_path / "set").mkdir()
    other = tmp_path / "set" / paths[1].name  # another picture of the same name and size
    images.save_png(255 - images.load(paths[1]), other)
    assert rows(weights, other)[0]["encode_s"] > 0
    kept.write_bytes(b"RGRU")
    with pytest.raises(bitstream.BitstreamError, match=r"-1-0\.02\.rgru: "):
        rows(weights, paths[1])
