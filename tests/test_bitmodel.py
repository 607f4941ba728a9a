"""Models of the bits: every bit is asked for once and before it is used, and probabilities are the same everywhere."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

from rgru_lab import bitnet, bittraining, model
from rgru_lab.bitmodel import ONE, Counts
from rgru_lab.bitnet import BitNetError, Learned
from rgru_lab.progression import Progression

SHAPES = [(32, 1, 1), (32, 1, 6), (32, 5, 1), (32, 2, 2), (32, 7, 6), (32, 8, 11)]


@pytest.fixture(scope="module")
def learned(make_learned):
    return make_learned()


@pytest.fixture(params=["counts", "learned"], scope="module")
def bit_model(request, learned):
    return Counts() if request.param == "counts" else learned


def walk(bit_model, planes):
    """The passes of the last plane: (where, probabilities, bits) each; and the plane that came out."""
    passes, flat = [], planes[-1].ravel() > 0

    def tell(where, probabilities):
        passes.append((where, probabilities, flat[where].astype(np.int32)))
        return passes[-1][2]

    return passes, bit_model.walk(planes[:-1], planes[-1].shape, tell)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("i", [1, 2, 3, 16])
def test_every_bit_is_asked_for_once_and_comes_back(bit_model, shape, i, smooth):
    planes = smooth(i, shape)
    passes, plane = walk(bit_model, planes)
    assert np.array_equal(plane, planes[-1])
    assert plane.dtype == np.int8
    asked = np.concatenate([where for where, _, _ in passes])
    assert np.array_equal(np.sort(asked), np.arange(planes[-1].size))
    for where, probabilities, _ in passes:
        assert len(where) == len(probabilities)
        assert 1 <= probabilities.min() <= probabilities.max() < ONE


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("i", [1, 3])
def test_where_some_positions_are_not_sent_only_the_others_are_asked_for(bit_model, shape, i, smooth):
    planes = smooth(i, shape)
    rng = np.random.default_rng(i)
    sent = rng.random(shape[1:]) < 0.6
    sent[0, 0] = True
    planes[-1] *= sent
    flat, asked = planes[-1].ravel() > 0, []

    def tell(where, probabilities):
        assert len(where) == len(probabilities)
        asked.append(where)
        return flat[where].astype(np.int32)

    plane = bit_model.walk(planes[:-1], shape, tell, sent)
    assert np.array_equal(plane, planes[-1])
    assert plane.dtype == np.int8
    assert np.array_equal(np.sort(np.concatenate(asked)), np.flatnonzero(np.broadcast_to(sent, shape)))


def test_all_positions_sent_is_the_same_as_none_named(bit_model, smooth):
    planes = smooth(2, (32, 5, 6))
    every = np.ones((5, 6), bool)
    flat = planes[-1].ravel() > 0
    said = ([], [])
    for kept, sent in zip(said, (None, every), strict=True):
        bit_model.walk(
            planes[:1], (32, 5, 6), lambda w, p, kept=kept: (kept.append(p), flat[w].astype(np.int32))[1], sent
        )
    assert len(said[0]) == len(said[1])
    assert all(np.array_equal(a, b) for a, b in zip(*said, strict=True))


def test_a_probability_depends_only_on_what_the_decoder_has(bit_model, smooth):
    """Other bits from some pass on: all probabilities up to and with that pass stay; of those after it, some change."""
    shape = (32, 6, 7)
    planes = smooth(3, shape)
    passes, _ = walk(bit_model, planes)
    changed_later = 0
    for cut in range(0, len(passes), 3):
        flipped = planes.copy()
        for where, _, _ in passes[cut:]:
            flipped[-1].reshape(-1)[where] *= -1
        others, _ = walk(bit_model, flipped)
        for (_, a, _), (_, b, _) in zip(passes[: cut + 1], others[: cut + 1], strict=True):
            assert np.array_equal(a, b)
        changed_later += any(
            not np.array_equal(a, b) for (_, a, _), (_, b, _) in zip(passes[cut + 1 :], others[cut + 1 :], strict=True)
        )
    assert changed_later > 3


def test_counts_follow_the_description(small_planes):
    """Bit by bit in plain Python: six votes, and how often a vote of this size was right before."""
    (plane,) = small_planes(1, 2, 4, 5)
    right, seen = dict.fromkeys(range(9), 0), dict.fromkeys(range(9), 0)
    expected = {}
    for step in range(5 + 2 * 4):
        news = []
        for channel in range(2):
            for y in range(4):
                x = step - 2 * y
                if not 0 <= x < 5:
                    continue
                vote = 0
                for down, along, weight in ((0, -1, 2), (-1, 0, 2), (-1, -1, 1), (-1, 1, 1), (0, -2, 1), (-2, 0, 1)):
                    if y + down >= 0 and 0 <= x + along < 5:
                        vote += weight * int(plane[channel, y + down, x + along])
                size, guess = abs(vote), vote >= 0
                trust = (2 * right[size] + 1) * 65536 // (2 * seen[size] + 2)
                expected[channel * 20 + y * 5 + x] = min(65535, max(1, trust if guess else 65536 - trust))
                news.append((size, (plane[channel, y, x] > 0) == guess))
        for size, hit in news:
            seen[size] += 1
            right[size] += hit
    passes, _ = walk(Counts(), [plane])
    got = {int(w): int(p) for where, probabilities, _ in passes for w, p in zip(where, probabilities, strict=True)}
    assert got == expected


def test_counts_save_on_planes_whose_neighbours_are_alike(smooth):
    planes = smooth(1, (32, 20, 24))
    assert bittraining.bits_per_bit(Counts(), [planes])[0] < 0.8


def reference_probabilities(tensors, planes):
    """The learned model once more, position by position in Python's own whole numbers; {flat index: probability}."""
    i = len(planes)
    bank = min(i, 3) - 1
    now = np.zeros(planes[-1].shape, int)
    bits, h, w = now.shape
    before = [planes[i - 2 - k] for k in range(bank)]
    expected, start = {}, 0
    for group in range(sum(key.startswith("0.") and key.endswith("out") for key in tensors)):
        part = {key.split(".")[2]: t.astype(object) for key, t in tensors.items() if key.startswith(f"{bank}.{group}.")}
        own = part["out"].shape[1]
        end = start + own
        for phase, (row, column) in enumerate(((0, 0), (1, 1), (0, 1), (1, 0))):
            told = {}
            for y in range(row, h, 2):
                for x in range(column, w, 2):
                    inputs, seen = [], []
                    for down in range(-2, 3):
                        for along in range(-2, 3):
                            inside = 0 <= y + down < h and 0 <= x + along < w
                            inputs += [int(v) for v in now[:end, y + down, x + along]] if inside else [0] * end
                    for plane in before:
                        for down in range(-1, 2):
                            for along in range(-1, 2):
                                inside = 0 <= y + down < h and 0 <= x + along < w
                                seen += [int(v) for v in plane[:, y + down, x + along]] if inside else [0] * bits
                    hidden = [
                        min(127, max(0, int(v) // 4))
                        for v in np.array(inputs, object) @ part["near"]
                        + (np.array(seen, object) @ part["earlier"] if seen else 0)
                        + part["hidden_bias"][i - 1 - bank, phase]
                    ]
                    middle = [
                        min(127, max(0, int(v) // 64))
                        for v in np.array(hidden, object) @ part["middle"] + part["middle_bias"]
                    ]
                    logits = np.array(middle, object) @ part["out"] + part["out_bias"][i - 1 - bank]
                    logits = logits + 16 * (np.array(inputs, object) @ part["direct"])
                    for c in range(own):
                        entry = min(2047, max(0, int(logits[c]) // 16 + 1024))
                        expected[(start + c) * h * w + y * w + x] = int(tensors["table"][entry])
                        told[start + c, y, x] = int(planes[-1][start + c, y, x])
            for place, bit in told.items():
                now[place] = bit
        start = end
    return expected


@pytest.mark.parametrize(("i", "groups"), [(1, 8), (2, 4), (5, 5)])
def test_the_network_follows_the_description_in_whole_numbers(make_learned, i, groups, smooth):
    learned = make_learned(groups=groups)
    assert learned.groups == groups
    planes = smooth(i, (32, 3, 4), seed=i)
    passes, _ = walk(learned, planes)
    got = {int(w): int(p) for where, probabilities, _ in passes for w, p in zip(where, probabilities, strict=True)}
    assert got == reference_probabilities(learned.tensors, planes)
    assert len(set(got.values())) > 100
    idle = Learned({k: v * 0 if k.endswith(".out") else v for k, v in learned.tensors.items()}, bytes(8), {})
    without, _ = walk(idle, planes)
    changed = sum((a != b).sum() for (_, a, _), (_, b, _) in zip(passes, without, strict=True))
    assert changed > planes[-1].size // 2  # the hidden layers matter in this network


def test_the_same_probabilities_with_inputs_in_another_order(learned, smooth):
    """Sums in another order: every layer's inputs are permuted, and other memory layouts are used."""
    rng = np.random.default_rng(0)
    planes = smooth(3, (32, 9, 10))
    before, _ = walk(learned, planes)
    shuffled = Learned(dict(learned.tensors), learned.codec, {})
    for groups in shuffled._banks:
        for k, layers in enumerate(groups):
            units, middle = (rng.permutation(n) for n in layers.middle.shape)
            groups[k] = layers._replace(
                near=np.asfortranarray(layers.near[:, units]),
                direct=np.asfortranarray(layers.direct),
                earlier=np.asfortranarray(layers.earlier[:, units]),
                hidden_bias=layers.hidden_bias[..., units],
                middle=np.asfortranarray(layers.middle[units][:, middle]),
                middle_bias=layers.middle_bias[middle],
                out=np.asfortranarray(layers.out[middle]),
            )
    after, _ = walk(shuffled, [np.asfortranarray(plane) for plane in planes])
    for (_, a, _), (_, b, _) in zip(before, after, strict=True):
        assert np.array_equal(a, b)


def test_the_threads_of_the_caller_are_left_as_they_were(learned, smooth):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        walk(learned, smooth(1, (32, 2, 2)))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_sums_are_exact_in_float64_and_integers_alike(learned, monkeypatch, smooth):
    planes = smooth(3, (32, 9, 10))
    before, _ = walk(learned, planes)
    for kind in (np.float64, np.int64):
        other = Learned(dict(learned.tensors), learned.codec, {})
        other._banks = [[type(g)(*(t.astype(kind) for t in g)) for g in groups] for groups in other._banks]
        after, _ = walk(other, planes)
        for (_, a, _), (_, b, _) in zip(before, after, strict=True):
            assert np.array_equal(a, b)


CODE = """
import numpy as np, sys
from rgru_lab import bitnet, bitmodel
planes = np.load(sys.argv[2])
for m in (bitnet.load(sys.argv[1]), bitmodel.Counts()):
    flat, said = planes[-1].ravel() > 0, []
    m.walk(planes[:-1], planes[-1].shape, lambda w, p: (said.append(p), flat[w].astype(np.int32))[1])
    import hashlib
    print(hashlib.sha256(np.concatenate(said).astype("<i8").tobytes()).hexdigest())
"""


def test_the_same_probabilities_with_other_thread_counts_and_processor_features(learned, tmp_path, smooth):
    """In processes of their own: threads, and the kernels for older processors that torch's libraries have."""
    bitnet.save(learned, tmp_path / "m.bits")
    np.save(tmp_path / "planes.npy", smooth(3, (32, 24, 30)))
    outcomes = set()
    older = {"ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2", "ONEDNN_MAX_CPU_ISA": "SSE41"}
    for threads, settings in (("1", {}), ("2", {}), ("3", older)):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} | settings
        command = [sys.executable, "-c", CODE, str(tmp_path / "m.bits"), str(tmp_path / "planes.npy")]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
        outcomes.add(done.stdout)
    assert len(outcomes) == 1
    assert len(outcomes.pop().split()) == 2


def test_a_saved_model_is_read_back(learned, tmp_path):
    bitnet.save(learned, tmp_path / "x.bits")
    again = bitnet.load(tmp_path / "x.bits")
    assert again.fingerprint == learned.fingerprint
    assert again.codec == learned.codec
    assert again.record == learned.record
    assert all(np.array_equal(again.tensors[key], value) for key, value in learned.tensors.items())


@pytest.mark.parametrize("at", [0.3, 0.6, 0.99])
def test_a_changed_number_is_noticed(learned, tmp_path, at):
    path = tmp_path / "x.bits"
    bitnet.save(learned, path)
    data = bytearray(path.read_bytes())
    data[int(at * len(data))] ^= 1
    path.write_bytes(data)
    with pytest.raises(BitNetError, match=r"x\.bits"):
        bitnet.load(path)


@pytest.mark.parametrize("content", [b"", b"junk" * 50])
def test_what_is_no_model_is_refused(tmp_path, content):
    (tmp_path / "x.bits").write_bytes(content)
    with pytest.raises(BitNetError, match="no model of the bits"):
        bitnet.load(tmp_path / "x.bits")


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("0.1.near", lambda t: t[:-1], "near has shape"),
        ("2.0.hidden_bias", lambda t: t[:5], "hidden_bias has shape"),
        ("table", lambda t: t * 0, "table"),
        ("table", lambda t: t[:9], "table"),
        ("1.3.out_bias", lambda t: t + (1 << 24), "only those below 16777216 are exact"),
        ("1.2.middle", None, "1.2.middle"),
        ("0.0.out", lambda t: t + np.float32(0.5), "whole numbers"),
    ],
)
def test_tensors_that_do_not_fit_together_are_refused(learned, name, change, said):
    tensors = dict(learned.tensors)
    if change:
        tensors[name] = change(tensors[name])
    else:
        del tensors[name]
    with pytest.raises(BitNetError, match=said):
        Learned(tensors, bytes(8), {})


@pytest.mark.parametrize("record", ["[" * 100_000, "{"], ids=["deep", "cut"])
def test_a_record_that_cannot_be_read_is_named_with_its_file(learned, tmp_path, record):
    metadata = {"codec": learned.codec.hex(), "record": record, "fingerprint": learned.fingerprint.hex()}
    path = tmp_path / "micro-1.bits"
    path.write_bytes(safetensors.numpy.save(learned.tensors, metadata))
    with pytest.raises(BitNetError, match=r"micro-1\.bits holds no model of the bits"):
        bitnet.load(path)


def test_numbers_that_do_not_fit_together_are_named_with_their_file(learned, tmp_path):
    path = tmp_path / "micro-1.bits"
    metadata = {"codec": learned.codec.hex(), "record": "{}", "fingerprint": ""}
    path.write_bytes(safetensors.numpy.save({"table": learned.tensors["table"]}, metadata))
    with pytest.raises(BitNetError, match=r"micro-1\.bits holds no model of the bits .its numbers do not fit"):
        bitnet.load(path)


def test_sums_cannot_leave_exact_arithmetic(learned):
    """The bound that is checked is one that inputs of the worst signs and full activations would just reach."""
    layers = learned._banks[2][3]
    worst = np.where(layers.near >= 0, 1, -1) * layers.near
    assert worst.sum(0).max() + np.abs(layers.earlier).sum(0).max() < bitnet.EXACT
    tensors = dict(learned.tensors)
    tensors["2.3.near"] = np.full_like(tensors["2.3.near"], 127)
    tensors["2.3.middle"] = np.full_like(tensors["2.3.middle"], 127)
    Learned(tensors, bytes(8), {})  # as large as int8 gets: still exact


def test_a_model_for_other_bits_is_refused(learned):
    with pytest.raises(BitNetError, match="32 per position, and the plane has 5"):
        learned.walk([], (5, 2, 2), lambda where, probabilities: probabilities)


def test_the_model_beside_the_weights_is_found_and_a_foreign_one_is_not_used(learned, weights, weights_path, tmp_path):
    path = tmp_path / "micro-1.safetensors"
    path.write_bytes(Path(weights_path).read_bytes())
    there = model.load(path)
    assert bitnet.find(there).coding == "counts"
    bitnet.save(learned, tmp_path / "micro-1.bits")
    assert bitnet.find(there).coding == "counts"  # it belongs to another codec
    own = Learned(learned.tensors, weights.fingerprint, {})
    bitnet.save(own, tmp_path / "micro-1.bits")
    assert bitnet.find(there).fingerprint == own.fingerprint != learned.fingerprint
    assert Progression(there, np.zeros((16, 16, 3), np.uint8)).bit_model.fingerprint == own.fingerprint
    assert bitnet.find(weights).coding == "counts"  # none lies beside these


@pytest.mark.parametrize("name", model.available())
def test_a_model_of_the_bits_ships_with_the_weights(name):
    found = bitnet.find(model.load(name))
    assert found.coding == "learned"
    assert found.record["steps"] > 100
