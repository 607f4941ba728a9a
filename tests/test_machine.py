"""What a picture's size needs of memory and what is free, and which precision is taken."""

import os
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rgru_lab import __main__ as cli
from rgru_lab import codec, images, machine, metrics, model, search
from rgru_lab.config import CELL_NAMES, RECONSTRUCTIONS, InputError, preset

# Memory


def test_the_memory_needed_is_in_proportion_to_the_pixels():
    """By hand: 90 bytes a pixel, and 17 maps of the last cell's channels, 4 bytes each, at a quarter of the pixels."""
    config = preset("small")
    assert machine.memory_bytes(config, 100, 200) == 100 * 200 * (90 + 17 * 32)
    for size in ((1, 1), (512, 768), (768, 512), (3000, 4000)):
        assert machine.memory_bytes(config, *size) * 12 == machine.memory_bytes(config, 3 * size[0], 4 * size[1])


def test_more_channels_and_an_associative_memory_need_more():
    needs = [machine.memory_bytes(preset(name), 512, 768) for name in ("micro", "small", "base", "paper")]
    assert needs == sorted(set(needs))
    for cell in set(CELL_NAMES) - {"associative-lstm"}:
        of, most = (machine.memory_bytes(replace(preset("micro"), cell=name), 9, 9) for name in (cell, CELL_NAMES[-1]))
        assert of < most


@pytest.mark.parametrize("looks", [{"priming": 1}, {"diffusion": 1}], ids=str)
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_looking_more_often_needs_more(cell, looks):
    config = replace(preset("micro"), cell=cell)
    once, more = (machine.memory_bytes(each, 512, 768) for each in (config, replace(config, **looks)))
    assert more == int(1.3 * once)


def _nothing_is_taken(*_):
    raise AssertionError("memory was taken")


