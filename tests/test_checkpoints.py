"""A checkpoint is whole or it does not count, whatever stopped its writing, and damage is never loaded."""

import os
import zlib
from pathlib import Path

import pytest
import torch

from rgru_lab import checkpoints, images
from rgru_lab.checkpoints import CheckpointError
from rgru_lab.config import InputError


def _state(step):
    values = torch.rand(500, generator=torch.Generator().manual_seed(step))
    return {"step": step, "values": values, "nested": {"list": [1.5, None, True, "text"], 0: values.double()}}


def _equal(a, b):
    return (
        a["step"] == b["step"]
        and torch.equal(a["values"], b["values"])
        and a["nested"]["list"] == b["nested"]["list"]
        and torch.equal(a["nested"][0], b["nested"][0])
    )


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _kill_at(monkeypatch, number):
    """Let the so-and-so-many-th file that is written from now on be half there when the process dies."""
    written = []
    replace = os.replace

    def killed(source, target):
        written.append(target)
        if len(written) == number:
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(images.os, "replace", killed)


def test_a_state_comes_back_as_it_was(tmp_path):
    assert not checkpoints.exists(tmp_path)
    checkpoints.write(tmp_path, _state(7), 7)
    assert checkpoints.exists(tmp_path)
    assert _equal(checkpoints.read(tmp_path), _state(7))
    assert _names(tmp_path) == ["checkpoint-00000007-1of1.pt"]


