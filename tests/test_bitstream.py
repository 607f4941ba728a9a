"""The `.rgru` file: what is written is read, every cut gives the whole iterations before it, nothing damaged passes."""

import hashlib
import pickle
import struct
import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import pytest

from rgru_lab import bitmodel, bitstream, codec, model
from rgru_lab.bitmodel import Counts
from rgru_lab.bitstream import BitstreamError, DamagedSegment, Header
from rgru_lab.codec import Codes
from rgru_lab.config import RECONSTRUCTIONS, preset
from rgru_lab.progression import Progression

HEADER = Header("micro-1", bytes(range(1, 9)), height=17, width=18, bits=3)
"""Of a tiny file: a 2 x 2 grid of 3 bits, so that an iteration is 12 bits in 2 bytes, its segment 10 bytes."""

HEADER_BYTES = 30 + len("micro-1") + 4
SEGMENT_BYTES = 8 + 2


@pytest.fixture(scope="module")
def planes(small_planes):
    return small_planes(4, 3, 2, 2)


@pytest.fixture(scope="module")
def data(planes):
    """A tiny file of four iterations."""
    return bitstream.write(HEADER, Codes(17, 18, planes))


def _equal(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) and x.dtype == y.dtype for x, y in zip(a, b, strict=True))


def _segment(header, index, kind, payload):
    """A segment as the format's description has it, written without the library.

    The checksum leaves out the header's own: CRC-32 over bytes and their CRC-32 is the same for all bytes, so with it
    a segment would fit every file.
    """
    length = len(payload).to_bytes(3, "little")
    checksum = zlib.crc32(header[:-4] + struct.pack("<I", index) + bytes([kind]) + length + payload)
    return bytes([kind]) + length + struct.pack("<I", checksum) + payload


