"""Golden streams: files of today decode to the same bits for ever, and the same bits give the same files.

People will have such files. A change that fails here needs a new format version, beside which this one is still read.
"""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from rgru_lab import bitnet, bitstream, rangecoder
from rgru_lab.bitmodel import Counts
from rgru_lab.codec import Codes

GOLDEN = Path(__file__).parent / "golden"
SHAPE = (4, 32, 6, 9)
HASHES = {
    "raw": "4afe4dd99fc23514016c192a3668b95e159e41a169c118923ccd896c56b84291",
    "counts": "329d6084be5651d659eb95e79b319b673c04504f95e5aca4ff1dadb69864a672",
    "learned": "dd1fc32604dfb092c75366e227905edf550add88b126840bb0d8fd1447de01c6",
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
    assert bitstream.write(bitstream.read_header(data)[0], Codes(90, 131, tuple(planes)), bit_model) == data


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