def test_parts_are_of_the_stated_size_and_joined_are_the_one_file(tmp_path):
    (tmp_path / "one").mkdir(), (tmp_path / "parts").mkdir()
    checkpoints.write(tmp_path / "one", _state(7), 7)
    checkpoints.write(tmp_path / "parts", _state(7), 7, part_bytes=700)
    (one,) = (tmp_path / "one").iterdir()
    count = -(-one.stat().st_size // 700)
    assert count > 9  # so that an order by name would be wrong
    parts = [tmp_path / "parts" / f"checkpoint-00000007-{k + 1}of{count}.pt" for k in range(count)]
    assert {*parts} == {*(tmp_path / "parts").iterdir()}
    assert [part.stat().st_size for part in parts[:-1]] == [700] * (count - 1)
    assert 0 < parts[-1].stat().st_size <= 700
    assert b"".join(part.read_bytes() for part in parts) == one.read_bytes()
    assert _equal(checkpoints.read(tmp_path / "parts"), _state(7))


def test_a_size_that_divides_the_file_makes_no_empty_part(tmp_path):
    checkpoints.write(tmp_path, _state(7), 7)
    (one,) = tmp_path.iterdir()
    size = one.stat().st_size
    divisor = next(k for k in range(2, size) if size % k == 0)
    checkpoints.write(tmp_path, _state(7), 7, part_bytes=size // divisor)
    assert len(_names(tmp_path)) == divisor
    assert _equal(checkpoints.read(tmp_path), _state(7))


@pytest.mark.parametrize("part_bytes", [None, 3000])
def test_the_newest_whole_one_counts_and_the_older_are_gone(tmp_path, part_bytes):
    for step in (1, 2, 10):
        checkpoints.write(tmp_path, _state(step), step, part_bytes=part_bytes)
    assert all(name.startswith("checkpoint-00000010-") for name in _names(tmp_path))
    assert _equal(checkpoints.read(tmp_path), _state(10))


def test_of_two_whole_ones_the_newer_counts(tmp_path):
    (tmp_path / "new").mkdir()
    checkpoints.write(tmp_path / "new", _state(10), 10)
    checkpoints.write(tmp_path, _state(9), 9)
    for path in (tmp_path / "new").iterdir():
        path.rename(tmp_path / path.name)
    assert _equal(checkpoints.read(tmp_path), _state(10))


@pytest.mark.parametrize("missing", [0, 1, -1])
def test_a_newer_one_of_which_a_part_is_missing_does_not_count(tmp_path, missing):
    (tmp_path / "new").mkdir()
    checkpoints.write(tmp_path / "new", _state(10), 10, part_bytes=2000)
    checkpoints.write(tmp_path, _state(9), 9, part_bytes=3000)
    new = sorted((tmp_path / "new").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    new[missing].unlink()
    for path in (tmp_path / "new").glob("*"):
        path.rename(tmp_path / path.name)
    assert _equal(checkpoints.read(tmp_path), _state(9))


@pytest.mark.parametrize(("part_bytes", "number"), [(None, 1), (3000, 1), (3000, 2), (3000, 3)])
def test_a_kill_while_writing_leaves_the_former_whole_and_the_next_clears_up(tmp_path, monkeypatch, part_bytes, number):
    checkpoints.write(tmp_path, _state(1), 1, part_bytes=part_bytes)
    former = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        _kill_at(patch, number)
        with pytest.raises(KeyboardInterrupt):
            checkpoints.write(tmp_path, _state(2), 2, part_bytes=part_bytes)
    assert {path: path.read_bytes() for path in former} == former
    assert len(_names(tmp_path)) == len(former) + number - 1
    assert _equal(checkpoints.read(tmp_path), _state(1))
    with monkeypatch.context() as patch:  # kill -9 while the bytes are on their way to the disk
        patch.setattr(os, "replace", lambda *paths: None)
        patch.setattr(Path, "unlink", lambda path: None)
        checkpoints.write(tmp_path, _state(2), 2)
    assert any(name.startswith(".") for name in _names(tmp_path))
    checkpoints.write(tmp_path, _state(3), 3)
    assert _names(tmp_path) == ["checkpoint-00000003-1of1.pt"]


def test_older_ones_are_deleted_only_after_the_new_one_is_whole(tmp_path, monkeypatch):
    checkpoints.write(tmp_path, _state(1), 1, part_bytes=3000)
    unlink, whole = type(tmp_path).unlink, []

    def watched(path, **words):
        if path.suffix == ".pt":
            whole.append(_equal(checkpoints.read(tmp_path), _state(2)))
        unlink(path, **words)

    monkeypatch.setattr(type(tmp_path), "unlink", watched)
    checkpoints.write(tmp_path, _state(2), 2, part_bytes=3000)
    assert len(whole) > 1
    assert all(whole)


def test_files_of_others_are_left_alone(tmp_path):
    for name in ("checkpoint.pt", "checkpoint-00000001-1of1.pt.bak", "log.jsonl", "my-checkpoint-00000001-1of1.pt"):
        (tmp_path / name).write_text("mine", encoding="utf-8")
    before = _names(tmp_path)
    assert not checkpoints.exists(tmp_path)
    checkpoints.write(tmp_path, _state(2), 2)
    assert _names(tmp_path) == sorted([*before, "checkpoint-00000002-1of1.pt"])


def test_without_a_checkpoint_there_is_nothing_to_resume_from(tmp_path):
    with pytest.raises(CheckpointError, match=r"there is no checkpoint in .*leave out --resume"):
        checkpoints.read(tmp_path)
    assert not checkpoints.exists(tmp_path / "nowhere")


@pytest.mark.parametrize("content", [b"", b"\0\0\0\0", b"PK\x03\x04 cut", b"no checkpoint at all"])
def test_what_is_no_checkpoint_is_named(tmp_path, content):
    (tmp_path / "checkpoint-00000001-1of1.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint-00000001-1of1\.pt is damaged"):
        checkpoints.read(tmp_path)


def test_other_bytes_under_their_own_checksum_are_no_checkpoint(tmp_path):
    for content in (b"no checkpoint at all", b"PK\x03\x04"):
        data = content + zlib.crc32(content).to_bytes(4, "little")
        (tmp_path / "checkpoint-00000001-1of1.pt").write_bytes(data)
        with pytest.raises(
            CheckpointError, match=r"checkpoint-00000001-1of1\.pt cannot be read .*; choose another --output"
        ):
            checkpoints.read(tmp_path)


def test_no_flipped_bit_and_no_cut_is_loaded(tmp_path):
    checkpoints.write(tmp_path, _state(1), 1)
    (path,) = tmp_path.iterdir()
    data = path.read_bytes()
    damaged = [data[:k] for k in range(0, len(data), 251)]
    for k in range(0, len(data), 97):
        damaged.append(data[:k] + bytes([data[k] ^ 1 << k % 8]) + data[k + 1 :])
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="is damaged; delete it"):
            checkpoints.read(tmp_path)


def test_a_place_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    checkpoints.write(tmp_path, _state(1), 1)

    def full(path, data):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(type(tmp_path), "write_bytes", full)
        with pytest.raises(InputError, match=r"cannot write .*checkpoint-00000002-1of1\.pt: No space left"):
            checkpoints.write(tmp_path, _state(2), 2)
    assert _equal(checkpoints.read(tmp_path), _state(1))