def _payload(plane):
    """Channel by channel, row by row, one bit each, most significant first, the last byte filled with zeros."""
    digits = "".join("1" if bit > 0 else "0" for bit in plane.ravel().tolist())
    digits += "0" * (-len(digits) % 8)
    return int(digits, 2).to_bytes(len(digits) // 8, "big")


def _resealed(at, value, header=HEADER):
    """A header with some bytes changed and its checksum made right again."""
    body = bytearray(header.pack()[:-4])
    body[at : at + len(value)] = value
    return bytes(body) + struct.pack("<I", zlib.crc32(body))


@pytest.mark.parametrize(("mode", "number"), [("one-shot", 0), ("additive", 1), ("residual-scaled", 2)])
def test_the_header_stores_the_reconstruction_mode_as_its_number(mode, number):
    packed = HEADER._replace(reconstruction=mode).pack()
    assert packed[6] == number
    assert bitstream.read_header(packed)[0].reconstruction == mode


@pytest.mark.parametrize("mode", RECONSTRUCTIONS)
def test_a_file_of_each_mode_says_so_and_decodes_to_the_photo_that_encoding_showed(make_coder, noise, tmp_path, mode):
    path = tmp_path / "other-1.safetensors"
    model.save(make_coder(replace(preset("micro"), reconstruction=mode)), path, record={})
    weights, photo = model.load(path), noise(37, 50)
    planes, shown = zip(*codec.encode(weights.model, photo, 3), strict=True)
    file = bitstream.parse(bitstream.write(Header.of(weights, 37, 50), Codes(37, 50, planes)))
    assert file.header.reconstruction == mode
    assert _equal(list(codec.decode(weights.model, bitstream.decode(file))), shown)


@pytest.mark.parametrize("seed", range(40))
def test_what_is_written_is_read_whatever_the_size(small_planes, seed):
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(1, 90, 2))
    bits, count = int(rng.integers(1, 40)), int(rng.integers(1, 17))
    name = "abcdefghijklm"[: rng.integers(0, 14)]
    header = Header(name, rng.bytes(8), height, width, bits)
    planes = small_planes(count, bits, -(-height // 16), -(-width // 16), seed)
    data = bitstream.write(header, Codes(height, width, planes))
    file = bitstream.parse(data)
    assert file.header == header
    assert bitstream.decode(file)[:2] == (height, width)
    assert _equal(bitstream.decode(file).planes, planes)
    assert file.ends_bytes[-1] == len(data)
    assert file.left_over_bytes == 0


def test_the_bytes_are_those_of_the_description(planes, data):
    fixed = b"RGRU" + bytes([2, 0, 0, 0, 3]) + struct.pack("<HH", 17, 18) + HEADER.fingerprint + bytes(8)
    header = fixed + b"\x07micro-1"
    header += struct.pack("<I", zlib.crc32(header))
    segments = [_segment(header, i, 1, _payload(plane)) for i, plane in enumerate(planes, start=1)]
    assert data == header + b"".join(segments)


def _golden():
    """Planes and file of a picture of 37 x 50 px, K = 5, raw."""
    rng = np.random.default_rng(0)
    planes = tuple(rng.integers(0, 2, (5, 3, 4)).astype(np.int8) * 2 - 1 for _ in range(3))
    return planes, bitstream.write(Header("golden-1", bytes(range(8)), 37, 50, 5), Codes(37, 50, planes))


def test_a_plane_of_another_shape_than_the_header_says_is_not_written(planes):
    with pytest.raises(BitstreamError, match=r"B\[2\] has the shape"):
        bitstream.write(HEADER, Codes(HEADER.height, HEADER.width, (planes[0], planes[1][:, :-1])))


def test_the_golden_file_has_not_changed():
    """Files that people have must stay readable: to change this hash is to need a new format version."""
    planes, data = _golden()
    assert hashlib.sha256(data).hexdigest() == "62fb1616b245040e27f4d35f23862523c3ad6340922f696f0a815d10dd221845"
    assert _equal(bitstream.decode(bitstream.parse(data)).planes, planes)


def _version_1(data, header_bytes, payload_bytes):
    """A raw file as format version 1 had it: the same but for the version, and so for all checksums."""
    body = data[:4] + b"\x01" + data[5 : header_bytes - 4]
    header = body + struct.pack("<I", zlib.crc32(body))
    payloads = (data[at + 8 : at + 8 + payload_bytes] for at in range(header_bytes, len(data), 8 + payload_bytes))
    return header + b"".join(_segment(header, i, 1, payload) for i, payload in enumerate(payloads, start=1))


def test_files_of_version_1_are_still_read():
    planes, data = _golden()
    old = _version_1(data, 34 + len("golden-1"), 8)
    assert hashlib.sha256(old).hexdigest() == "5935dab64843846f810f63fa4ce3b31751f67b3aa8f088ff836dab056fc13372"
    assert _equal(bitstream.decode(bitstream.parse(old)).planes, planes)


def test_version_1_knew_no_coding(data):
    old = bytearray(_version_1(data, HEADER_BYTES, 2))
    old[5] = 1
    old[HEADER_BYTES - 4 : HEADER_BYTES] = struct.pack("<I", zlib.crc32(old[: HEADER_BYTES - 4]))
    with pytest.raises(BitstreamError, match="does not know"):
        bitstream.parse(bytes(old))


@pytest.mark.parametrize("name", ["", "micro-1", "thirteen-char"])
def test_a_header_has_34_bytes_and_its_name_and_at_most_48(name):
    packed = HEADER._replace(name=name).pack()
    assert len(packed) == 34 + len(name) <= 48
    assert bitstream.read_header(packed + b"more") == (HEADER._replace(name=name), len(packed))


def test_a_name_over_13_characters_is_not_written():
    with pytest.raises(BitstreamError, match="14 characters"):
        HEADER._replace(name="fourteen-chars").pack()


def test_a_segment_is_8_bytes_and_its_payload(planes):
    assert len(bitstream.write_segment(HEADER.pack(), 1, planes[0])) == SEGMENT_BYTES


@pytest.mark.parametrize("value", [0, 2])
def test_a_bit_that_is_neither_minus_one_nor_one_is_not_written(value):
    plane = np.ones((3, 2, 2), np.int8)
    plane[1, 1, 1] = value
    with pytest.raises(BitstreamError, match=r"B\[7\]"):
        bitstream.write_segment(HEADER.pack(), 7, plane)


def test_the_ends_say_what_each_iteration_costs(data):
    expected = tuple(HEADER_BYTES + SEGMENT_BYTES * i for i in (1, 2, 3, 4))
    assert bitstream.parse(data).ends_bytes == expected
    assert expected[-1] == len(data)


def test_a_cut_at_any_byte_gives_exactly_the_whole_iterations_before_it(planes, data):
    for cut in range(len(data)):
        whole = (cut - HEADER_BYTES) // SEGMENT_BYTES
        if whole < 1:
            with pytest.raises(BitstreamError):
                bitstream.parse(data[:cut])
            continue
        file = bitstream.parse(data[:cut])
        assert _equal(bitstream.decode(file).planes, planes[:whole])
        assert file.left_over_bytes == cut - HEADER_BYTES - whole * SEGMENT_BYTES


def test_any_flipped_bit_is_noticed(data):
    passed = []
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            bitstream.parse(bytes(damaged))
        except BitstreamError:
            continue
        passed.append(bit)
    assert passed == []


@pytest.fixture(scope="module")
def parts(data):
    """Header and segments of the tiny file."""
    starts = range(HEADER_BYTES, len(data), SEGMENT_BYTES)
    return data[:HEADER_BYTES], *(data[at : at + SEGMENT_BYTES] for at in starts)


@pytest.mark.parametrize(
    ("order", "named"), [((2, 1), 1), ((1, 3, 2), 2), ((2, 3), 1), ((1, 3), 2), ((1, 1), 2)], ids=str
)
def test_segments_out_of_their_order_are_refused(parts, order, named):
    with pytest.raises(BitstreamError, match=f"segment {named} is damaged"):
        bitstream.parse(parts[0] + b"".join(parts[i] for i in order))


@pytest.mark.parametrize(
    "change", [{"fingerprint": bytes(8)}, {"height": 18}, {"width": 20}, {"name": "micro-2"}], ids=lambda c: min(c)
)
def test_a_segment_of_another_file_is_refused(parts, planes, change):
    other = bitstream.write_segment(HEADER._replace(**change).pack(), 2, planes[1])
    with pytest.raises(BitstreamError, match="segment 2 is damaged"):
        bitstream.parse(parts[0] + parts[1] + other)


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (b"", "empty"),
        (b"RG", r"no \.rgru file"),
        (b"\x89PNG" + bytes(60), r"no \.rgru file.*PNG"),
        (_resealed(4, b"\x03"), "version 3.*update the kit"),
        (_resealed(4, b"\x00"), "version 0"),
        (_resealed(5, b"\x03"), "does not know"),
        (_resealed(6, b"\x03"), "does not know"),
        (_resealed(7, b"\x02"), "does not know"),
        (_resealed(8, b"\x00"), "does not know"),
        (_resealed(21, b"\x01"), "does not know"),
        (_resealed(30, b"m\xefcro-1"), "not in printable ASCII"),
        (_resealed(30, b"mi\x1bro-1"), "not in printable ASCII"),
        (_resealed(9, struct.pack("<H", 0)), "18 x 0 px"),
        (_resealed(9, struct.pack("<HH", 65_535, 65_535)), "65535 x 65535 px.*16 megapixels"),
        (_resealed(9, struct.pack("<HH", 4001, 4000)), "4000 x 4001 px"),
        (HEADER.pack()[:-1], "cut inside its header"),
        (HEADER.pack(), "before its first iteration"),
        (HEADER.pack()[:-1] + b"\x00", "header is damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_header_that_cannot_be_trusted_is_refused_with_the_reason(damaged, message):
    with pytest.raises(BitstreamError, match=message):
        bitstream.parse(damaged)


def test_a_header_with_a_longer_name_than_the_format_allows_is_refused():
    body = HEADER.pack()[:29] + bytes([14]) + b"fourteen-chars"
    with pytest.raises(BitstreamError):
        bitstream.read_header(body + struct.pack("<I", zlib.crc32(body)))


def test_an_absurd_size_is_refused_before_anything_of_that_size_is_allocated():
    claim = _resealed(8, struct.pack("<BHH", 255, 65_535, 65_535))
    tracemalloc.start()
    try:
        with pytest.raises(BitstreamError):
            bitstream.parse(claim + bytes(1000))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [0, 1, 3, 0xFFFFFF])
def test_an_iteration_of_another_length_than_the_size_asks_for_is_refused(parts, size):
    wrong = bytes([1]) + size.to_bytes(3, "little") + bytes(4 + min(size, 3))
    with pytest.raises(BitstreamError, match=f"segment 2 says {size} bytes where 2 belong"):
        bitstream.parse(parts[0] + parts[1] + wrong)


def test_sixteen_iterations_are_read_and_seventeen_refused(small_planes):
    planes = small_planes(17, 3, 2, 2)
    sixteen = bitstream.write(HEADER, Codes(17, 18, planes[:16]))
    assert len(bitstream.parse(sixteen).segments) == 16
    with pytest.raises(BitstreamError, match="at most 16 iterations"):
        bitstream.write(HEADER, Codes(17, 18, planes))
    with pytest.raises(BitstreamError, match="more than 16 iterations"):
        bitstream.parse(sixteen + _segment(HEADER.pack(), 17, 1, _payload(planes[16])))


def test_an_unknown_segment_that_may_be_skipped_is_skipped(parts, planes):
    header = parts[0]
    unknown = _segment(header, 2, 0x85, b"a comment")
    last = bitstream.write_segment(header, 3, planes[1])
    file = bitstream.parse(header + parts[1] + unknown + last)
    assert _equal(bitstream.decode(file).planes, planes[:2])
    assert file.ends_bytes == (HEADER_BYTES + 10, HEADER_BYTES + 37)
    assert file.left_over_bytes == 0


def test_a_damaged_segment_is_refused_even_if_it_may_be_skipped(parts):
    unknown = _segment(parts[0], 2, 0x85, b"a comment")[:-1] + b"T"
    with pytest.raises(BitstreamError, match="segment 2 is damaged"):
        bitstream.parse(parts[0] + parts[1] + unknown)


@pytest.mark.parametrize("kind", [0, 4, 127])
def test_an_unknown_segment_that_may_not_be_skipped_is_refused(parts, kind):
    with pytest.raises(BitstreamError, match=f"segment 2 is of kind {kind}"):
        bitstream.parse(parts[0] + parts[1] + _segment(parts[0], 2, kind, b"??"))


@pytest.fixture(scope="module")
def progression(weights, sample):
    progression = Progression(weights, sample("coffee", 37, 50))
    assert [i for i, _ in progression.run(4)] == [1, 2, 3, 4]
    return progression


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_file_of_k_iterations_decodes_to_exactly_the_photo_of_iteration_k(progression, weights, k):
    file = bitstream.parse(progression.file(k))
    assert file.header == Header.of(weights, 37, 50, progression.bit_model)
    assert len(bitstream.decode(file).planes) == k
    *_, photo = codec.decode(weights.model, bitstream.decode(file))
    assert np.array_equal(photo, progression[k].photo)


def test_the_file_of_k_iterations_holds_the_planes_that_encoding_gave(progression, weights):
    planes = tuple(plane for plane, _ in codec.encode(weights.model, progression.original, 4))
    for k in (1, 2, 3, 4):
        assert _equal(bitstream.decode(bitstream.parse(progression.file(k))).planes, planes[:k])


@pytest.mark.parametrize("k", [1, 4])
def test_size_bytes_is_that_of_the_file_on_disk(progression, tmp_path, k):
    path = tmp_path / "photo.rgru"
    path.write_bytes(progression.file(k))
    assert progression[k].size_bytes == path.stat().st_size
    assert progression[k].bpp == 8 * path.stat().st_size / (37 * 50)


@pytest.mark.parametrize("k", [0, -1, 5])
def test_an_iteration_that_was_not_computed_has_no_photo(progression, k):
    with pytest.raises(IndexError, match=f"iteration {k} is not there; 1 to 4 are"):
        progression[k]


@pytest.mark.parametrize("k", [0, -1, 5])
def test_an_iteration_that_was_not_computed_has_no_file(progression, k):
    with pytest.raises(IndexError, match=f"iteration {k} is not there; 1 to 4 are"):
        progression.file(k)


def test_a_stopped_run_keeps_what_came_so_far(weights, sample):
    progression = Progression(weights, sample("coffee", 20, 20))
    for i, _ in progression.run(8):
        if i == 2:
            break
    assert len(progression) == 2
    assert len(bitstream.parse(progression.file(2)).segments) == 2


def test_the_residual_is_the_signed_difference_of_the_photos(progression):
    residual = progression[2].residual
    assert residual.dtype == np.int16
    assert np.array_equal(residual + progression[2].photo, progression.original)


CODED = HEADER._replace(coding="counts", bits=32, height=64, width=80)


@pytest.fixture(scope="module")
def alike():
    """Four planes whose bits are all but alike, so that coding pays."""
    draw = np.random.default_rng(0)
    return tuple(np.where(draw.random((4, 32, 4, 5)) < 0.04, -1, 1).astype(np.int8))


@pytest.fixture(scope="module")
def coded(alike):
    return bitstream.write(CODED, Codes(64, 80, alike), Counts())


def _resealed_payload(data, k, change):
    """The same file with segment k's payload changed, or its kind, and all checksums right."""
    end = bitstream.read_header(data)[1]
    parts = [[segment.kind, segment.payload] for segment in bitstream.parse(data).segments]
    change(parts[k - 1])
    return data[:end] + b"".join(_segment(data[:end], i, *part) for i, part in enumerate(parts, start=1))


def test_a_coded_file_is_smaller_and_says_what_it_saved(alike, coded):
    file = bitstream.parse(coded)
    assert [segment.kind for segment in file.segments] == [2] * 4
    assert _equal(bitstream.decode(file).planes, alike)
    raw = bitstream.write(CODED._replace(coding="raw"), Codes(64, 80, alike))
    assert file.raw_bytes == bitstream.parse(raw).ends_bytes
    assert file.ends_bytes[-1] < 0.7 * len(raw)
    sizes = np.diff([HEADER_BYTES, *file.ends_bytes]) - 8
    assert file.bits_per_bit == pytest.approx(8 * sizes / (32 * 4 * 5))


def test_an_iteration_that_coding_would_lengthen_is_written_raw(small_planes):
    planes = small_planes(3, 32, 4, 5)
    data = bitstream.write(CODED, Codes(64, 80, planes), Counts())
    assert len(data) == HEADER_BYTES + 3 * (8 + 80)
    assert [segment.kind for segment in bitstream.parse(data).segments] == [1] * 3
    assert _equal(bitstream.decode(bitstream.parse(data)).planes, planes)


def test_of_three_codings_the_shortest_is_written(alike, small_planes, make_learned):
    learned = make_learned(seed=1)
    (likely,) = _likely(learned, 1)
    header = CODED._replace(coding="learned", bit_model=learned.fingerprint)
    for plane, kind in ((likely, 3), (alike[0], 2), (small_planes(1, 32, 4, 5)[0], 1)):
        file = bitstream.parse(bitstream.write(header, Codes(64, 80, (plane,)), learned))
        assert file.segments[0].kind == kind
        assert _equal(bitstream.decode(file, learned).planes, (plane,))


def _lengthen(part):
    part[1] += bytes(4)


def _shorten(part):
    part[1] = part[1][:-4]


@pytest.mark.parametrize("change", [_lengthen, _shorten])
@pytest.mark.parametrize("k", [1, 3])
def test_a_coded_payload_that_no_encoder_writes_is_refused_though_its_checksum_is_right(coded, change, k):
    file = bitstream.parse(_resealed_payload(coded, k, change))
    with pytest.raises(DamagedSegment, match=f"segment {k} is damaged") as caught:
        bitstream.decode(file)
    assert caught.value.whole == k - 1
    assert len(bitstream.decode(file, iterations=k - 1).planes) == k - 1


@pytest.mark.parametrize("wrong", [3, 80, 84, 0])
def test_a_coded_payload_of_an_impossible_length_is_refused(coded, wrong):
    with pytest.raises(DamagedSegment, match=f"segment 2 says {wrong} range-coded bytes where 80"):
        bitstream.parse(_resealed_payload(coded, 2, lambda part: part.__setitem__(1, bytes(wrong))))


def test_raw_bits_after_the_last_one_must_be_zero(data):
    damaged = _resealed_payload(data, 2, lambda part: part.__setitem__(1, part[1][:1] + bytes([part[1][1] | 1])))
    with pytest.raises(DamagedSegment, match="segment 2 is damaged"):
        bitstream.decode(bitstream.parse(damaged))


def test_a_coded_segment_in_a_file_that_says_raw_is_refused(data):
    damaged = _resealed_payload(data, 3, lambda part: part.__setitem__(0, 2))
    with pytest.raises(DamagedSegment, match="segment 3 is range-coded in a way"):
        bitstream.parse(damaged)


def test_damage_says_how_many_iterations_come_before_it_and_they_can_be_read(coded, alike):
    for k, end in enumerate(bitstream.parse(coded).ends_bytes, start=1):
        damaged = bytearray(coded)
        damaged[end - 1] ^= 1
        with pytest.raises(DamagedSegment) as caught:
            bitstream.parse(bytes(damaged))
        assert caught.value.whole == k - 1
        if k > 1:
            assert _equal(bitstream.decode(bitstream.parse(bytes(damaged), k - 1)).planes, alike[: k - 1])


def _likely(learned, count, seed=2):
    """Planes (32, 4, 5) as this model expects them, so that coding with it pays."""
    drawn, planes = np.random.default_rng(seed), []
    for _ in range(count):
        bits = learned.walk(planes, (32, 4, 5), lambda _, p: (drawn.random(len(p)) * 65536 < p).astype(int))
        planes.append(bits)
    return tuple(planes)


def test_a_file_with_a_learned_model_needs_exactly_that_one(make_learned):
    learned, other = make_learned(seed=1), make_learned(seed=2)
    likely = _likely(learned, 3)
    header = CODED._replace(coding="learned", bit_model=learned.fingerprint)
    file = bitstream.parse(bitstream.write(header, Codes(64, 80, likely), learned))
    assert 3 in [segment.kind for segment in file.segments]
    assert _equal(bitstream.decode(file, learned).planes, likely)
    with pytest.raises(BitstreamError, match=f"{learned.fingerprint.hex()}.*here has {other.fingerprint.hex()}"):
        bitstream.decode(file, other)
    with pytest.raises(BitstreamError, match="there is none here"):
        bitstream.decode(file)


@pytest.mark.parametrize("change", [{"coding": "learned"}, {"coding": "counts", "bit_model": bytes(range(8))}], ids=str)
def test_a_fingerprint_of_a_learned_model_stands_in_a_header_exactly_if_it_is_used(change):
    with pytest.raises(BitstreamError, match="does not know"):
        bitstream.read_header(HEADER._replace(**change).pack())


def test_progression_knows_the_raw_size_and_other_codings_decode_to_the_same_photo(progression, weights, sample):
    raw = Progression(weights, sample("coffee", 37, 50), None)
    for i, decoded in raw.run(4):
        assert decoded.raw_bytes == decoded.size_bytes == progression[i].raw_bytes
        assert decoded.size_bytes >= progression[i].size_bytes
        assert np.array_equal(decoded.photo, progression[i].photo)


# Adaptive files: positions that stop

STOPPING = HEADER._replace(adaptive=True)


def _stopping(planes, counts):
    """The planes with zeros where a position has stopped: `counts` says after which iteration each does."""
    return [(plane * (counts >= i)).astype(np.int8) for i, plane in enumerate(planes, start=1)]


def test_the_bytes_of_an_adaptive_file_are_those_of_the_description(planes):
    """Flags of the positions that sent before, row by row, then the bits of those that do, channel by channel."""
    counts = np.array([[3, 1], [0, 2]])
    stopping = _stopping(planes[:3], counts)
    data = bitstream.write(STOPPING, Codes(17, 18, stopping))
    fixed = b"RGRU" + bytes([2, 0, 0, 1, 3]) + struct.pack("<HH", 17, 18) + HEADER.fingerprint + bytes(8)
    header = fixed + b"\x07micro-1"
    header += struct.pack("<I", zlib.crc32(header))
    p = planes
    told = [
        np.array([1, 1, -1, 1, *(p[0][k][y, x] for k in range(3) for y, x in ((0, 0), (0, 1), (1, 1)))]),
        np.array([1, -1, 1, *(p[1][k][y, x] for k in range(3) for y, x in ((0, 0), (1, 1)))]),
        np.array([1, -1, *(p[2][k][0, 0] for k in range(3))]),
    ]
    assert data == header + b"".join(_segment(header, i, 1, _payload(each)) for i, each in enumerate(told, start=1))
    file = bitstream.parse(data)
    assert file.header == STOPPING
    assert _equal(bitstream.decode(file).planes, stopping)


@pytest.mark.parametrize("coding", ["raw", "counts", "learned"])
@pytest.mark.parametrize("seed", range(6))
def test_what_an_adaptive_file_holds_is_read_whatever_stops_where(small_planes, make_learned, coding, seed):
    rng = np.random.default_rng(seed)
    h, w = (int(v) for v in rng.integers(1, 7, 2))
    bit_model = {"raw": None, "counts": Counts(), "learned": make_learned()}[coding]
    counts = rng.integers(0, 5, (h, w))
    counts[0, 0] = 4
    stopping = _stopping(small_planes(4, 32, h, w, seed), counts)
    header = Header("micro-1", bytes(range(8)), 16 * h, 16 * w, 32, adaptive=True)
    if bit_model:
        header = header._replace(coding=bit_model.coding, bit_model=bit_model.fingerprint)
    data = bitstream.write(header, Codes(16 * h, 16 * w, stopping), bit_model)
    file = bitstream.parse(data)
    assert _equal(bitstream.decode(file, bit_model).planes, stopping)
    for i, end in enumerate(file.ends_bytes, start=1):
        assert _equal(bitstream.decode(bitstream.parse(data[:end]), bit_model).planes, stopping[:i])


@pytest.mark.parametrize("coding", ["counts", "learned"])
def test_a_position_that_has_stopped_takes_no_room_in_coded_segments(small_planes, make_learned, coding):
    """Random bits take one bit each; a quarter of the positions takes a quarter, and little for the flags."""
    bit_model = Counts() if coding == "counts" else make_learned()
    planes = small_planes(2, 32, 16, 16, 1)
    counts = np.ones((16, 16), int)
    counts[:8, :8] = 2
    header = Header("a", bytes(8), 256, 256, 32, "one-shot", coding, bit_model.fingerprint, adaptive=True)
    data = bitstream.write(header, Codes(256, 256, _stopping(planes, counts)), bit_model)
    first, second = bitstream.parse(data).segments
    assert len(second.payload) < 0.31 * len(first.payload)


def _cut_bits(plane):
    plane = plane.copy()
    plane[1, 0, 0] = 0
    return plane


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_cut_bits, "send all or none"),
        (lambda plane: 3 * plane, "send all or none"),
        (lambda plane: np.zeros_like(plane), "sends nothing"),
        (lambda plane: np.where(plane == 0, 1, plane).astype(np.int8), "had stopped"),
    ],
    ids=["a part of a position", "another value", "nothing", "one that had stopped"],
)
def test_planes_that_no_adaptive_file_can_hold_are_not_written(planes, change, message):
    stopping = _stopping(planes, np.array([[4, 1], [2, 3]]))
    with pytest.raises(BitstreamError, match=message):
        bitstream.write_segment(STOPPING.pack(), 3, change(stopping[2]), stopping[:2])


