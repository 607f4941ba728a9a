"""The benchmark: its rival computes the same, its counts are right, it writes what it found. No time is asserted."""

import json
import math
import re
from dataclasses import replace
from itertools import islice
from unittest.mock import Mock

import pytest
import torch

from rgru_lab import __main__ as cli
from rgru_lab import bench, codec, images, machine, metrics, model, photos, readme
from rgru_lab.cells import ResidualGRUCell
from rgru_lab.config import InputError, Stage, preset
from rgru_lab.fused import fused
from rgru_lab.progression import Progression

# The straightforward loop


@pytest.mark.parametrize(("stride", "hidden_kernel"), [(1, 1), (2, 1), (1, 3)])
def test_the_plain_cell_computes_the_taught_one(stride, hidden_kernel):
    torch.manual_seed(3)
    cell = ResidualGRUCell(3, 5, stride=stride, hidden_kernel=hidden_kernel, alpha_h=0.7, alpha_x=0.4).double()
    plain = bench.PlainResidualGRUCell(cell).double()
    state = plain_state = None
    with torch.no_grad():
        for _ in range(4):
            x = torch.randn(2, 3, 8, 6, dtype=torch.float64)
            output, state = cell(x, state)
            plain_output, plain_state = plain(x, plain_state)
            torch.testing.assert_close(plain_output, output, rtol=0, atol=1e-12)
            torch.testing.assert_close(plain_state, state, rtol=0, atol=1e-12)


@pytest.fixture(params=["shipped", "random", "residual-scaled", "primed"])
def coder(request, make_coder):
    if request.param == "shipped":
        return model.load().model
    if request.param == "primed":
        return make_coder(replace(preset("micro"), priming=2, diffusion=1))
    mode = "one-shot" if request.param == "random" else request.param
    return make_coder(replace(preset("micro"), alpha_h=0.6, reconstruction=mode))


def _both(coder, dtype):
    """Five iterations of the taught and of the straightforward loop on the same picture."""
    coder = coder.to(dtype)
    torch.manual_seed(3)
    x = (torch.rand(1, 3, 48, 64) - 0.5).to(dtype)
    with torch.inference_mode():
        loops = (codec.unroll(m, x) for m in (coder, bench.straightforward(coder)))
        yield from islice(zip(*loops, strict=True), 5)


def test_the_straightforward_loop_gives_the_same_bits_and_pictures(coder, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)  # the last convolution, too
    for taught, plain in _both(coder, torch.float64):
        assert taught.picture.dtype == torch.float64
        assert torch.equal(plain.bits, taught.bits)
        torch.testing.assert_close(plain.picture, taught.picture, rtol=0, atol=1e-9)


def test_in_float32_the_two_differ_by_rounding_alone(coder):
    for taught, plain in _both(coder, torch.float32):
        assert torch.equal(plain.bits, taught.bits)
        torch.testing.assert_close(plain.picture, taught.picture, rtol=0, atol=2e-6)


def test_the_straightforward_loop_is_made_of_plain_cells_alone_and_leaves_the_model_as_it_is(make_coder):
    coder = make_coder()
    before = [value.clone() for value in coder.state_dict().values()]
    plain = bench.straightforward(coder)
    assert sum(isinstance(m, bench.PlainResidualGRUCell) for m in plain.modules()) == 7
    assert not any(isinstance(m, ResidualGRUCell) for m in plain.modules())
    assert all(p.is_contiguous() for p in plain.parameters())
    assert sum(p.numel() for p in plain.parameters()) == sum(p.numel() for p in coder.parameters())
    assert sum(isinstance(m, ResidualGRUCell) for m in coder.modules()) == 7
    assert all(torch.equal(a, b) for a, b in zip(before, coder.state_dict().values(), strict=True))


@pytest.mark.parametrize("cell", ["gru", "lstm", "associative-lstm"])
def test_other_cells_have_no_straightforward_loop_and_that_is_said(make_coder, cell):
    with pytest.raises(InputError, match=rf"cells of the kind {cell}; the straightforward loop knows residual-gru"):
        bench.straightforward(make_coder(replace(preset("micro"), cell=cell)))