@pytest.fixture
def little_memory(monkeypatch):
    """half(height, width): from now on half the memory that the weights need for such a picture is free."""

    def half(height, width):
        monkeypatch.setattr(machine, "free_bytes", lambda: machine.memory_bytes(preset("micro"), height, width) // 2)
        for name in ("centred", "_place"):
            monkeypatch.setattr(codec, name, _nothing_is_taken)

    return half


@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_a_picture_too_large_for_the_memory_is_refused_before_any_is_taken(weights, little_memory, direction):
    """12 megapixels at 362 bytes are 4,344 MB; half of that is enough for 0.707 times width and height."""
    little_memory(3000, 4000)
    given = {
        "encode": (np.broadcast_to(np.uint8(0), (3000, 4000, 3)), 2),
        "decode": (codec.Codes(3000, 4000, ()),),
    }
    with pytest.raises(InputError) as error:
        getattr(codec, direction)(weights.model, *given[direction])
    assert str(error.value) == (
        "a picture of 4000 x 3000 px needs about 4,344 MB of memory with these weights and 2,172 MB are free; close "
        "other programs, or scale it down to 2828 x 2121 px"
    )


def test_what_just_fits_is_taken(weights, noise, monkeypatch):
    monkeypatch.setattr(machine, "free_bytes", lambda: machine.memory_bytes(preset("micro"), 16, 16))
    assert len(list(codec.encode(weights.model, noise(16, 16), 1))) == 1
    with pytest.raises(InputError, match="17 x 16 px"):
        codec.encode(weights.model, noise(16, 17), 1)


def test_with_no_memory_at_all_the_remedy_is_still_a_picture(weights, noise, monkeypatch):
    monkeypatch.setattr(machine, "free_bytes", lambda: 0)
    with pytest.raises(InputError, match=r"0 MB are free; .* 1 x 1 px"):
        codec.encode(weights.model, noise(16, 16), 1)


def test_the_command_line_refuses_it_in_one_sentence_and_writes_nothing(
    capsys, tmp_path, noise, weights_path, little_memory
):
    photo, file, out = (str(tmp_path / name) for name in ("photo.png", "photo.rgru", "out.png"))
    images.save_png(noise(40, 60), photo)
    assert cli.main(["compress", photo, file, "--model", str(weights_path), "--iterations", "1"]) == 0
    before = sorted(tmp_path.iterdir())
    capsys.readouterr()
    little_memory(40, 60)
    for words in (["compress", photo, f"{tmp_path}/other.rgru"], ["decompress", file, out]):
        assert cli.main([*words, "--model", str(weights_path)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("rgru_lab: a picture of 60 x 40 px needs about 1 MB of memory")
        assert said.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture(params=[0, 1], ids=["cgroup v2", "cgroup v1"])
def container(request, tmp_path, monkeypatch):
    """container(limit, used, cache): what a container's files say, on a machine with 8,000 bytes free."""
    _, limit_name, used_name, cache_name = machine.CONTAINER_LIMITS[request.param]
    monkeypatch.setattr(machine, "CONTAINER_LIMITS", ((tmp_path, limit_name, used_name, cache_name),))
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: SimpleNamespace(available=8_000))

    def say(limit, used, cache):
        (tmp_path / limit_name).write_text(f"{limit}\n", encoding="utf-8")
        (tmp_path / used_name).write_text(f"{used}\n", encoding="utf-8")
        (tmp_path / "memory.stat").write_text(f"anon 17\n{cache_name} {cache}\nactive_file 5\n", encoding="utf-8")

    return say


@pytest.mark.parametrize(
    ("limit", "used", "cache", "free"),
    [
        (5_000, 3_000, 0, 2_000),
        (5_000, 3_000, 1_200, 3_200),  # what it has read from disk it gives back
        (5_000, 6_000, 0, 0),
        (90_000, 3_000, 0, 8_000),  # more than the machine has
        (2**63 - 4096, 3_000, 0, 8_000),  # how the older way writes that there is no limit
        ("max", 3_000, 0, 8_000),
    ],
)
def test_a_containers_limit_counts(container, limit, used, cache, free):
    container(limit, used, cache)
    assert machine.free_bytes() == free


def test_where_there_is_no_container_the_machines_memory_counts(tmp_path, monkeypatch):
    nowhere = [(tmp_path / "gone", *names) for _, *names in machine.CONTAINER_LIMITS]
    monkeypatch.setattr(machine, "CONTAINER_LIMITS", nowhere)
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: SimpleNamespace(available=8_000))
    assert machine.free_bytes() == 8_000


# Precision


@pytest.fixture(scope="module")
def cup(sample):
    return sample("coffee", 400, 600)  # a small one may have better or worse luck with its bits


@pytest.fixture(scope="module")
def runs(cup):
    """float32 and bfloat16: all 16 iterations of the default weights, (plane, photo) each."""
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for value in "01":
            patch.setenv(machine.BF16_VARIABLE, value)
            found.append(list(codec.encode(model.load().model, cup, 16)))
    return found


def _psnrs(original, photos):
    return np.array([metrics.psnr_db(original, photo) for photo in photos])


def test_bfloat16_hardly_changes_the_quality_of_any_picture(cup, runs):
    """0.05 dB after each of the iterations 1 to 8, 0.2 dB after any."""
    exact, rough = (_psnrs(cup, [photo for _, photo in run]) for run in runs)
    assert not np.array_equal(runs[0][0][1], runs[1][0][1])
    assert np.abs(exact - rough)[:8].max() < 0.05
    assert np.abs(exact - rough).max() < 0.2


def test_in_bfloat16_too_decoding_gives_exactly_what_encoding_showed(cup, runs, monkeypatch):
    monkeypatch.setenv(machine.BF16_VARIABLE, "1")
    codes = codec.Codes(*cup.shape[:2], tuple(plane for plane, _ in runs[1][:5]))
    for photo, (_, shown) in zip(codec.decode(model.load().model, codes), runs[1], strict=False):
        assert np.array_equal(photo, shown)


def test_a_file_made_in_float32_decodes_in_bfloat16_to_nearly_the_same_pictures(cup, runs, monkeypatch):
    monkeypatch.setenv(machine.BF16_VARIABLE, "1")
    codes = codec.Codes(*cup.shape[:2], tuple(plane for plane, _ in runs[0]))
    decoded = list(codec.decode(model.load().model, codes))
    assert not np.array_equal(decoded[0], runs[0][0][1])
    assert np.abs(_psnrs(cup, decoded) - _psnrs(cup, [photo for _, photo in runs[0]])).max() < 0.1


@pytest.mark.parametrize(("across", "allowed"), [(machine.SMOOTH - 0.01, False), (machine.SMOOTH + 0.01, True)])
def test_bfloat16_is_allowed_from_a_roughness_on_that_is_reckoned_by_hand(across, allowed):
    """Rows all alike, of which every second column is 2 levels higher: each second difference across is 4 or -4."""
    stripes = np.zeros((8, 402, 3), np.uint8)
    stripes[:, : round(402 * across**2 / 16) : 2] = 2
    assert machine.allows_bf16(stripes) is allowed
    assert machine.allows_bf16(stripes.transpose(1, 0, 2)) is allowed
    stripes[..., 1] = 2 - stripes[..., 0]
    stripes[..., 2] = 1  # as bright everywhere, in other colours
    assert not machine.allows_bf16(stripes)


@pytest.mark.parametrize("shape", [(1, 1), (2, 2), (1, 9)], ids=str)
def test_the_smallest_pictures_are_not_asked_for_more_than_they_have(shape):
    assert not machine.allows_bf16(np.full((*shape, 3), 200, np.uint8))


@pytest.fixture(scope="module")
def smooth():
    """A wall, brighter to the right: of 40 dB and more, where what bfloat16 rounds off would cost tenths of a dB."""
    return np.broadcast_to(np.linspace(120, 180, 200).astype(np.uint8)[None, :, None], (120, 200, 3)).copy()


def test_what_is_too_smooth_for_bfloat16_goes_on_in_float32_at_both_ends(smooth, monkeypatch):
    """Nearly as exact as float32 alone, where bfloat16 throughout would lose more than it may."""
    monkeypatch.setenv(machine.BF16_VARIABLE, "1")
    coder = model.load().model
    exact = _psnrs(smooth, [photo for _, photo in codec.encode(coder, smooth, 8, bf16=False)])
    steps = list(codec.encode(coder, smooth, 8))
    shown = [photo for _, photo in steps]
    decoded = codec.decode(coder, codec.Codes(*smooth.shape[:2], tuple(plane for plane, _ in steps)))
    for photo, same in zip(decoded, shown, strict=True):
        assert np.array_equal(photo, same)
    monkeypatch.setattr(machine, "SMOOTH", 0)
    rough = _psnrs(smooth, [photo for _, photo in codec.encode(coder, smooth, 8)])
    assert (exact - _psnrs(smooth, shown)).max() < 0.1 < (exact - rough).max()


@pytest.mark.parametrize("cell", CELL_NAMES)
def test_any_cells_memory_goes_over_from_bfloat16_to_float32(make_coder, smooth, monkeypatch, cell):
    monkeypatch.setenv(machine.BF16_VARIABLE, "1")
    monkeypatch.setattr(machine, "SMOOTH", 1000)
    coder, photo = make_coder(replace(preset("micro"), cell=cell)), smooth[:32, :48]
    sending = codec.Sending(coder)
    steps = list(codec.encode(sending, photo, 3))
    assert sending.exact
    decoded = codec.decode(coder, codec.Codes(32, 48, tuple(plane for plane, _ in steps)))
    for (_, shown), found in zip(steps, decoded, strict=True):
        assert np.array_equal(shown, found)


def test_a_search_goes_over_to_float32_and_back_to_bfloat16_for_the_next_photo(smooth, noise, monkeypatch):
    monkeypatch.setenv(machine.BF16_VARIABLE, "1")
    coder, rough = model.load().model, noise(*smooth.shape[:2])
    searching = search.Searching(coder, 2)
    for photo in (smooth, rough, smooth):
        alone = list(codec.encode(search.Searching(coder, 2), photo, 2))
        for (plane, picture), (same_plane, same) in zip(codec.encode(searching, photo, 2), alone, strict=True):
            assert np.array_equal(plane, same_plane)
            assert np.array_equal(picture, same)
        assert searching.exact is (photo is smooth)


@pytest.mark.parametrize("value", ["2", "yes", "true", " 1"])
def test_a_wrong_wish_for_bfloat16_is_answered_with_the_right_ones(weights, noise, monkeypatch, value):
    monkeypatch.setenv(machine.BF16_VARIABLE, value)
    sentence = f"RGRU_LAB_BF16 is {value!r}; set it to 0 or 1, or not at all"
    with pytest.raises(InputError, match=sentence):
        codec.encode(weights.model, noise(16, 16), 1)
    with pytest.raises(InputError, match=sentence):
        codec.decode(weights.model, codec.Codes(16, 16, ()))


@pytest.mark.parametrize("value", [None, ""])
@pytest.mark.parametrize(("speedup", "used"), [(0.3, False), (1.49, False), (1.5, True), (3.0, True)])
def test_without_a_wish_bfloat16_is_used_where_it_is_clearly_faster(make_coder, monkeypatch, value, speedup, used):
    monkeypatch.delenv(machine.BF16_VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(machine.BF16_VARIABLE, value)
    monkeypatch.setattr(machine, "bf16_speedup", lambda device: speedup)
    assert machine.uses_bf16(make_coder()) is used


@pytest.mark.parametrize(("speedup", "sizes"), [(0.25, {16}), (0.49, {16}), (0.51, {16, 48}), (2.0, {16, 48})])
def test_a_processor_without_bfloat16_is_known_from_a_small_picture(monkeypatch, speedup, sizes):
    seen = set()

    def seconds(conv, x, bf16):
        seen.add(x.shape[-1])
        return 1.0 if bf16 else speedup

    monkeypatch.setattr(machine, "_seconds", seconds)
    assert machine.bf16_speedup.__wrapped__(torch.device("cpu")) == speedup
    assert seen == sizes


def test_two_that_take_one_thread_at_once_leave_as_many_as_there_were():
    begun, ended, left = threading.Event(), threading.Event(), []

    def first():
        torch.set_num_threads(2)
        with machine.one_thread():
            others[0].start()
            begun.wait(0.3)  # it must not begin before this one has put back what it found
        ended.set()

    def second():
        with machine.one_thread():
            begun.set()
            ended.wait(10)

    before = torch.get_num_threads()
    others = [threading.Thread(target=second), threading.Thread(target=lambda: left.append(torch.get_num_threads()))]
    try:
        first()
        others[0].join()
        others[1].start()
        others[1].join()
    finally:
        torch.set_num_threads(before)
    assert left == [2]


@pytest.mark.skipif(os.name == "nt", reason="a thread's own time is too coarse on Windows")
def test_whether_bfloat16_is_faster_is_told_by_one_threads_own_time_whatever_the_clock_says(monkeypatch):
    seen = set()

    def seconds():
        seen.add(torch.get_num_threads())
        return own()

    own, before = machine.time.thread_time, torch.get_num_threads()
    monkeypatch.setattr(machine.time, "thread_time", seconds)
    monkeypatch.setattr(machine.time, "perf_counter", None)
    torch.set_num_threads(2)
    try:
        assert machine.bf16_speedup.__wrapped__(torch.device("cpu")) > 0
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == {1}


@pytest.mark.parametrize("mode", RECONSTRUCTIONS)
def test_models_that_add_to_the_last_picture_never_use_bfloat16(make_coder, noise, monkeypatch, mode):
    coder = make_coder(replace(preset("micro"), reconstruction=mode))
    photos = []
    for value in "01":
        monkeypatch.setenv(machine.BF16_VARIABLE, value)
        photos.append([photo for _, photo in codec.encode(coder, noise(32, 32), 2)])
    assert np.array_equal(*photos) is (mode != "one-shot")


@pytest.fixture
def threads():
    """torch.set_num_threads, undone afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("count", "layout"),
    [(1, torch.contiguous_format), (2, torch.contiguous_format), (2, torch.channels_last)],
    ids=["one thread, contiguous", "two, contiguous", "two, channels_last"],
)
@pytest.mark.parametrize("bf16", [0, 1])
def test_threads_and_memory_layout_move_no_pixel_by_more_than_a_level(
    runs, cup, threads, monkeypatch, count, layout, bf16
):
    """What can differ between two machines in the same precision: the order in which sums are made."""
    monkeypatch.setenv(machine.BF16_VARIABLE, str(bf16))
    threads(count)
    coder = model.load().model.to(memory_format=layout)
    codes = codec.Codes(*cup.shape[:2], tuple(plane for plane, _ in runs[bf16][:4]))
    for photo, (_, shown) in zip(codec.decode(coder, codes), runs[bf16], strict=False):
        assert metrics.psnr_db(photo, shown) > 60
        assert np.abs(photo.astype(int) - shown).max() <= 1
