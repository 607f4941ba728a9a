"""Golden streams: files of today decode to the same bits for ever, and the same bits give the same files.

People will have such files. A change that fails here needs a new format version, beside which this one is still read.
"""

import hashlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from rgru_lab import bitnet, bitstream, rangecoder
from rgru_lab.bitmodel import Counts

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))
import make  # noqa: E402

SHAPE = (4, 32, 6, 9)
HASHES = {
    "raw": "4afe4dd99fc23514016c192a3668b95e159e41a169c118923ccd896c56b84291",
    "counts": "329d6084be5651d659eb95e79b319b673c04504f95e5aca4ff1dadb69864a672",
    "learned": "4bf3fd482303b6131ce8f7b0cff083749061008d3b71341d300a189323a9f41e",
}
each_coding = pytest.mark.parametrize("coding", HASHES)


@pytest.fixture(scope="module")
def learned():
    return bitnet.load(GOLDEN / "micro.bits")


@pytest.fixture(scope="module")
def planes():
    bits = np.unpackbits(np.load(GOLDEN / "planes.npy"))[: np.prod(SHAPE)]
    return bits.reshape(SHAPE).astype(np.int8) * 2 - 1


@each_coding
def test_the_golden_files_are_the_ones_that_were_made(coding):
    assert hashlib.sha256((GOLDEN / f"{coding}.rgru").read_bytes()).hexdigest() == HASHES[coding]


@each_coding
def test_a_golden_file_decodes_to_the_same_bits(coding, planes, learned):
    file = bitstream.parse((GOLDEN / f"{coding}.rgru").read_bytes())
    assert file.header.coding == coding
    assert np.array_equal(bitstream.decode(file, learned).planes, planes)


@each_coding
def test_the_same_bits_give_the_golden_file(coding, planes, learned):
    data = (GOLDEN / f"{coding}.rgru").read_bytes()
    bit_model = {"raw": None, "counts": Counts(), "learned": learned}[coding]
    assert make.file(bitstream.read_header(data)[0], tuple(planes), bit_model) == data


@each_coding
def test_both_range_coders_read_and_write_it(coding, planes, learned, monkeypatch):
    monkeypatch.setattr(rangecoder, "Decoder", rangecoder.PlainDecoder)
    monkeypatch.setattr(rangecoder, "encode", rangecoder.encode_plainly)
    test_a_golden_file_decodes_to_the_same_bits(coding, planes, learned)
    test_the_same_bits_give_the_golden_file(coding, planes, learned)


@each_coding
def test_a_golden_file_cut_at_every_byte_gives_the_whole_iterations_before_it(coding, planes, learned):
    data = (GOLDEN / f"{coding}.rgru").read_bytes()
    ends = bitstream.parse(data).ends_bytes
    for cut in range(len(data)):
        whole = sum(end <= cut for end in ends)
        if not whole:
            with pytest.raises(bitstream.BitstreamError):
                bitstream.parse(data[:cut])
            continue
        file = bitstream.parse(data[:cut])
        assert file.iterations == whole
        if cut in (ends[whole - 1], ends[whole - 1] + 1):
            assert np.array_equal(bitstream.decode(file, learned).planes, planes[:whole])


def test_the_worked_example_in_the_description_is_a_golden_file():
    text = (Path(__file__).parent.parent / "data" / "FORMAT.md").read_text(encoding="utf-8")
    lines = re.findall(r"^([0-9a-f]{8})  ((?:[0-9a-f]{2} ?)+)$", text, re.MULTILINE)
    data = (GOLDEN / "counts.rgru").read_bytes()
    assert len(lines) == 6
    for at, dump in lines:
        shown = bytes.fromhex(dump)
        assert data[int(at, 16) : int(at, 16) + len(shown)] == shown
    rows = re.findall(r"^\| (\d+) \| `([0-9a-f ]+?)(?: \.\.\.)?`", text, re.MULTILINE)
    assert len(rows) == 13
    for at, dump in rows:
        shown = bytes.fromhex(dump)
        assert data[int(at) : int(at) + len(shown)] == shown
    file = bitstream.parse(data)
    assert file.segments[0].payload == data[49:93]
    first = bitstream.decode(file).planes[0][:, 0, 0]
    assert first[:8].tolist() == [1, 1, 1, -1, -1, -1, 1, 1]