# Counts


def _flops_by_hand(config, height, width, memory=True, r=True):
    """Two operations per weight and position of every convolution; those that see the memory only if there is one."""
    total = 0

    def conv(inputs, outputs, side, scale):
        nonlocal total
        total += 2 * inputs * outputs * side**2 * (height // scale) * (width // scale)

    def cell(inputs, channels, hidden, scale):
        conv(inputs, (3 if r else 2) * channels, 3, scale)  # W_z, W_r, W
        if memory:
            conv(channels, 3 * channels, hidden, scale)  # U_z, U_r, U
            conv(channels, channels, 1, scale)  # W_h
        conv(inputs, channels, 1, scale)  # W_ox

    e, d = config.encoder, config.decoder
    conv(3, e[0], 3, 2)
    for k, scale in ((1, 4), (2, 8), (3, 16)):
        cell(e[k - 1], e[k], 1, scale)
    conv(e[3], config.bits, 1, 16)
    conv(config.bits, d[0], 1, 16)
    cell(d[0], d[1], 1, 16)
    cell(d[1] // 4, d[2], 1, 8)
    cell(d[2] // 4, d[3], config.hidden_kernel, 4)
    cell(d[3] // 4, d[4], config.hidden_kernel, 2)
    conv(d[4] // 4, 3, 1, 1)
    return total


@pytest.mark.parametrize("name", ["micro", "small", "fast"])
@pytest.mark.parametrize("size", [(64, 64), (512, 768)], ids=str)
def test_the_operations_of_an_iteration_are_those_counted_by_hand(make_coder, name, size):
    coder = make_coder(preset(name))
    assert bench.iteration_flops(coder, *size) == _flops_by_hand(coder.config, *size)
    assert bench.iteration_flops(bench.straightforward(coder), *size) == _flops_by_hand(coder.config, *size)
    assert bench.iteration_flops(coder, *size, iteration=1) == _flops_by_hand(coder.config, *size, memory=False)
    assert bench.iteration_flops(fused(coder), *size) == _flops_by_hand(coder.config, *size)
    first = _flops_by_hand(coder.config, *size, memory=False, r=False)
    assert bench.iteration_flops(fused(coder), *size, iteration=1) == first


@pytest.mark.parametrize(("iteration", "looks"), [(1, 3), (2, 2), (3, 2)])
def test_every_look_is_counted_and_the_binarizer_once(make_coder, iteration, looks):
    coder = make_coder(replace(preset("micro"), priming=2, diffusion=1))
    once, bits = _flops_by_hand(coder.config, 64, 64), 2 * 32 * 32 * 4 * 4  # 32 channels to 32 bits, at 4 x 4 positions
    expected = looks * once - (looks - 1) * bits
    if iteration == 1:
        expected -= once - _flops_by_hand(coder.config, 64, 64, memory=False)
    assert bench.iteration_flops(coder, 64, 64, iteration) == expected


@pytest.mark.parametrize("plain", [False, True])
def test_compressing_takes_memory_but_less_than_twice_of_what_is_predicted(weights_path, weights, monkeypatch, plain):
    monkeypatch.setenv(machine.BF16_VARIABLE, "0")
    size = (384, 512)
    taken = bench.peak_memory_bytes(str(weights_path), size, plain=plain)
    assert 384 * 512 * 3 * 4 < taken < 2 * machine.memory_bytes(weights.model.config, *size)


@pytest.mark.parametrize("plain", [False, True])
def test_the_memory_of_the_straightforward_loop_is_that_loops(weights_path, monkeypatch, plain):
    loop = Mock(wraps=bench.straightforward)
    monkeypatch.setattr(bench, "straightforward", loop)
    bench._peak_memory_bytes(weights_path, (32, 48), plain)
    assert loop.called == plain


def test_of_sides_that_are_no_multiples_of_the_grid_the_straightforward_loop_is_measured_too(weights_path):
    assert bench.peak_memory_bytes(str(weights_path), (104, 100), plain=True) > 0


def test_what_bfloat16_changes_is_the_difference_of_two_psnrs(weights, sample, tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "ITERATIONS", 2)
    photo = sample("coffee", 40, 56)
    images.save_png(photo, tmp_path / "coffee.png")
    found = dict(bench.precision(weights, [tmp_path / "coffee.png"]))
    psnr = {
        bf16: [metrics.psnr_db(photo, frame) for _, frame in codec.encode(weights.model, photo, 2, bf16=bf16)]
        for bf16 in (False, True)
    }
    differences = [rough - exact for exact, rough in zip(psnr[False], psnr[True], strict=True)]
    assert any(differences)
    what = "PSNR in bfloat16 against float32"
    assert found[f"{what}, P[2], mean, dB"] == round(differences[1], 4)
    assert found[f"{what}, P[1] to P[2], farthest, dB"] == round(max(differences, key=abs), 4)
    assert found[f"{what}, coffee.png, farthest, dB"] == round(max(differences, key=abs), 4)


# The report


def _memory(path, size, *, plain=False):
    return (1500 if plain else 1000) * size[0] * size[1]


@pytest.fixture
def tiny(monkeypatch):
    """All of the report at sizes that take no time; the processes that measure memory are tested above."""
    monkeypatch.setenv(machine.BF16_VARIABLE, "0")
    monkeypatch.setattr(bench, "KODAK", (32, 48))
    monkeypatch.setattr(bench, "LARGE", (48, 64))
    monkeypatch.setattr(bench, "SIZES", ((16, 32), (32, 48), (30, 64), (48, 64)))  # one off the grid
    monkeypatch.setattr(bench, "MATRIX", 32)
    monkeypatch.setattr(bench, "ITERATIONS", 2)
    monkeypatch.setattr(bench.TrainConfig, "curriculum", (Stage(1.0, 2, 32, 1),))
    monkeypatch.setattr(bench, "peak_memory_bytes", _memory)
    monkeypatch.setattr(bench, "there_and_back_s", lambda weights, photo: (3, 0.7))  # it needs more pixels


@pytest.mark.usefixtures("tiny")
def test_every_quantity_of_the_report_is_positive_and_named_once(weights_path):
    rows = list(bench.report(model.load(weights_path)))
    named = dict(rows)
    assert len(named) == len(rows)
    assert named["model"] == "micro-1"
    numbers = [value for value in named.values() if not isinstance(value, str)]
    assert len(numbers) == len(rows) - 3  # but for the model, the machine and the date
    assert min(value for what, value in named.items() if not isinstance(value, str) and ": " not in what) > 0
    assert named["peak memory: growth, MB per megapixel"] == 1000
    assert named["peak memory: farthest from that line, %"] == pytest.approx(0, abs=1e-6)
    assert json.loads(json.dumps(named)) == named
    two = named["GFLOP per iteration at 768 x 512"] + named["GFLOP of the first iteration at 768 x 512"]
    share = 100 * two / 2 / named["float32, s per iteration at 768 x 512"] / named["matrix product, float32, GFLOP/s"]
    assert named["float32, % of the matrix product's peak"] == pytest.approx(share, rel=0.03)
    sized = re.compile(r" px: | of \d+ px |^bfloat16, %")
    of_any_size = {what for what in readme.SPEEDS if not sized.search(what)}
    assert of_any_size - named.keys() <= {"bfloat16, times as fast as the straightforward loop"}  # if it pays
    assert named["64 x 48 px: peak memory, MB"] == 3.07
    assert named["48 x 32 px: straightforward loop, peak memory, MB"] == 2.3
    large = {what.partition(": ")[2] for what in named if what.startswith("64 x 48 px: ")}
    assert {"encoding, s per iteration", "straightforward loop, first iteration, s"} < large


@pytest.mark.usefixtures("tiny")
def test_the_report_counts_the_first_iteration_apart_where_it_is_primed(make_coder, tmp_path):
    path = tmp_path / "primed-1.safetensors"
    model.save(make_coder(replace(preset("micro"), priming=3)), path, record={})
    named = dict(islice(bench.report(model.load(path), large=False), 8))
    later, first = (named[f"GFLOP {what} at 768 x 512"] for what in ("per iteration", "of the first iteration"))
    without = _flops_by_hand(preset("micro"), 32, 48, memory=False, r=False) / 1e9
    assert first == pytest.approx(without + 3 * later, rel=0.02)


def test_the_way_to_a_file_and_back_ends_with_the_first_iteration_that_is_good_enough(monkeypatch):
    weights, photo = model.load(), photos.sample("chelsea")[:176, :176]
    third = [decoded.ms_ssim for _, decoded in Progression(weights, photo).run(3)][-1]
    monkeypatch.setattr(bench, "ENOUGH", third)
    seen = []
    monkeypatch.setattr(codec, "decode", lambda model, codes: seen.append(len(codes.planes)) or [])
    iterations, seconds = bench.there_and_back_s(weights, photo)
    assert iterations == 3
    assert seconds > 0
    assert set(seen) == {3}


def test_where_no_iteration_is_good_enough_nothing_is_timed(monkeypatch, weights):
    monkeypatch.setattr(bench, "MAX_ITERATIONS", 2)
    iterations, seconds = bench.there_and_back_s(weights, photos.sample("chelsea")[:176, :176])
    assert iterations == 0
    assert math.isnan(seconds)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(("speedup", "rows"), [(0.2, 1), (2.1, 5)])
def test_bfloat16_is_measured_only_where_it_is_the_faster(monkeypatch, weights_path, speedup, rows):
    monkeypatch.setattr(machine, "bf16_speedup", lambda device: speedup)
    found = dict(bench.report(model.load(weights_path), large=False))
    assert found["bfloat16, times as fast as float32 at a convolution"] == speedup
    assert sum("bfloat16" in what for what in found) == rows


@pytest.mark.usefixtures("tiny")
def test_the_command_writes_what_it_prints(capsys, tmp_path, weights_path):
    assert cli.main(["bench", "--small", "--model", str(weights_path), "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    rows = json.loads((tmp_path / "out" / "bench-micro-1.json").read_text(encoding="utf-8"))
    assert not any(what.startswith("64 x 48 px") for what in rows)
    for what, value in rows.items():
        assert f"{value:,}" in said if isinstance(value, (int, float)) else value in said, what
    words = ["bench", "--small", "--model", str(weights_path), "--output", str(tmp_path), "--machine"]
    assert cli.main([*words, "pi"]) == 0
    assert (tmp_path / "bench-micro-1-pi.json").exists()
    assert cli.main([*words, "my/pi"]) == 2  # before anything is measured
    assert "--machine is 'my/pi'; take letters, digits, points and hyphens" in capsys.readouterr().err


def test_a_line_through_points_on_it_is_that_line_and_the_farthest_point_is_found():
    assert bench.line([1, 2, 10], [7, 9, 25]) == pytest.approx((2, 5, 0), abs=1e-9)
    slope, intercept, worst = bench.line([1, 2, 3, 4], [1, 2, 3, 8])
    assert worst == pytest.approx(
        max(abs(100 * (slope * x + intercept) / y - 100) for x, y in zip(range(1, 5), (1, 2, 3, 8), strict=True))
    )
    assert worst > 20


def test_what_will_not_fit_is_said_before_anything_is_measured(monkeypatch, weights_path):
    monkeypatch.setattr(machine, "free_bytes", lambda: 4_000_000_000)
    with pytest.raises(InputError, match=r"4000 x 3000 px needs about 4,344 MB .* 4,000 MB are free; .* --small$"):
        next(bench.report(model.load(weights_path)))
    assert next(bench.report(model.load(weights_path), large=False)) == ("model", "micro-1")


@pytest.mark.parametrize(("value", "short"), [(0.0123456, 0.0123), (1.236, 1.24), (98.76, 98.8), (12345.6, 12346)])
def test_numbers_keep_three_digits(value, short):
    assert bench.short(value) == short
