"""What is written to disk is there as a whole, or what was there before still is."""

import os
import sys
import threading
from pathlib import Path

import pytest

from rgru_lab import files
from rgru_lab.config import InputError
from rgru_lab.files import write_atomically, write_json


def _refusal(path, data: bytes) -> str:
    """The message of the error, which must be one sentence on one line."""
    with pytest.raises(InputError) as refused:
        write_atomically(path, data)
    message = str(refused.value)
    assert "\n" not in message
    assert not message.endswith(".")
    return message


def test_writing_replaces_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def _full_disk(path, data):
    with open(path, "wb") as file:
        file.write(data[: len(data) // 2])
    raise OSError(28, "No space left on device")


def _no_rename(source, target):
    raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    ("owner", "name", "failure", "reason"),
    [(Path, "write_bytes", _full_disk, "No space left"), (os, "replace", _no_rename, "Permission denied")],
    ids=["disk full", "no permission"],
)
def test_when_writing_fails_the_old_file_is_whole_and_no_part_is_left(
    tmp_path, monkeypatch, owner, name, failure, reason
):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, failure)
        message = _refusal(path, b"the new bytes")
    assert "a.bin" in message
    assert reason in message
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name == "nt", reason="links need rights there, and paths are shorter")
def test_a_link_stays_one_and_the_longest_name_can_be_written(tmp_path):
    (tmp_path / "whole").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "whole")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "whole").read_bytes() == b"new"
    write_atomically(tmp_path / ("a" * 255), b"new")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_named_without_a_file_is_named():
    assert _refusal(".", b"new").startswith("cannot write .: it is a folder")


@pytest.mark.parametrize("place", ["nowhere/a.bin", "file/a.bin", "folder", "a" * 256], ids=lambda p: p[:13])
def test_a_place_that_cannot_be_written_to_is_named(tmp_path, place):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"old")
    assert place in _refusal(tmp_path / place, b"new")
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no devices in its folders")
def test_a_device_is_not_read_to_its_end():
    with pytest.raises(OSError, match="it is a device, not a file"):
        files.read_bytes("/dev/zero")


def test_what_is_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "READ_LIMIT_BYTES", 10)
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    assert files.read_bytes(path) == bytes(10)
    path.write_bytes(bytes(11))
    with pytest.raises(OSError, match="it has more than 0 MB"):
        files.read_bytes(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_is_read_up_to_the_limit(tmp_path, monkeypatch):
    os.mkfifo(path := tmp_path / "pipe")
    for sent, limit in ((b"all of it", 9), (b"more of it", 9)):
        monkeypatch.setattr(files, "READ_LIMIT_BYTES", limit)
        writer = threading.Thread(target=path.write_bytes, args=(sent,))
        writer.start()
        if len(sent) <= limit:
            assert files.read_bytes(path) == sent
        else:
            with pytest.raises(OSError, match="more than"):
                files.read_bytes(path)
        writer.join()


@pytest.mark.parametrize("text", ["", "garbage", "[" * 100_000])
def test_damaged_json_is_named(tmp_path, text):
    (tmp_path / "found.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"found\.json is damaged .*delete it"):
        files.read_json(tmp_path / "found.json")


def test_json_is_written_for_people_and_holds_numbers_only(tmp_path):
    write_json(tmp_path / "a.json", {"a": [1.5, None]})
    assert (tmp_path / "a.json").read_text() == '{\n "a": [\n  1.5,\n  null\n ]\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert (tmp_path / "a.json").read_text().startswith("{")