def test_version_1_knew_no_stopping(planes):
    data = bitstream.write(HEADER, Codes(17, 18, planes))
    old = bytearray(_version_1(data, HEADER_BYTES, 2))
    old[7] = 1
    old[HEADER_BYTES - 4 : HEADER_BYTES] = struct.pack("<I", zlib.crc32(old[: HEADER_BYTES - 4]))
    with pytest.raises(BitstreamError, match="does not know"):
        bitstream.parse(bytes(old))


@pytest.mark.parametrize(
    "bits",
    [
        "0000" + "0000",  # nobody sends
        "1000" + "1011",  # a one where zeros belong
        "1100" + "1010",  # too few
        "1000" + "1110" + "0000" * 2,  # a byte too many
    ],
    ids=["nothing", "no zeros at the end", "too few bits", "too many bytes"],
)
def test_raw_segments_that_no_encoder_writes_are_refused(bits):
    header = STOPPING.pack()
    payload = int(bits, 2).to_bytes(len(bits) // 8, "big")
    data = header + _segment(header, 1, 1, payload)
    with pytest.raises(DamagedSegment, match="segment 1"):
        bitstream.decode(bitstream.parse(data))


def test_an_adaptive_segment_longer_than_all_could_be_is_refused_by_its_length():
    header = STOPPING.pack()
    for size in (3, 200):  # flags and bits of all positions are 16 bits
        with pytest.raises(DamagedSegment, match=f"says {size} bytes where at most 2 belong"):
            bitstream.parse(header + _segment(header, 1, 1, bytes(size)))


def test_a_coded_segment_that_is_longer_than_its_bits_as_they_are_is_refused(small_planes):
    """The encoder writes the shortest, so there is one file for each content."""
    bit_model = Counts()
    plane = small_planes(1, 32, 3, 3, 5)[0] * np.eye(3, dtype=np.int8)[None]
    header = Header("a", bytes(8), 48, 48, 32, coding="counts", adaptive=True).pack()
    written = bitstream.parse(header + bitstream.write_segment(header, 1, plane))
    assert _equal(bitstream.decode(written).planes, [plane])
    coded = bitmodel.encode(bit_model, plane, (), np.ones((3, 3), bool))
    assert len(coded) >= len(written.segments[0].payload)
    with pytest.raises(DamagedSegment, match="no encoder writes"):
        bitstream.decode(bitstream.parse(header + bitstream.seal(header, 1, 2, coded)))


def test_the_golden_adaptive_file_has_not_changed():
    """As `test_the_golden_file_has_not_changed`."""
    planes, _ = _golden()
    counts = np.random.default_rng(1).integers(0, 4, (3, 4))
    header = Header("golden-1", bytes(range(8)), 37, 50, 5, coding="counts", adaptive=True)
    data = bitstream.write(header, Codes(37, 50, _stopping(planes, counts)), Counts())
    assert hashlib.sha256(data).hexdigest() == "9e1cf1e514d3f160cd26650a31f8cb5562029cc75eb5a124847f094fb194659f"
    assert _equal(bitstream.decode(bitstream.parse(data)).planes, _stopping(planes, counts))


def test_damage_that_another_process_found_comes_back():
    damage = pickle.loads(pickle.dumps(bitstream.DamagedSegment("segment 3 is damaged", 2)))
    assert (type(damage), str(damage), damage.whole) == (bitstream.DamagedSegment, "segment 3 is damaged", 2)
