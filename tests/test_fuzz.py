"""The fuzz finds what it looks for, and finds nothing in the kit; the long runs are `python -m rgru_lab fuzz`."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgru_lab import bitmodel, bitstream, fuzz
from rgru_lab.bitstream import BitstreamError


@pytest.fixture(scope="module")
def good(make_learned):
    return fuzz.seeds([make_learned()])


def test_a_short_run_finds_nothing(good):
    plain = fuzz.run(good, 6000, 1, sealed=False)
    assert plain.refused > 2000
    assert plain.accepted > 500
    sealed = fuzz.run(good, 600, 1, sealed=True, trace_every=50)
    assert sealed.refused > 200
    assert sealed.accepted > 30
    assert 0 < sealed.peak_bytes < fuzz.MEMORY_LIMIT_BYTES


def test_the_same_seed_makes_the_same_files(good):
    outcomes = [fuzz.run(good, 300, 7, sealed=False) for _ in range(2)]
    assert outcomes[0][:3] == outcomes[1][:3]


def test_sealed_files_reach_the_range_decoder_and_the_learned_model(good, monkeypatch):
    reached = {"coded": 0, "learned": 0}
    decode, walk = bitmodel.decode, type(good[2].bit_model).walk

    def counted(*arguments):
        reached["coded"] += 1
        return decode(*arguments)

    def walked(*arguments):
        reached["learned"] += 1
        return walk(*arguments)

    monkeypatch.setattr(bitmodel, "decode", counted)
    monkeypatch.setattr(type(good[2].bit_model), "walk", walked)
    fuzz.run(good, 200, 3, sealed=True)
    assert reached["coded"] > 50
    assert reached["learned"] > 20


@pytest.mark.parametrize("coding", ["raw", "counts", "learned"])
def test_a_file_of_micro_cut_at_every_byte(weights, sample, make_learned, coding):
    bit_model = {"raw": None, "counts": fuzz.Counts(), "learned": make_learned(weights.fingerprint)}[coding]
    start = fuzz.coded(weights, bit_model, sample("coffee", 48, 64), 16)
    assert fuzz.cuts(start) == len(start.data) + 1


def test_a_cut_that_gives_too_much_or_too_little_is_found(good, monkeypatch):
    parse = bitstream.parse
    for wrong in (
        lambda data: parse(good[0].data),
        lambda data: parse(data, 1 if len(data) < len(good[0].data) else None),
    ):
        monkeypatch.setattr(bitstream, "parse", lambda data, wrong=wrong: wrong(data))
        with pytest.raises(fuzz.FuzzError, match="cut after"):
            fuzz.cuts(good[0]._replace(data=good[0].data))
        monkeypatch.setattr(bitstream, "parse", parse)
    with pytest.raises(fuzz.FuzzError, match="cut after"):
        fuzz.cuts(good[1]._replace(planes=good[1].planes[::-1]))


@pytest.mark.parametrize("error", [IndexError("x"), struct.error("x"), MemoryError(), AssertionError()])
def test_a_crash_is_found(good, monkeypatch, error):
    def crash(*arguments):
        raise error

    monkeypatch.setattr(bitstream, "_check_segment", crash)
    with pytest.raises(fuzz.FuzzError, match="from 5247"):
        fuzz.run(good, 200, 0, sealed=False)


def test_a_missing_checksum_is_found(good, monkeypatch):
    monkeypatch.setattr(bitstream, "_checksum", lambda header, index, kind, payload: 0)
    blind = [s._replace(data=bitstream.write(*_parts(s))) for s in good]
    with pytest.raises(fuzz.FuzzError, match="other bits than were written"):
        fuzz.run(blind, 3000, 0, sealed=False)


def test_a_large_allocation_is_found(good, monkeypatch):
    shape = bitstream._shape

    def careless(header):
        np.zeros(fuzz.MEMORY_LIMIT_BYTES // 8 + 1000)
        return shape(header)

    monkeypatch.setattr(bitstream, "_shape", careless)
    with pytest.raises(fuzz.FuzzError, match="bytes of memory"):
        fuzz.run(good, 50, 0, sealed=True, trace_every=1)


def _parts(seed):
    header, _ = bitstream.read_header(seed.data)
    return header, bitstream.Codes(header.height, header.width, seed.planes), seed.bit_model


@given(data=st.binary(max_size=300))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused_in_one_sentence(data):
    with pytest.raises(BitstreamError) as caught:
        bitstream.parse(b"RGRU\x02" + data)
    assert "\n" not in str(caught.value)


@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    bits=st.integers(1, 40),
    count=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from((0.0, 0.05, 1.0)),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_written_with_counts_is_read(height, width, bits, count, seed, spread):
    draw = np.random.default_rng(seed)
    shape = (count, bits, -(-height // 16), -(-width // 16))
    planes = tuple(np.where(draw.random(shape) < spread, 1, -1).astype(np.int8))
    header = bitstream.Header("x", bytes(8), height, width, bits, coding="counts")
    data = bitstream.write(header, bitstream.Codes(height, width, planes), fuzz.Counts())
    again = bitstream.decode(bitstream.parse(data)).planes
    assert all(np.array_equal(a, b) for a, b in zip(again, planes, strict=True))
    assert bitstream.parse(data).ends_bytes[-1] <= 48 + count * (8 + -(-planes[0].size // 8))
