"""The range coder: what goes in comes out, the plain and the fast coder are one, and the bytes never change."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgru_lab import rangecoder
from rgru_lab.rangecoder import ONE, FastDecoder, PlainDecoder, RangeCoderError, encode, encode_plainly

LEAST, MOST = 1, ONE - 1
needs_constriction = pytest.mark.skipif(rangecoder.constriction is None, reason="constriction has no wheel here")
each_decoder = pytest.mark.parametrize("decoder", [PlainDecoder, pytest.param(FastDecoder, marks=needs_constriction)])

probability = st.integers(LEAST, MOST) | st.sampled_from((LEAST, 2, ONE // 2, MOST - 1, MOST))
messages = st.lists(st.tuples(st.integers(0, 1), probability), max_size=300).map(
    lambda pairs: (np.array([b for b, _ in pairs], int), np.array([p for _, p in pairs], int))
)


def drawn(n, seed, sharpness=1.0):
    """n bits drawn with the probabilities that they come with; the sharper, the more certain."""
    rng = np.random.default_rng(seed)
    chances = 1 / (1 + np.exp(-sharpness * rng.standard_normal(n)))
    probabilities = np.clip((chances * ONE).astype(int), LEAST, MOST)
    return (rng.random(n) * ONE < probabilities).astype(int), probabilities


def adversarial():
    """Messages that push an interval's ends together, or over a word's border, as hard as can be."""
    for bit in (0, 1):
        for p in (LEAST, MOST, ONE // 2):
            yield np.full(5000, bit), np.full(5000, p)
    rng = np.random.default_rng(1)
    for _ in range(20):
        bits = np.repeat(rng.integers(0, 2, 60), rng.integers(1, 80, 60))
        yield bits, rng.choice([LEAST, MOST, 2, ONE // 2 + 1], len(bits))


def carrying(count: int) -> tuple[np.ndarray, np.ndarray]:
    """A message whose interval keeps the middle of the whole inside until its last bit moves it just above.

    The digits written before that bit are 0x7fffffff, 0xffffffff, ...: its carry runs through all of them.
    """
    middle, lower, span, bits, probabilities = 1 << 63, 0, (1 << 64) - 1, [], []
    for k in range(count + 1):
        part = span >> 24 << 8
        place = (middle - lower) // part
        keep_lower = place < ONE // 2 and k < count
        cut = min(MOST, max(LEAST, place if not keep_lower and k < count else place + 1))
        if keep_lower:
            span = part * cut
        else:
            lower, span = lower + part * cut, part * (ONE - cut)
        if span < 1 << 32:
            middle, lower, span = middle << 32, lower << 32, span << 32
        bits.append(int(not keep_lower))
        probabilities.append(ONE - cut)
    return np.array(bits), np.array(probabilities)


@each_decoder
@given(message=messages)
@settings(max_examples=150, deadline=None)
def test_what_goes_in_comes_out(decoder, message):
    bits, probabilities = message
    assert (decoder(encode_plainly(bits, probabilities)).decode(probabilities) == bits).all()


@needs_constriction
@given(message=messages)
@settings(max_examples=300, deadline=None)
def test_the_fast_coder_writes_the_bytes_of_the_plain_one(message):
    assert encode(*message) == encode_plainly(*message)


@needs_constriction
@pytest.mark.parametrize("sharpness", [0.01, 1, 4, 12])
def test_the_fast_coder_writes_the_same_bytes_for_long_messages(sharpness):
    bits, probabilities = drawn(20_000, 3, sharpness)
    assert encode(bits, probabilities) == encode_plainly(bits, probabilities)


@needs_constriction
def test_the_fast_coder_writes_the_same_bytes_for_the_worst_messages():
    for bits, probabilities in (*adversarial(), *map(carrying, range(1, 25))):
        data = encode_plainly(bits, probabilities)
        assert encode(bits, probabilities) == data
        assert (FastDecoder(data).decode(probabilities) == bits).all()
        assert (PlainDecoder(data).decode(probabilities) == bits).all()


@needs_constriction
def test_constriction_cuts_where_we_do_for_every_probability():
    """Each of the 65535 in turn, so that a float that fell into the neighbouring step would be seen."""
    probabilities = np.arange(LEAST, ONE)
    for bits in (np.zeros(len(probabilities), int), np.ones(len(probabilities), int), probabilities % 2):
        assert encode(bits, probabilities) == encode_plainly(bits, probabilities)


@needs_constriction
@pytest.mark.parametrize("seed", range(30))
def test_both_decoders_make_the_same_of_random_bytes(seed):
    rng = np.random.default_rng(seed)
    data = rng.bytes(4 * int(rng.integers(0, 30))) if seed % 3 else b"\xff" * 40
    probabilities = rng.integers(LEAST, ONE, 700) if seed % 2 else np.full(700, MOST)
    outcomes = []
    for decoder in (PlainDecoder, FastDecoder):
        try:
            outcomes.append(decoder(data).decode(probabilities).tolist())
        except RangeCoderError as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@each_decoder
def test_bytes_that_were_never_written_can_be_noticed(decoder):
    with pytest.raises(RangeCoderError, match="not written with these"):
        decoder(b"\xff" * 8).decode(np.array([MOST] * 10))


@each_decoder
def test_decoding_may_be_cut_into_pieces(decoder):
    bits, probabilities = drawn(1000, 5)
    reader = decoder(encode_plainly(bits, probabilities))
    pieces = [reader.decode(piece) for piece in np.split(probabilities, [0, 1, 7, 7, 400])]
    assert (np.concatenate(pieces) == bits).all()
    assert all(piece.dtype == np.int32 for piece in pieces)


@pytest.mark.parametrize(("n", "sharpness"), [(50_000, 0.5), (50_000, 3), (3000, 8)])
def test_a_message_takes_the_sum_of_its_bits_information(n, sharpness):
    bits, probabilities = drawn(n, 7, sharpness)
    chances = np.where(bits == 1, probabilities, ONE - probabilities) / ONE
    ideal = -np.log2(chances).sum() / 8
    assert ideal < len(encode(bits, probabilities)) < 1.0005 * ideal + 8


def test_no_bits_take_no_bytes():
    empty = np.zeros(0, int)
    assert encode(empty, empty) == encode_plainly(empty, empty) == b""


def test_the_bytes_are_those_of_the_description_in_exact_fractions():
    """The interval by exact arithmetic on a whole message: its bytes are digits of a number inside."""
    bits, probabilities = drawn(40, 11, 2)
    lower, span = Fraction(0), Fraction(1)
    for bit, p in zip(bits.tolist(), probabilities.tolist(), strict=True):
        cut = span * Fraction(ONE - p, ONE)
        lower, span = (lower + cut, span - cut) if bit else (lower, cut)
    data = encode(bits, probabilities)
    number = Fraction(int.from_bytes(data, "big"), 1 << 8 * len(data))
    slack = Fraction(1, 1 << 20)  # what rounding the span to units may take off, relative to the span
    assert lower - slack * span <= number < lower + span
    assert 8 * len(data) < -math.log2(span) + 64


def test_golden_bytes():
    """Files that people have must stay readable: to change these bytes is to need a new format version."""
    bits = np.array([1, 0, 1, 1, 0, 0, 0, 1] * 12)
    probabilities = np.array([(7919 * k) % MOST + 1 for k in range(96)])
    assert encode(bits, probabilities).hex() == encode_plainly(bits, probabilities).hex() == GOLDEN


GOLDEN = "ffffce51f4585e9d3a61b012fd277ed19c9bdc2c"


@pytest.mark.parametrize(("count", "ones"), [(3, 0), (6, 1), (12, 2), (24, 5)])
def test_a_carry_goes_through_words_of_ones(monkeypatch, count, ones):
    seen, carry = [], rangecoder._carry
    monkeypatch.setattr(rangecoder, "_carry", lambda words: (seen.append(words.copy()), carry(words)))
    bits, probabilities = carrying(count)
    data = encode_plainly(bits, probabilities)
    assert seen == [[0x7FFFFFFF] + [0xFFFFFFFF] * ones]
    assert data.startswith(b"\x80" + bytes(3 + 4 * ones))
    assert (PlainDecoder(data).decode(probabilities) == bits).all()


@pytest.mark.parametrize("wrong", [0, -1, ONE])
@pytest.mark.parametrize("coder", [encode, encode_plainly])
def test_a_probability_that_leaves_a_bit_no_room_is_refused(coder, wrong):
    with pytest.raises(RangeCoderError, match=f"{wrong}.*within 1 to 65535"):
        coder(np.array([1, 1]), np.array([ONE // 2, wrong]))


@each_decoder
@pytest.mark.parametrize("wrong", [0, ONE])
def test_a_probability_out_of_range_is_refused_in_decoding(decoder, wrong):
    with pytest.raises(RangeCoderError, match="within 1 to 65535"):
        decoder(bytes(8)).decode(np.array([wrong]))


@pytest.mark.parametrize("coder", [encode, encode_plainly])
def test_bits_and_probabilities_must_be_as_many(coder):
    with pytest.raises(RangeCoderError, match="2 bits but 1 prob"):
        coder(np.array([1, 1]), np.array([5]))


@each_decoder
def test_bytes_that_are_no_words_are_refused(decoder):
    with pytest.raises(RangeCoderError, match="5 bytes"):
        decoder(bytes(5))
