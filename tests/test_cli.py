"""The command line: what it writes, what it says, and that bad input costs one sentence and exit code 2."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from rgru_lab import __main__ as cli
from rgru_lab import (
    bitnet,
    bitstream,
    codec,
    images,
    inheritance,
    machine,
    metrics,
    model,
    photos,
    progression,
    training,
)
from rgru_lab.commands import common, options, photographs
from rgru_lab.config import InputError, TrainConfig, preset
from rgru_lab.opponents import CODECS, Ladder
from rgru_lab.progression import Progression

SIZE = (176, 208)  # large enough for MS-SSIM, small enough for a test


@pytest.fixture
def photo_path(tmp_path):
    path = tmp_path / "photo.png"
    images.save_png(photos.sample("chelsea")[: SIZE[0], : SIZE[1]].copy(), path)
    return path


@pytest.fixture
def rgru_path(tmp_path, photo_path, weights_path):
    path = tmp_path / "photo.rgru"
    assert run("compress", photo_path, path, "--model", weights_path, "--iterations", 3) == 0
    return path


def run(*words):
    return cli.main([str(word) for word in words])


def refused(capsys, *words):
    """The one sentence with which a command is refused."""
    assert run(*words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("rgru_lab: ")
    assert "Traceback" not in captured.err
    assert captured.err.count("\n") == 1
    return captured.err


def test_a_closed_input_or_output_is_named(capsys, monkeypatch, photo_path, weights_path):
    monkeypatch.setattr(sys, "stdin", None)
    assert refused(capsys, "info", "-") == "rgru_lab: the standard input is closed; name a file instead of -\n"
    monkeypatch.setattr(sys, "stdout", None)
    words = ("compress", photo_path, "-", "--model", weights_path, "--iterations", 1)
    assert run(*words) == 2


def test_a_folder_of_the_outputs_name_is_refused_in_one_sentence(capsys, tmp_path, photo_path):
    folder = tmp_path / "folder.rgru"
    folder.mkdir()
    sentence = refused(capsys, "compress", photo_path, folder)
    assert sentence == f"rgru_lab: {folder} is there and is not a file; choose another name\n"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's disk that is always full")
def test_a_full_disk_is_one_sentence(rgru_path):
    with open("/dev/full", "w", encoding="utf-8") as full:
        words = [sys.executable, "-m", "rgru_lab", "info", rgru_path]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "rgru_lab: the output cannot be written: the disk is full\n"


def test_compress_and_decompress_give_the_pictures_of_the_codec(tmp_path, photo_path, rgru_path, weights_path, weights):
    steps = list(codec.encode(weights.model, images.load(photo_path), 3))
    for i in (1, 3):
        out = tmp_path / f"{i}.png"
        assert run("decompress", rgru_path, out, "--model", weights_path, "--iterations", i) == 0
        assert (np.asarray(Image.open(out)) == steps[i - 1][1]).all()


def test_the_printed_size_is_the_size_on_disk(capsys, tmp_path, photo_path, weights_path):
    assert run("compress", photo_path, tmp_path / "a.rgru", "--model", weights_path) == 0
    assert f"{(tmp_path / 'a.rgru').stat().st_size:,} bytes" in capsys.readouterr().out


def test_info_names_every_iteration_with_its_bytes(capsys, rgru_path):
    assert run("info", rgru_path) == 0
    out = capsys.readouterr().out
    assert f"{SIZE[1]} x {SIZE[0]} px" in out
    for i, end in enumerate(bitstream.parse(rgru_path.read_bytes()).ends_bytes, start=1):
        assert f"\n{i:10} {end:11,} " in out


def test_a_file_names_weights_that_ship_and_no_path(tmp_path, rgru_path, weights_path, monkeypatch):
    shutil.copy(weights_path, tmp_path / "m.safetensors")
    monkeypatch.chdir(tmp_path)
    file = bitstream.parse(rgru_path.read_bytes())
    named = file._replace(header=file.header._replace(name="m.safetensors"))
    with pytest.raises(model.WeightsError, match=r"made with the weights m\.safetensors, and there are no weights"):
        progression.decode(named, 1)
    assert len([*progression.decode(named, 1, "m.safetensors")]) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bits": 31}, "says 31 bits per position and one-shot, and micro-1 has 32 and is one-shot; copy the file"),
        ({"reconstruction": "additive"}, "says 32 bits per position and additive, and micro-1 has"),
        ({"height": 65_535, "width": 1}, "the compressed picture is 1 x 65535 px; the limit"),
    ],
)
def test_what_a_header_says_is_looked_at_before_its_bits_are(rgru_path, weights_path, monkeypatch, changes, words):
    monkeypatch.setattr(bitstream, "decode", None)
    file = bitstream.parse(rgru_path.read_bytes())
    with pytest.raises(InputError, match=words):
        progression.decode(file._replace(header=file.header._replace(**changes)), 1, weights_path)


def test_a_file_whose_name_begins_like_an_option_is_told_how_to_be_named(capsys, tmp_path, photo_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(photo_path, "-photo.png")
    assert "write ./-photo.png for the file" in refused(capsys, "compress", "-photo.png", "a.rgru")
    assert run("compress", "--model", "none-1", "--", "-photo.png", "a.rgru") == 2
    assert "would be taken" not in capsys.readouterr().err
    assert "./--force" not in refused(capsys, "compress", "none.png", "a.rgru", "--force")


def test_comparing_asks_for_more_memory_than_compressing(
    capsys, tmp_path, photo_path, weights_path, weights, monkeypatch
):
    free = machine.memory_bytes(weights.model.config, *SIZE[::-1]) + 100
    monkeypatch.setattr(machine, "free_bytes", lambda: free)
    assert run("compress", photo_path, tmp_path / "a.rgru", "--model", weights_path) == 0
    capsys.readouterr()
    words = ("compare", photo_path, "--model", weights_path, "--output", tmp_path / "f.png")
    assert "MB of memory with these weights" in refused(capsys, *words)


def test_a_cut_file_decodes_to_the_last_whole_iteration_with_a_warning(capsys, tmp_path, rgru_path, weights_path):
    data = rgru_path.read_bytes()
    (tmp_path / "cut.rgru").write_bytes(data[:-1])
    assert run("decompress", tmp_path / "cut.rgru", tmp_path / "cut.png", "--model", weights_path) == 0
    assert "after iteration 2 are no whole iteration" in capsys.readouterr().err
    assert run("decompress", rgru_path, tmp_path / "2.png", "--model", weights_path, "--iterations", 2) == 0
    assert (tmp_path / "cut.png").read_bytes() == (tmp_path / "2.png").read_bytes()


@pytest.fixture
def sizes(weights, photo_path):
    """Bytes of the file after iteration 1, 2, ... 16."""
    progression = Progression(weights, images.load(photo_path))
    return [decoded.size_bytes for _, decoded in progression.run(16)]


def test_as_many_iterations_as_fit_into_bytes_or_bits_per_pixel(tmp_path, photo_path, weights_path, sizes):
    out = tmp_path / "a.rgru"
    pixels = SIZE[0] * SIZE[1]
    for option, value, expected in (
        ("--bytes", sizes[3], sizes[3]),
        ("--bytes", sizes[3] - 1, sizes[2]),
        ("--bytes", 10**9, sizes[15]),
        ("--bpp", 8 * (sizes[5] + 0.5) / pixels, sizes[5]),
        ("--bpp", 8 * (sizes[5] - 0.5) / pixels, sizes[4]),
    ):
        assert run("compress", photo_path, out, "--model", weights_path, "--force", option, value) == 0
        assert out.stat().st_size == expected


def test_as_few_iterations_as_reach_a_quality(capsys, tmp_path, photo_path, weights_path, weights):
    photo = images.load(photo_path)
    qualities = [metrics.ms_ssim(photo, frame) for _, frame in codec.encode(weights.model, photo, 16)]
    wanted = (min(qualities) + max(qualities)) / 2
    expected = next(i for i, quality in enumerate(qualities, start=1) if quality >= wanted)
    out = tmp_path / "a.rgru"
    words = ("compress", photo_path, out, "--model", weights_path)
    assert run(*words, "--quality", wanted) == 0
    assert bitstream.parse(out.read_bytes()).iterations == expected
    said = refused(capsys, *words, "--quality", 0.9999, "--force")
    best = max(qualities)
    assert re.search(rf"MS-SSIM is {best - 5e-5:.4f} at best, after {qualities.index(best) + 1} iterations?;", said)
    images.save_png(photo[:100], photo_path)
    assert "too small for MS-SSIM" in refused(capsys, *words, "--quality", 0.5, "--force")


def test_a_file_whose_bits_were_searched_for(tmp_path, photo_path, weights_path, weights):
    out = tmp_path / "a.rgru"
    words = ("compress", photo_path, out, "--model", weights_path, "--iterations", 2)
    assert run(*words, "--search", 2) == 0
    searched = Progression(weights, images.load(photo_path), search=2)
    for _ in searched.run(2):
        pass
    assert out.read_bytes() == searched.file(2)
    assert run(*words, "--force") == 0
    assert out.read_bytes() != searched.file(2)


def test_an_adaptive_file_of_so_many_bytes(capsys, tmp_path, photo_path, weights_path, weights, sizes):
    out = tmp_path / "a.rgru"
    words = ("compress", photo_path, out, "--model", weights_path, "--adaptive")
    assert run(*words, "--bytes", sizes[3]) == 0
    file = bitstream.parse(out.read_bytes())
    assert file.header.adaptive
    assert out.stat().st_size <= sizes[3]
    said = capsys.readouterr().out
    assert f"{out.stat().st_size:,} bytes" in said
    sent = sum(plane.any(axis=0).astype(int) for plane in bitstream.decode(file).planes)
    assert ("every position sends 1 iteration" if sent.max() == 1 else f"{sent.mean():.1f} on average") in said
    assert run("decompress", out, tmp_path / "a.png", "--model", weights_path) == 0
    *_, (_, frame) = codec.encode(weights.model, images.load(photo_path), file.iterations, sent)
    assert (np.asarray(Image.open(tmp_path / "a.png")) == frame).all()
    assert run("info", out) == 0
    assert "stop sending" in capsys.readouterr().out
    assert run("compress", photo_path, out, "--model", weights_path, "--force") == 0
    assert run("info", out) == 0
    assert "stop sending" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give --quality, --bpp or --bytes"),
        (("--iterations", 4), "give --quality, --bpp or --bytes instead of --iterations 4"),
        (("--quality", 0.9999), "here, not 0.9999; ask for a --quality up to that"),
        (("--bytes", 60), "bits per pixel, and --bytes 60 allows less; allow as much"),
    ],
    ids=["nothing", "iterations", "too good", "too small"],
)
def test_what_no_adaptive_file_can_be_is_refused(capsys, tmp_path, photo_path, weights_path, words, message):
    out = tmp_path / "a.rgru"
    assert message in refused(capsys, "compress", photo_path, out, "--model", weights_path, "--adaptive", *words)
    assert not out.exists()


def test_the_quality_that_adaptive_files_are_said_to_reach_they_reach(capsys, tmp_path, photo_path, weights_path):
    command = ("compress", photo_path, tmp_path / "a.rgru", "--model", weights_path, "--adaptive", "--quality")
    (reached,) = re.findall(r"reach MS-SSIM (0\.\d{4}) here", refused(capsys, *command, 0.9999))
    assert run(*command, reached) == 0


def test_only_adaptive_files_can_be_kept(capsys, tmp_path, weights_path):
    kept = tmp_path / "kept"
    message = refused(capsys, "evaluate", "--model", weights_path, "--images", tmp_path, "--files", kept)
    assert message == "rgru_lab: --files keeps adaptive files; add --adaptive\n"
    assert not kept.exists()
    kept.write_text("a file, not a folder", encoding="utf-8")
    message = refused(capsys, "evaluate", "--model", weights_path, "--images", tmp_path, "--adaptive", "--files", kept)
    assert message.endswith("; choose another --files\n")


def test_too_few_bytes_for_one_iteration_are_refused(capsys, tmp_path, photo_path, weights_path, sizes):
    out = tmp_path / "a.rgru"
    said = refused(capsys, "compress", photo_path, out, "--model", weights_path, "--bytes", sizes[0] - 1)
    assert f"{sizes[0]:,} bytes" in said
    assert not out.exists()


@pytest.mark.parametrize(
    "words",
    [("--bpp", "0"), ("--bpp", "nan"), ("--bpp", "much"), ("--quality", "1"), ("--quality", "-1"), ("--bytes", "1.5")],
)
def test_limits_that_make_no_sense_are_refused(capsys, tmp_path, photo_path, words):
    with pytest.raises(SystemExit) as stopped:
        run("compress", photo_path, tmp_path / "a.rgru", *words)
    assert stopped.value.code == 2
    assert words[1] in capsys.readouterr().err


def test_two_limits_at_once_are_refused(tmp_path, photo_path):
    with pytest.raises(SystemExit) as stopped:
        run("compress", photo_path, tmp_path / "a.rgru", "--bytes", 1000, "--iterations", 2)
    assert stopped.value.code == 2


@pytest.mark.parametrize("coding", ["raw", "counts"])
def test_the_coding_can_be_chosen_and_info_names_it(capsys, tmp_path, photo_path, weights_path, coding):
    out = tmp_path / "a.rgru"
    words = ("compress", photo_path, out, "--model", weights_path, "--iterations", 2, "--coding", coding)
    assert run(*words) == 0
    assert bitstream.parse(out.read_bytes()).header.coding == coding
    capsys.readouterr()
    assert run("info", out) == 0
    said = capsys.readouterr().out
    assert {"raw": "stored as they are", "counts": "counted contexts"}[coding] in said
    assert "run train-bits" in refused(capsys, *words[:-1], "learned", "--force")


def test_a_learned_model_beside_the_weights_is_used(tmp_path, photo_path, weights_path, weights, make_learned):
    path = tmp_path / "micro-1.safetensors"
    path.write_bytes(weights_path.read_bytes())
    learned = make_learned(weights.fingerprint)
    bitnet.save(learned, path.with_suffix(".bits"))
    out = tmp_path / "a.rgru"
    assert run("compress", photo_path, out, "--model", path, "--iterations", 2) == 0
    assert bitstream.parse(out.read_bytes()).header.bit_model == learned.fingerprint
    assert run("decompress", out, tmp_path / "a.png", "--model", path) == 0
    *_, (_, frame) = codec.encode(weights.model, images.load(photo_path), 2)
    assert (np.asarray(Image.open(tmp_path / "a.png")) == frame).all()


def _through_pipe(words, data):
    command = [sys.executable, "-m", "rgru_lab", *map(str, words)]
    # Other threads may move a pixel by a level, and on a busy machine bfloat16 may seem slow to one process.
    bf16 = str(int(machine.uses_bf16(model.load("small").model)))
    alike = os.environ | {"OMP_NUM_THREADS": "1", machine.BF16_VARIABLE: bf16}
    return subprocess.run(command, input=data, capture_output=True, check=True, env=alike)


def test_a_dash_is_the_standard_input_or_output(tmp_path, photo_path, rgru_path, weights_path):
    words = ("compress", "-", "-", "--model", weights_path, "--iterations", 3)
    done = _through_pipe(words, photo_path.read_bytes())
    assert done.stdout == rgru_path.read_bytes()
    assert b"bits per pixel" in done.stderr
    assert run("decompress", rgru_path, tmp_path / "a.png", "--model", weights_path) == 0
    done = _through_pipe(("decompress", "-", "-", "--model", weights_path), rgru_path.read_bytes())
    assert done.stdout == (tmp_path / "a.png").read_bytes()
    said = _through_pipe(("info", "-"), rgru_path.read_bytes()).stdout.decode()
    assert f" 3 {rgru_path.stat().st_size:11,} " in said.splitlines()[-1]


def test_damage_is_refused_and_partial_gives_what_comes_before_it(capsys, tmp_path, rgru_path, weights_path):
    data = bytearray(rgru_path.read_bytes())
    data[-1] ^= 1
    (tmp_path / "damaged.rgru").write_bytes(data)
    words = ("decompress", tmp_path / "damaged.rgru", tmp_path / "d.png", "--model", weights_path)
    said = refused(capsys, *words)
    assert "segment 3 is damaged" in said
    assert "--partial" in said
    assert not (tmp_path / "d.png").exists()
    assert run(*words, "--partial") == 0
    assert "segment 3 is damaged" in capsys.readouterr().err
    assert run(*words, "--partial", "--iterations", 3, "--force") == 0  # as many of them as there are
    assert run("decompress", rgru_path, tmp_path / "2.png", "--model", weights_path, "--iterations", 2) == 0
    assert (tmp_path / "d.png").read_bytes() == (tmp_path / "2.png").read_bytes()


def test_partial_gives_nothing_where_the_first_iteration_is_damaged(capsys, tmp_path, rgru_path, weights_path):
    data = bytearray(rgru_path.read_bytes())
    data[60] ^= 1
    (tmp_path / "damaged.rgru").write_bytes(data)
    words = ("decompress", tmp_path / "damaged.rgru", tmp_path / "d.png", "--model", weights_path, "--partial")
    assert "segment 1 is damaged" in refused(capsys, *words)
    assert not (tmp_path / "d.png").exists()


def test_average_writes_weights_that_name_their_parts(capsys, tmp_path, make_coder, weights_path):
    other, target = tmp_path / "micro-2.safetensors", tmp_path / "micro-3.safetensors"
    model.save(make_coder(seed=5), other, record={"steps": 7})
    words = ("average", other, weights_path, "--output", target)
    assert run(*words, "--shares", "1", "3") == 0
    out = capsys.readouterr().out
    assert "25% micro-2, 75% micro-1" in out
    assert f"train-bits --model {target} --images DIR" in out  # the first has none to start from
    parts = [model.load(path) for path in (other, weights_path)]
    found = model.load(target)
    assert found.record["steps"] == 7
    assert found.record["mean_of"] == [
        {"name": part.name, "sha256": part.sha256, "share": share}
        for part, share in zip(parts, (0.25, 0.75), strict=True)
    ]
    expected = inheritance.mean([part.model for part in parts], [1, 3])
    for mine, theirs in zip(found.model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs.half().float())
    assert "add --force" in refused(capsys, *words)
    assert run(*words, "--force") == 0
    assert {part["share"] for part in model.load(target).record["mean_of"]} == {0.5}
    for part in (other, weights_path):
        assert "is the input" in refused(capsys, *words[:-1], part, "--force")
    assert "ends in .safetensors" in refused(capsys, *words[:-1], tmp_path / "micro-4")
    assert "give two or more" in refused(capsys, "average", other, "--output", tmp_path / "micro-5.safetensors")


def test_train_bits_makes_a_model_that_is_used_and_can_be_resumed(capsys, tmp_path, weights_path, make_learned):
    folder, path = tmp_path / "set", tmp_path / "micro-1.safetensors"
    folder.mkdir()
    path.write_bytes(weights_path.read_bytes())
    for k in range(3):
        images.save_png(np.roll(photos.sample("chelsea"), 40 * k, 1), folder / f"{k}.png")
    words = ("train-bits", "--model", path, "--images", folder, "--output", tmp_path / "run")
    assert run(*words, "--time-budget", "2s") == 0
    out = capsys.readouterr().out
    _, counted, told = out.splitlines()[-16].split()
    assert ("counting tells B[1] better than what was learned: train longer" in out) is (told > counted)
    assert [line.split()[0] for line in out.splitlines()[-16:]] == [str(i) for i in range(1, 17)]
    first = bitnet.load(path.with_suffix(".bits"))
    assert first.codec == model.load(path).fingerprint
    assert "--resume" in refused(capsys, *words)
    assert run(*words, "--time-budget", "4s", "--resume") == 0
    second = bitnet.load(path.with_suffix(".bits"))
    assert second.record["steps"] > first.record["steps"]
    assert second.record["crops"] == first.record["crops"]
    shutil.copy(path, tmp_path / "micro-2.safetensors")
    words = ("train-bits", "--model", tmp_path / "micro-2.safetensors", "--images", folder, "--time-budget")
    older = make_learned(second.codec, groups=4)
    bitnet.save(older, path.with_suffix(".bits"))
    assert run(*words, "1s", "--output", tmp_path / "run-2", "--start-from", path) == 0
    assert bitnet.load(tmp_path / "micro-2.bits").record["started_from"] == older.fingerprint.hex()
    assert run(*words, "2s", "--output", tmp_path / "run-2", "--resume") == 0
    fourth = bitnet.load(tmp_path / "micro-2.bits")
    assert fourth.groups == 4 != second.groups
    divided = ("1s", "--output", tmp_path / "run-6", "--start-from", path, "--force", "--groups")
    said = refused(capsys, *words, *divided, 6)
    assert "in 4 groups cannot begin one of 32 in 6 with 24 and 12 units; divide its groups further or" in said
    said = refused(capsys, *words, *divided, 33)
    assert "micro-2 has 32 bits per position, which cannot be divided into 33 groups; name at most so many" in said
    assert not (tmp_path / "run-6").exists()  # nothing was made for it
    assert run(*words, *divided, 16) == 0
    assert bitnet.load(tmp_path / "micro-2.bits").groups == 16
    assert "files made with it need it; add --force" in refused(capsys, *words, "1s", "--output", tmp_path / "run-4")
    assert not (tmp_path / "run-4").exists()
    new = ("--output", tmp_path / "run-4", "--learning-rate", 1e-3, "--seed", 5, "--adaptive", 0.5)
    assert run(*words, "1s", *new, "--force") == 0
    assert run(*words, "2s", *new[:2], "--resume") == 0  # as it was begun, without saying it again
    trained = bitnet.load(tmp_path / "micro-2.bits").record["config"]
    assert [trained[name] for name in ("learning_rate", "seed", "adaptive")] == [1e-3, 5, 0.5]
    said = refused(capsys, *words, "3s", *new[:2], "--resume", "--seed", 6)
    assert "codes.npz was made with images set, seed 5, adaptive 0.5; say the same again" in said
    shutil.copytree(folder, tmp_path / "other")
    said = refused(capsys, *words[:4], tmp_path / "other", "--time-budget", "3s", *new[:2], "--resume")
    assert "was made with images set" in said
    bitnet.save(make_learned(second.codec, bits=8), path.with_suffix(".bits"))
    said = refused(capsys, *words, "1s", "--output", tmp_path / "run-5", "--start-from", path)
    assert "has 8 bits per position, micro-2 32" in said
    path.with_suffix(".bits").unlink()
    words = (*words, "1s", "--output", tmp_path / "run-3", "--start-from", path)
    assert "has no .bits file to begin with" in refused(capsys, *words)


def test_a_damaged_bits_file_is_in_nobodys_way_who_needs_none(capsys, tmp_path, photo_path, weights_path):
    path = tmp_path / "micro-1.safetensors"
    path.write_bytes(weights_path.read_bytes())
    path.with_suffix(".bits").write_text("broken", encoding="utf-8")
    words = ("compress", photo_path, tmp_path / "p.rgru", "--model", path, "--iterations", 1)
    assert "fetch it again or run train-bits --force" in refused(capsys, *words)
    for coding in ("raw", "counts"):
        assert run(*words, "--coding", coding, "--force") == 0
    for k in range(2):
        images.save_png(photos.sample("chelsea"), tmp_path / f"{k}.png")
    words = ("train-bits", "--model", path, "--images", tmp_path, "--time-budget", "1s", "--output", tmp_path / "run")
    assert "add --force to replace it" in refused(capsys, *words)
    photo_path.unlink()
    (tmp_path / "0.png").write_text("no picture", encoding="utf-8")  # the one that is validated on
    assert run(*words, "--force") == 0
    assert "none of the validation photographs can be read" in capsys.readouterr().out
    assert bitnet.load(path.with_suffix(".bits")).codec == model.load(path).fingerprint


def test_train_bits_refuses_a_folder_without_pictures(capsys, tmp_path, weights_path):
    (tmp_path / "none").mkdir()
    words = ("train-bits", "--model", weights_path, "--images", tmp_path / "none", "--output", tmp_path / "run")
    assert "0 pictures" in refused(capsys, *words)


def test_fuzz_says_what_it_tried(capsys, tmp_path):
    assert run("fuzz", "--files", 200, "--seed", 3, "--output", tmp_path / "fuzz.json") == 0
    assert "plain: 200 files" in capsys.readouterr().out
    said = json.loads((tmp_path / "fuzz.json").read_text(encoding="utf-8"))
    assert said["plain"]["files"] == 200
    assert said["sealed"]["files"] == 20


def test_compare_prints_what_can_be_measured_again_and_draws_a_figure(
    capsys, tmp_path, photo_path, weights_path, weights
):
    figure = tmp_path / "figure.png"
    assert run("compare", photo_path, "--model", weights_path, "--iterations", 2, "--output", figure) == 0
    out = capsys.readouterr().out
    photo = images.load(photo_path)
    ladder = Ladder(photo)
    sizes = {i: decoded.size_bytes for i, decoded in Progression(weights, photo).run(2)}
    for i, (_, frame) in enumerate(codec.encode(weights.model, photo, 2), start=1):
        row = next(line for line in out.splitlines() if line.split()[:1] == [str(i)])
        size_bytes = sizes[i]
        assert f"{size_bytes:,}" in row
        assert f"{metrics.ms_ssim(photo, frame):.4f}" in row
        rival = ladder.fitting(size_bytes)
        assert rival is None or f"{rival.size_bytes:,}" in row
    width, height = Image.open(figure).size
    assert width > 600
    assert height > 600


def test_compare_writes_a_page_of_the_same_numbers(capsys, tmp_path, photo_path, weights_path, monkeypatch):
    words = ("compare", photo_path, "--model", weights_path, "--iterations", 1, "--output", tmp_path / "f.png")
    assert run(*words, "--html", tmp_path / "page.html") == 0
    out, page = capsys.readouterr().out, (tmp_path / "page.html").read_text(encoding="utf-8")
    assert f"page.html, {(tmp_path / 'page.html').stat().st_size:,} bytes" in out
    state = json.loads(re.search(r'id="state">(.*?)</script>', page)[1])
    assert f"{state['readings']['ours'][0]['size_bytes']:,}" in out
    assert f"{photo_path.name} in 1 iteration" in page
    assert "1 iterations" not in page
    words = (*words[:-1], tmp_path / "g.png")
    assert "page.html is there already; add --force" in refused(capsys, *words, "--html", tmp_path / "page.html")
    assert "ends in .html" in refused(capsys, *words, "--html", tmp_path / "page.htm")
    monkeypatch.setattr(photographs, "PAGE_PIXELS", 2000)
    assert run(*words, "--force", "--html", tmp_path / "page.html") == 0
    assert "scaled down from" in capsys.readouterr().out


def test_compare_leaves_a_figure_that_is_there_alone_and_reads_the_standard_input(
    capsys, tmp_path, photo_path, weights_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    words = ("--model", weights_path, "--iterations", 1)
    (tmp_path / "photo-compare.png").write_bytes(b"mine")
    assert "photo-compare.png is there already; add --force" in refused(capsys, "compare", photo_path, *words)
    assert (tmp_path / "photo-compare.png").read_bytes() == b"mine"
    assert run("compare", photo_path, *words, "--force") == 0
    from_file = capsys.readouterr().out.splitlines()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(photo_path.read_bytes())))
    assert run("compare", "-", *words) == 0
    from_input = capsys.readouterr().out.splitlines()
    assert from_input[0].startswith("standard input: 208 x 176 px")
    assert from_input[1:-1] == from_file[1:-1]
    assert images.load(tmp_path / "stdin-compare.png").size
    assert "a name that ends in .png" in refused(capsys, "compare", photo_path, *words, "--output", "-")
    assert "a name that ends in .html" in refused(capsys, "compare", photo_path, *words, "--html", "-")
    assert "iterations is 40; choose 1 to 16" in refused(capsys, "compare", photo_path, *words[:2], "--iterations", 40)


def test_what_was_asked_for_stands_in_the_answer(capsys, tmp_path, photo_path, weights_path):
    words = ("compress", photo_path, tmp_path / "a.rgru", "--model", weights_path)
    assert run(*words, "--quality", 0.01) == 0
    *_, (_, frame) = Progression(model.load(weights_path), images.load(photo_path), search=0).run(1)
    said = capsys.readouterr().out
    assert f"PSNR {frame.psnr_db:.2f} dB, MS-SSIM {frame.ms_ssim:.4f}; 1 iteration" in said
    assert "1 iterations" not in said
    assert "and --bpp 0.01 allows less; allow as much" in refused(capsys, *words, "--force", "--bpp", 0.01)
    assert "and --bytes 20 allows less; allow as much" in refused(capsys, *words, "--force", "--bytes", 20)
    said = refused(capsys, *words, "--force", "--adaptive", "--bytes", 20)
    assert "bits per pixel, and --bytes 20 allows less" in said


@pytest.mark.parametrize(
    "words", [("compress", "a.jpg"), (), ("info", "a.rgru", "--loud"), ("compare", "a", "--iterations", "x")]
)
def test_a_command_that_is_wrong_in_itself_costs_one_sentence_too(capsys, words):
    with pytest.raises(SystemExit, match="2"):
        run(*words)
    said = capsys.readouterr().err
    assert re.fullmatch(r"rgru_lab: .+; see python -m rgru_lab.* --help\n", said)


def test_compare_takes_a_picture_too_small_for_ms_ssim(capsys, tmp_path, weights_path):
    images.save_png(np.zeros((5, 3, 3), np.uint8), tmp_path / "tiny.png")
    figure = tmp_path / "tiny-figure.png"
    assert run("compare", tmp_path / "tiny.png", "--model", weights_path, "--iterations", 1, "--output", figure) == 0
    assert "MS-SSIM needs sides over 160 px" in capsys.readouterr().out


STAGE = ("--curriculum", "1:2:32x2")


@pytest.fixture
def train_words(tmp_path, photo_path):
    """The command `train` on a folder with one photo, output in tmp_path / "run"; micro, unless a word follows."""
    return ("train", "--preset", "micro", "--images", tmp_path, "--output", tmp_path / "run")


def test_train_makes_weights_that_compress_and_can_be_resumed(capsys, tmp_path, photo_path, train_words):
    weights = tmp_path / "run" / "micro-local.safetensors"
    assert run(*train_words, *STAGE, "--steps", 3) == 0
    assert "micro from random weights on 1 pictures" in capsys.readouterr().out
    assert model.load(weights).record["steps"] == 3
    assert run("compress", photo_path, tmp_path / "t.rgru", "--model", weights, "--iterations", 1) == 0
    assert "--resume" in refused(capsys, *train_words, *STAGE, "--steps", 5)
    assert run(*train_words, "--steps", 5, "--resume") == 0
    said = capsys.readouterr().out
    assert "micro from the checkpoint" in said
    assert "at its end already" not in said
    assert run(*train_words, "--steps", 5, "--resume") == 0
    assert "it is at its end already; a larger --time-budget or --steps goes on" in capsys.readouterr().out
    assert model.load(weights).record["steps"] == 5


def test_a_resumed_training_keeps_its_recipe_and_refuses_another(capsys, tmp_path, train_words):
    recipe = ("--seed", 7, "--loss", "l1", "--late", 0.25, "--skip", 1, "--hard", 0.5, "--learning-rate", 2e-4)
    assert run(*train_words, "--curriculum", "0.5:1:16x3,1:2:32x2", "--batch", 1, *recipe, "--steps", 2) == 0
    trained = model.load(tmp_path / "run" / "micro-local.safetensors").record["config"]
    assert trained["curriculum"] == [[0.5, 1, 16, 1], [1.0, 2, 32, 1]]
    assert [trained[k] for k in ("seed", "loss", "late", "skip", "hard", "learning_rate")] == [*recipe[1::2]]
    said = refused(capsys, *train_words, "--resume", "--steps", 3, "--learning-rate", 1e-3)
    assert "made with learning_rate 0.0002" in said
    assert "made with seed 7" in refused(capsys, *train_words, "--resume", "--steps", 3, "--seed", 0)
    capsys.readouterr()
    assert run(*train_words, "--resume", "--steps", 3, "--late", 0.25, "--start-from", "small") == 0
    assert "goes on from its checkpoint, not from small" in capsys.readouterr().out
    record = model.load(tmp_path / "run" / "micro-local.safetensors").record
    assert record["config"] == trained
    assert record["steps"] == 3


def test_train_writes_its_checkpoint_in_parts(tmp_path, train_words):
    words = (*train_words, *STAGE, "--part-size", "0.1")
    assert run(*words, "--steps", 1) == 0
    sizes = [path.stat().st_size for path in (tmp_path / "run").glob("checkpoint-00000001-*.pt")]
    assert len(sizes) > 2
    assert max(sizes) == 100_000
    assert run(*words, "--resume", "--steps", 2) == 0
    assert len(list((tmp_path / "run").glob("checkpoint-00000002-*.pt"))) == len(sizes)


def test_resume_without_a_checkpoint_starts_from_the_shipped_weights_and_says_so(capsys, tmp_path, train_words):
    """And the same words, once more, go on from there."""
    stage = ("--preset", "small", "--resume", "--curriculum", "1:1:32x1")
    weights = tmp_path / "run" / "small-local.safetensors"
    assert run(*train_words, *stage, "--steps", 1, "--learning-rate", 1e-9) == 0
    trained, shipped = model.load(weights), model.load("small")
    assert f"small from {shipped.name} on" in capsys.readouterr().out
    assert trained.record["started_from"] == shipped.name
    for ours, theirs in zip(trained.model.parameters(), shipped.model.parameters(), strict=True):
        assert float((ours - theirs).detach().abs().max()) < 1e-3
    assert run(*train_words, *stage, "--steps", 2) == 0
    assert "small from the checkpoint on" in capsys.readouterr().out
    record = model.load(weights).record
    assert (record["started_from"], record["steps"]) == (shipped.name, 2)


def test_trained_weights_are_trained_on_with_the_last_stage_only_and_resume_with_it(capsys, tmp_path, train_words):
    images.save_png(np.zeros((128, 128, 3), np.uint8), tmp_path / "flat.png")
    start = ("--start-from", tmp_path / "run" / "micro-local.safetensors")
    assert run(*train_words, *STAGE, "--steps", 1) == 0
    words = (*train_words[:-1], tmp_path / "on", *start, "--resume", "--batch", 1, "--no-bf16")
    for steps in (1, 2):
        assert run(*words, "--steps", steps) == 0
        record = model.load(tmp_path / "on" / "micro-local.safetensors").record
        assert record["config"]["curriculum"] == [[1.0, *TrainConfig.curriculum[-1][1:3], 1]]
        assert record["config"]["loss"] == "ms-ssim"
        assert (record["started_from"], record["steps"]) == ("micro-local", steps)


def test_resume_without_a_checkpoint_or_shipped_weights_is_refused(capsys, tmp_path, train_words):
    said = refused(capsys, *train_words, "--resume", "--steps", 1)
    assert "holds no checkpoint, and no weights of 'micro' ship; leave out --resume" in said
    assert not (tmp_path / "run").exists()


def test_start_from_grows_the_shipped_small_into_base(capsys, tmp_path, train_words):
    words = (*train_words, "--preset", "base", "--start-from", "small", "--curriculum", "1:1:32x1")
    assert run(*words, "--steps", 1, "--learning-rate", 1e-9) == 0
    grown, small = model.load(tmp_path / "run" / "base-local.safetensors"), model.load("small")
    assert f"base from {small.name} on" in capsys.readouterr().out
    assert grown.model.config == preset("base")
    photo = photos.sample("chelsea")[100:132, 100:132].copy()
    frames = [next(codec.encode(weights.model, photo, 1))[1].astype(int) for weights in (grown, small)]
    assert np.abs(frames[0] - frames[1]).max() <= 2


def test_train_primes_weights_that_were_not_and_keeps_it_from_then_on(capsys, tmp_path, photo_path, train_words):
    weights = tmp_path / "run" / "micro-local.safetensors"
    assert run(*train_words, *STAGE, "--steps", 1) == 0
    words = (*train_words[:-1], tmp_path / "on", *STAGE, "--start-from", weights, "--no-bf16")
    primed = tmp_path / "on" / "micro-local.safetensors"
    assert run(*words, "--priming", 2, "--diffusion", 1, "--first-bits", 8, "--steps", 1) == 0
    expected = replace(preset("micro"), priming=2, diffusion=1, first_bits=8)
    assert model.load(primed).model.config == expected
    assert "made with priming 2" in refused(capsys, *words, "--resume", "--priming", 1, "--steps", 2)
    assert run(*words, "--resume", "--steps", 2) == 0  # as the checkpoint has it
    assert model.load(primed).model.config == expected
    again = (*train_words[:-1], tmp_path / "again", *STAGE, "--start-from", primed, "--no-bf16", "--steps", 1)
    assert run(*again, "--diffusion", 0) == 0  # as the weights have it, but for what is said
    assert model.load(tmp_path / "again" / primed.name).model.config == replace(expected, diffusion=0)
    assert run("compress", photo_path, tmp_path / "t.rgru", "--model", primed, "--iterations", 2) == 0
    assert run("decompress", tmp_path / "t.rgru", tmp_path / "t.png", "--model", primed) == 0


def test_train_with_a_rate_teaches_the_model_of_the_bits_and_writes_it_beside_the_weights(
    capsys, tmp_path, photo_path, train_words, make_learned
):
    weights = tmp_path / "run" / "micro-local.safetensors"
    words = (*train_words, *STAGE, "--rate", 2, "--no-bf16")
    assert run(*words, "--steps", 1) == 0
    assert "micro from random weights on" in capsys.readouterr().out
    first = bitnet.load(weights.with_suffix(".bits"))
    assert first.codec == model.load(weights).fingerprint
    assert first.record["config"]["rate"] == 2
    assert run(*train_words, "--resume", "--steps", 2) == 0
    (line,) = map(json.loads, (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()[-1:])
    assert len(line["bits_per_bit"]) == 2
    assert all(0 < bits < 1.5 for bits in line["bits_per_bit"])
    assert bitnet.load(weights.with_suffix(".bits")).fingerprint != first.fingerprint
    older = make_learned(model.load(weights).fingerprint, groups=4)
    bitnet.save(older, weights.with_suffix(".bits"))
    capsys.readouterr()
    on = (*train_words[:-1], tmp_path / "on", *STAGE, "--start-from", weights, "--steps", 1, "--learning-rate", 1e-9)
    assert run(*on, "--rate", 1) == 0
    said = capsys.readouterr().out
    assert "micro from micro-local and its .bits on" in said
    assert str(tmp_path / "on" / "micro-local.bits") in said
    ours, theirs = (bitnet.load(tmp_path / folder / "micro-local.bits").tensors for folder in ("on", "run"))
    assert all(np.array_equal(value, theirs[name]) for name, value in ours.items())  # hardly a step away
    assert run(*train_words[:-1], tmp_path / "on", "--resume", "--steps", 2, "--learning-rate", 1e-9) == 0
    assert bitnet.load(tmp_path / "on" / "micro-local.bits").groups == 4
    assert run("compress", photo_path, tmp_path / "t.rgru", "--model", weights, "--coding", "learned") == 0
    assert run("decompress", tmp_path / "t.rgru", tmp_path / "t.png", "--model", weights) == 0


def test_start_from_weights_that_do_not_fit_is_refused(capsys, tmp_path, train_words):
    paper = ["paper" if word == "micro" else word for word in train_words]
    assert "do not fit into" in refused(capsys, *paper, *STAGE, "--steps", 1, "--start-from", "small")
    assert "there is no file" in refused(capsys, *train_words, "--steps", 1, "--start-from", "gone.safetensors")
    assert not list((tmp_path / "run").glob("*"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--curriculum", "0.5:2:64x8"), "must rise to 1.0"),
        (("--curriculum", "1:17:64x8"), "17 iterations"),
        (("--curriculum", "1:2:40x8"), "patch is 40"),
        (("--curriculum", "1:2:64x0"), "batch is 0"),
        (("--curriculum", "1:2:512x1"), "none of the 1 pictures has 512 px"),
        (("--late", "-1"), "late is -1.0"),
        (("--rate", "-1"), "rate is -1.0; choose 0"),
        (("--rate", "inf"), "rate is inf; give a finite number"),
        (("--priming", "17"), "priming is 17; choose 0 to 16"),
        (("--first-bits", "33"), "first_bits is 33; choose 1 to 32, or 0 for all"),
        (("--diffusion", "-1"), "diffusion is -1; choose 0 to 16"),
        (("--skip", "16"), "after up to 16"),
        (("--hard", "0"), "hard is 0.0"),
        (("--learning-rate", "nan"), "learning_rate is nan"),
        (("--seed", "-1"), "seed is -1"),
        (("--images", "nowhere"), "no folder nowhere"),
    ],
    ids=str,
)
def test_train_refuses_what_it_cannot_follow_with_the_value(capsys, tmp_path, train_words, words, said):
    assert said in refused(capsys, *train_words, "--steps", 1, *words)
    assert not list((tmp_path / "run").glob("*"))


@pytest.mark.parametrize(
    "words",
    [
        ("--curriculum", "fast"),
        ("--curriculum", "1:2:64"),
        ("--curriculum", "1:2:64x8,"),
        ("--curriculum", "1.0.0:2:64x8"),
        ("--curriculum", "1:-2:64x8"),
        ("--part-size", "0"),
        ("--part-size", "0.05"),
        ("--part-size", "-1"),
        ("--part-size", "nan"),
        ("--loss", "l2"),
        ("--batch", "0"),
        ("--steps", "0"),
        ("--seed", "many"),
    ],
    ids=str,
)
def test_train_refuses_words_that_say_nothing_and_names_the_option(capsys, tmp_path, train_words, words):
    with pytest.raises(SystemExit) as stopped:
        run(*train_words, "--steps", 1, "=".join(words))
    assert stopped.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert words[0] in last
    assert words[1] in last
    assert not (tmp_path / "run").exists()


def test_a_stage_is_written_as_share_iterations_patch_and_batch():
    assert options.curriculum("0.25:4:64x8,1:10:128x4") == ((0.25, 4, 64, 8), (1.0, 10, 128, 4))


def test_a_size_is_in_megabytes():
    assert [options.size(text) for text in ("0.1", "2", "1.5")] == [100_000, 2_000_000, 1_500_000]


def test_a_damaged_checkpoint_is_named_before_anything_is_loaded(capsys, tmp_path, train_words):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint-00000009-1of1.pt").write_bytes(b"half")
    said = refused(capsys, *train_words, "--steps", 10, "--resume")
    assert "checkpoint-00000009-1of1.pt is damaged" in said


def test_two_processes_that_torchrun_starts_train_one_codec(tmp_path, train_words):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [*torchrun, "-m", "rgru_lab", *map(str, train_words), *STAGE, "--steps", "2", "--no-bf16"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("micro from random weights") == 1
    assert done.stdout.count("try it:") == 1
    record = model.load(tmp_path / "run" / "micro-local.safetensors").record
    assert record["steps"] == 2
    assert record["hardware"].startswith("2 x ")


def test_evaluate_writes_every_picture_and_the_mean_curve(tmp_path, photo_path, weights_path):
    out = tmp_path / "results"
    folder = tmp_path / "set"
    folder.mkdir()
    for shift in (0, 9):
        images.save_png(np.roll(images.load(photo_path), shift, 0), folder / f"{shift}.png")
    words = ("evaluate", "--images", folder, "--model", weights_path, "--iterations", 2, "--out", out)
    assert run(*words, "--against", "jpeg,webp") == 0
    rows = list(csv.DictReader((out / "set-micro-1.csv").open(encoding="utf-8")))
    assert len(rows) == 2 * 2
    theirs = list(csv.DictReader((out / "set-opponents.csv").open(encoding="utf-8")))
    assert len(theirs) == 2 * sum(len(CODECS[codec].points) for codec in ("jpeg", "webp"))
    summary = json.loads((out / "set-micro-1.json").read_text(encoding="utf-8"))
    for point in summary["curve"]:
        group = [r for r in rows if r["codec"] == "micro-1" and int(r["point"]) == point["point"]]
        assert point["bpp"] == pytest.approx(sum(float(r["bpp"]) for r in group) / 2, abs=1e-5)
        assert point["ms_ssim"] == pytest.approx(sum(float(r["ms_ssim"]) for r in group) / 2, abs=1e-5)
    assert summary["at_equal_ms_ssim"][0]["their_bpp"] is not None


def test_evaluate_refuses_an_unknown_opponent(capsys, tmp_path, photo_path):
    said = refused(
        capsys, "evaluate", "--images", photo_path.parent, "--against", "jpeg,gif", "--output", tmp_path / "r"
    )
    assert "no codec 'gif' to compare with" in said
    assert not (tmp_path / "r").exists()


def test_help_teaches_by_example(capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--help")
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    assert "residual" in out
    for command in ("compress", "decompress", "info", "compare", "train", "evaluate"):
        assert command in out


@pytest.mark.parametrize("iterations", ["0", "-1", "many", "1.5"])
def test_iterations_that_are_no_count_are_refused(capsys, photo_path, tmp_path, iterations):
    with pytest.raises(SystemExit) as stopped:
        run("compress", photo_path, tmp_path / "a.rgru", f"--iterations={iterations}")
    assert stopped.value.code == 2
    assert iterations in capsys.readouterr().err


def test_too_many_iterations_are_refused_with_the_limit(capsys, photo_path, tmp_path, weights_path):
    said = refused(capsys, "compress", photo_path, tmp_path / "a.rgru", "--model", weights_path, "--iterations", 17)
    assert "17" in said
    assert "16" in said
    assert not (tmp_path / "a.rgru").exists()


def test_more_iterations_than_the_file_holds_are_refused(capsys, tmp_path, rgru_path, weights_path):
    said = refused(capsys, "decompress", rgru_path, tmp_path / "a.png", "--model", weights_path, "--iterations", 4)
    assert "holds 3 iterations, not 4" in said


@pytest.mark.parametrize("command", ["compress", "compare"])
@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.png", None, "there is no file"),
        ("letter.png", b"Dear network,", "not a picture"),
        ("empty.png", b"", "0 bytes"),
    ],
)
def test_what_is_no_picture_is_refused_and_nothing_is_written(
    capsys, tmp_path, weights_path, command, name, content, words
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    before = sorted(tmp_path.iterdir())
    output = ["--output", tmp_path / "f.png"] if command == "compare" else [tmp_path / "a.rgru"]
    said = refused(capsys, command, tmp_path / name, *output, "--model", weights_path)
    assert words in said
    assert name in said
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("command", ["info", "decompress"])
def test_what_is_no_rgru_file_is_refused(capsys, tmp_path, photo_path, command):
    output = [tmp_path / "a.png"] if command == "decompress" else []
    assert "no .rgru file" in refused(capsys, command, photo_path, *output)
    assert "check the path" in refused(capsys, command, tmp_path / "gone.rgru", *output)
    assert not (tmp_path / "a.png").exists()


def test_what_is_there_is_not_overwritten_without_force(capsys, tmp_path, photo_path, weights_path):
    out = tmp_path / "a.rgru"
    out.write_bytes(b"mine")
    assert "--force" in refused(capsys, "compress", photo_path, out, "--model", weights_path)
    assert out.read_bytes() == b"mine"
    assert run("compress", photo_path, out, "--model", weights_path, "--iterations", 1, "--force") == 0
    assert out.read_bytes() != b"mine"


def test_a_folder_that_is_not_there_is_named(capsys, tmp_path, photo_path, weights_path):
    said = refused(capsys, "compress", photo_path, tmp_path / "no" / "a.rgru", "--model", weights_path)
    assert str(tmp_path / "no") in said


def test_unknown_weights_are_answered_with_those_that_exist(capsys, tmp_path, photo_path):
    said = refused(capsys, "compress", photo_path, tmp_path / "a.rgru", "--model", "enormous")
    assert "enormous" in said
    for name in model.available():
        assert name in said


def test_other_weights_than_the_file_needs_are_refused(capsys, tmp_path, rgru_path, weights):
    model.save(weights.model.__class__(weights.model.config), tmp_path / "other-1.safetensors", record={})
    said = refused(capsys, "decompress", rgru_path, tmp_path / "a.png", "--model", tmp_path / "other-1.safetensors")
    assert weights.fingerprint.hex() in said
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("compress", "photo.png", "photo.jpg"), "ends in .rgru"),
        (("compress", "photo.png", "photo"), "ends in .rgru"),
        (("decompress", "photo.rgru", "photo.jpg"), "ends in .png"),
        (("compare", "photo.png", "--output", "figure.pdf"), "ends in .png"),
        (("compare", "photo.png", "--output", "photo.png", "--force"), "is the input"),
        (("compress", "photo.png", "folder.rgru", "--force"), "is not a file"),
        (("compress", "photo.png", "x" * 300 + ".rgru"), "choose another"),
        (("compress", "photo\0.png", "a.rgru"), "check the path"),
        (("info", ""), "the input's name is empty; give a file"),
        (("compress", "", "a.rgru"), "the input's name is empty; give a file"),
    ],
)
def test_names_that_cannot_be_used_are_refused(capsys, monkeypatch, tmp_path, rgru_path, words, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.rgru").mkdir()
    before = {path: path.is_dir() or path.read_bytes() for path in tmp_path.iterdir()}
    assert said in refused(capsys, *words)
    assert {path: path.is_dir() or path.read_bytes() for path in tmp_path.iterdir()} == before


def test_evaluate_refuses_small_and_broken_pictures_before_it_starts(capsys, tmp_path, photo_path, weights_path):
    words = ("evaluate", "--images", tmp_path, "--model", weights_path, "--output", tmp_path / "results")
    images.save_png(np.zeros((160, 300, 3), np.uint8), tmp_path / "small.png")
    assert "small.png is 300 x 160 px" in refused(capsys, *words)
    (tmp_path / "small.png").write_bytes(photo_path.read_bytes()[:99])
    assert "small.png is damaged" in refused(capsys, *words)
    assert list((tmp_path / "results").iterdir()) == []


def test_a_step_that_memory_does_not_hold_is_one_sentence(capsys, train_words, monkeypatch):
    def step(self):
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(training.Trainer, "step", step)
    assert "choose a smaller --batch" in refused(capsys, *train_words, *STAGE, "--steps", 1)


@pytest.mark.parametrize("words", [("--images", "nowhere"), ("--graphs",)], ids=str)
def test_a_training_that_cannot_begin_leaves_no_folder(capsys, tmp_path, train_words, words, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    refused(capsys, *train_words, *words, "--steps", 1)
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written_to_is_named_before_any_work(capsys, tmp_path, photo_path, monkeypatch):
    monkeypatch.setattr(codec, "encode", None)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    said = refused(capsys, "compress", photo_path, tmp_path / "a.rgru")
    assert f"the folder {tmp_path} cannot be written to" in said


def test_as_many_bits_per_pixel_as_the_answer_names_are_enough(capsys, tmp_path, photo_path, weights_path):
    words = ("compress", photo_path, tmp_path / "a.rgru", "--model", weights_path)
    (bpp,) = re.findall(r"([\d.]+) bits per pixel", refused(capsys, *words, "--bpp", 0.001))
    assert run(*words, "--bpp", bpp) == 0


def test_weights_that_are_not_here_are_named_with_the_file_that_needs_them(capsys, tmp_path, rgru_path):
    said = refused(capsys, "decompress", rgru_path, tmp_path / "a.png")
    assert "the file was made with the weights micro-1, and there are no weights 'micro-1'" in said
    said = refused(capsys, "decompress", rgru_path, tmp_path / "a.png", "--model", "small")
    assert "name no weights if micro-1 is here, else get those that wrote it" in said


def test_a_training_that_diverges_leaves_no_weights(capsys, tmp_path, train_words):
    assert "diverged" in refused(capsys, *train_words, *STAGE, "--steps", 50, "--learning-rate", "1e30")
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_a_terminal_without_unicode_and_a_reader_that_stops_are_no_errors(tmp_path, rgru_path):
    """In a process of their own: the first page of `info` through a pipe that is closed at once."""
    odd = tmp_path / "ünï.rgru"
    odd.write_bytes(rgru_path.read_bytes())
    command = [sys.executable, "-m", "rgru_lab", "info", str(odd.with_name("gone-ü.rgru"))]
    done = subprocess.run(
        command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    )
    assert done.returncode == 2
    assert b"gone-" in done.stderr
    assert b"Traceback" not in done.stderr
    process = subprocess.Popen([*command[:-1], str(odd)], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert b"Traceback" not in process.stderr.read()
    assert process.wait(60) == 0


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("45m", 2700), ("2h", 7200), ("1h30m", 5400)])
def test_durations(text, seconds):
    assert options.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "2", "h", "-1h", "0s", "0h0m"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(SystemExit) as stopped:
        run("train", "--images", ".", f"--time-budget={text}")
    assert stopped.value.code == 2


@pytest.mark.parametrize("text", ["1.0.0:4:64x8", "1:4:64", "1:4:64x8:2", ".:4:64x8"])
def test_what_is_no_curriculum_is_refused(capsys, text):
    with pytest.raises(SystemExit):
        run("train", "--images", ".", "--steps", 1, "--curriculum", text)
    assert "is no curriculum; write it as 0.25:4:64x8,1:10:128x4" in capsys.readouterr().err


def test_trials_look_for_what_they_measure_before_they_make_a_folder(capsys, tmp_path):
    words = ("trials", "--images", tmp_path / "nowhere", "--output", tmp_path / "results")
    assert f"there is no folder {tmp_path / 'nowhere'}; give one with pictures" in refused(capsys, *words)
    (tmp_path / "nowhere").mkdir()
    assert "which are measured; give a folder that does" in refused(capsys, *words)
    assert not (tmp_path / "results").exists()


def test_a_folder_is_not_taken_for_the_kodak_set_by_its_name(tmp_path):
    (tmp_path / "kodak").mkdir()
    images.save_png(photos.sample("chelsea"), tmp_path / "kodak" / "mine.png")
    assert common.pictures(str(tmp_path / "kodak"))[0] == "kodak-folder"


def test_release_asks_for_the_speeds_before_it_measures_for_hours(capsys, tmp_path, monkeypatch):
    from rgru_lab import release

    monkeypatch.setattr(release, "RESULTS", tmp_path)
    monkeypatch.setattr(photos, "kodak", lambda: pytest.fail("it began"))
    monkeypatch.setenv(machine.BF16_VARIABLE, "")  # and put back what release changes
    assert f"the speed of {release.shipped()[0]} is not known; run" in refused(capsys, "release")


def test_release_runs_in_float32_wherever_it_is(monkeypatch):
    from rgru_lab import release

    seen = []
    monkeypatch.setattr(release, "notebooks", lambda names: seen.append(machine.uses_bf16(model.load().model)) or [])
    monkeypatch.setenv(machine.BF16_VARIABLE, "1")
    assert run("release", "--notebooks", "02") == 0
    assert seen == [False]


def test_train_says_what_is_missing(capsys, tmp_path):
    assert "--time-budget" in refused(capsys, "train", "--images", tmp_path)
    assert "no readable picture" in refused(
        capsys, "train", "--images", tmp_path, "--steps", 1, "--output", tmp_path / "r"
    )
