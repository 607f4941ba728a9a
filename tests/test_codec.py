"""The loop R[i] = I - P[i]: what enters each iteration, that decoding repeats encoding, and pictures of any size.

All of it for every cell with every reconstruction, where that could make a difference.
"""

from dataclasses import replace
from itertools import islice, pairwise, product
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from rgru_lab import bitstream, codec, machine, model
from rgru_lab.bitmodel import Counts
from rgru_lab.config import CELL_NAMES, RECONSTRUCTIONS, ModelConfig, preset
from rgru_lab.images import PictureError

FAMILY = list(product(CELL_NAMES, RECONSTRUCTIONS))
SIZES = [(1, 1), (1, 17), (16, 16), (15, 33), (37, 50)]


def _image(height=32, width=48):
    torch.manual_seed(5)
    return torch.rand(1, 3, height, width) - 0.5


def test_the_residual_is_exactly_the_image_minus_the_picture(make_coder):
    x = _image()
    with torch.no_grad():
        for step in islice(codec.unroll(make_coder(), x), 4):
            assert torch.equal(step.residual, x - step.picture)


@pytest.mark.parametrize(("cell", "reconstruction"), FAMILY)
def test_each_iteration_codes_the_last_residual_with_the_memory_of_those_before(make_coder, cell, reconstruction):
    """b = B(E(g R[i-1])); P[i] = D(b) or P[i-1] + D(b) / g; g is 1 first, then the config's 3 or G(P[i-1])."""
    coder, x = make_coder(replace(preset("micro"), gain=3.0, cell=cell, reconstruction=reconstruction)), _image()
    with torch.no_grad():
        g, picture, encoder_state, decoder_state = 1.0, torch.zeros_like(x), None, None
        for step in islice(codec.unroll(coder, x), 4):
            bits, encoder_state = coder.encode(g * (x - picture), encoder_state)
            output, decoder_state = coder.decode(bits, decoder_state)
            picture = output if reconstruction == "one-shot" else picture + output / g
            g = coder.gain_network(picture) if reconstruction == "residual-scaled" else 3.0
            assert torch.equal(step.bits, bits)
            assert torch.equal(step.picture, picture)


def _looking(coder, x, n, priming, diffusion):
    """P[1..n] and B[1..n]: each half runs on the same input, again and again; what it says last is taken."""
    encoder_state = decoder_state = picture = None
    for i in range(n):
        g = coder.gain(picture)
        r = x if picture is None else x - picture
        for _ in range(1 + (diffusion if i else priming)):
            features, encoder_state = coder.encoder(g * r, encoder_state)
        bits = coder.binarizer(features)
        for _ in range(1 + (diffusion if i else priming)):
            output, decoder_state = coder.decoder(bits, decoder_state)
        picture = coder.reconstruct(output, picture, g)
        yield bits, picture


@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
@pytest.mark.parametrize("looks", [(0, 0), (1, 0), (0, 1), (2, 1)], ids=str)
@pytest.mark.parametrize(
    ("cell", "reconstruction"), [("residual-gru", "one-shot"), ("associative-lstm", "residual-scaled")]
)
def test_each_half_looks_as_often_as_the_config_says_and_speaks_once(make_coder, cell, reconstruction, looks, training):
    """Pictures, bits and all gradients, the drawn bits of training included."""
    config = replace(preset("micro"), cell=cell, reconstruction=reconstruction)
    coders = [
        make_coder(replace(config, priming=priming, diffusion=diffusion), stochastic=True).train(training)
        for priming, diffusion in (looks, (0, 0))
    ]
    x = _image()
    torch.manual_seed(11)
    ours = [(step.bits, step.picture) for step in islice(codec.unroll(coders[0], x), 3)]
    torch.manual_seed(11)
    theirs = list(_looking(coders[1], x, 3, *looks))
    for run in (ours, theirs):
        sum((x - picture).abs().mean() for _, picture in run).backward()
    for (bits, picture), (same_bits, same_picture) in zip(ours, theirs, strict=True):
        assert torch.equal(bits, same_bits)
        assert torch.equal(picture, same_picture)
    for own, other in zip(*(coder.parameters() for coder in coders), strict=True):
        assert own.grad.abs().max() > 0
        torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-7)  # sums may run in another order


@pytest.mark.parametrize("looks", [{}, {"priming": 1, "diffusion": 1}], ids=str)
def test_in_a_smaller_first_step_the_other_bits_are_1_and_have_no_gradient(make_coder, looks):
    whole, smaller = (make_coder(replace(preset("micro"), **looks, first_bits=count)) for count in (0, 8))
    x = _image()
    theirs, ours = (list(islice(codec.unroll(coder, x), 3)) for coder in (whole, smaller))
    assert torch.equal(ours[0].bits[:, :8], theirs[0].bits[:, :8])
    assert (ours[0].bits[:, 8:] == 1).all()
    assert not (theirs[0].bits[:, 8:] == 1).all()
    assert all(0 < (step.bits[:, 8:] == 1).float().mean() < 1 for step in ours[1:])
    ours[0].picture.sum().backward()
    gradient = smaller.binarizer.conv.weight.grad.abs().sum((1, 2, 3))
    assert gradient[:8].min() > 0
    assert gradient[8:].max() == 0


@pytest.mark.parametrize("looks", [{"priming": 1}, {"diffusion": 1}], ids=str)
def test_looking_more_often_makes_other_bits_and_pictures_from_its_iteration_on(make_coder, looks):
    x = _image()
    with torch.no_grad():
        plain, other = (
            list(islice(codec.unroll(make_coder(replace(preset("micro"), **k)), x), 2)) for k in ({}, looks)
        )
    changed = [not torch.equal(a.picture, b.picture) for a, b in zip(plain, other, strict=True)]
    assert changed == ([True, True] if "priming" in looks else [False, True])


@pytest.mark.parametrize("looks", [{"priming": 2}, {"priming": 1, "diffusion": 1}, {"first_bits": 4}], ids=str)
def test_a_file_of_weights_with_such_a_config_decodes_to_what_its_encoder_showed(make_coder, noise, tmp_path, looks):
    """The file says nothing of it: the weights that it names do."""
    path = tmp_path / "looks-1.safetensors"
    model.save(make_coder(replace(preset("micro"), **looks)), path, record={})
    weights = model.load(path)
    assert weights.model.config == replace(preset("micro"), **looks)
    planes, photos = zip(*codec.encode(weights.model, noise(37, 50), 3), strict=True)
    data = bitstream.write(bitstream.Header.of(weights, 37, 50, Counts()), codec.Codes(37, 50, planes), Counts())
    decoded = list(codec.decode(model.load(path).model, bitstream.decode(bitstream.parse(data), Counts())))
    assert all(np.array_equal(a, b) for a, b in zip(photos, decoded, strict=True))
    plain = codec.decode(make_coder(), codec.Codes(37, 50, planes))
    assert not any(np.array_equal(a, b) for a, b in zip(photos, plain, strict=True))


def test_with_a_gain_network_the_configs_gain_plays_no_part(make_coder):
    config = replace(preset("micro"), reconstruction="residual-scaled")
    runs = (codec.unroll(make_coder(replace(config, gain=gain)), _image()) for gain in (1.0, 3.0))
    with torch.no_grad():
        for a, b in islice(zip(*runs, strict=True), 3):
            assert torch.equal(a.picture, b.picture)


def test_without_its_memory_an_iteration_would_come_out_otherwise(make_coder):
    coder, x = make_coder(), _image()
    with torch.no_grad():
        first, second = islice(codec.unroll(coder, x), 2)
        bits, _ = coder.encode(first.residual)
        picture, _ = coder.decode(second.bits)
    assert not torch.equal(second.bits, bits)
    assert not torch.equal(second.picture, picture)


def test_the_gain_enters_from_the_second_iteration_on(make_coder):
    plain, loud = (make_coder(replace(preset("micro"), gain=gain)) for gain in (1.0, 3.0))
    x = _image()
    with torch.no_grad():
        first, second = islice(codec.unroll(loud, x), 2)
        bits, state = plain.encode(x)
        assert torch.equal(first.bits, bits)
        assert torch.equal(second.bits, plain.encode(3 * first.residual, state)[0])
        assert not torch.equal(second.bits, plain.encode(first.residual, state)[0])


def test_the_unrolled_loop_is_differentiable_through_all_iterations(make_coder):
    coder = make_coder()
    *_, last = islice(codec.unroll(coder, _image()), 3)
    last.residual.abs().mean().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in coder.encoder.cell1.W.parameters())


@pytest.mark.parametrize(("cell", "reconstruction"), FAMILY)
def test_every_member_of_the_family_trains(cell, reconstruction):
    """On four blocks of one colour each it soon knows them better than any single colour does: through the bits."""
    torch.manual_seed(7)
    x = (torch.rand(1, 3, 2, 2) - 0.5).repeat_interleave(16, 2).repeat_interleave(16, 3)
    single = (x - x.flatten(2).median(2).values[:, :, None, None]).abs().mean()
    torch.manual_seed(0)
    coder = model.ResidualCoder(ModelConfig((8, 16, 16, 16), (16,) * 5, 8, 0.1, 1.0, 2.0, reconstruction, cell))
    optimiser = torch.optim.Adam(coder.parameters(), lr=5e-3)

    def losses():
        for k in range(100):
            loss = sum(step.residual.abs().mean() for step in islice(codec.unroll(coder, x), 2)) / 2
            yield loss
            optimiser.zero_grad()
            loss.backward()
            assert k > 0 or all(p.grad.abs().sum() > 0 for p in coder.parameters())
            torch.nn.utils.clip_grad_norm_(coder.parameters(), 1.0)
            optimiser.step()

    assert any(loss < 0.7 * single for loss in losses())


@pytest.mark.parametrize(("cell", "reconstruction"), FAMILY)
def test_every_member_of_the_family_decodes_to_what_its_encoder_showed(
    make_coder, noise, tmp_path, cell, reconstruction
):
    """With weights that went through a file, at a size that is no multiple of 16, padded to one that is none of 32."""
    path = tmp_path / "other-1.safetensors"
    model.save(make_coder(replace(preset("micro"), cell=cell, reconstruction=reconstruction)), path, record={})
    coder = model.load(path).model
    planes, photos = zip(*codec.encode(coder, noise(37, 70), 3), strict=True)
    assert not np.array_equal(photos[0], photos[2])
    decoded = list(codec.decode(coder, codec.Codes(37, 70, planes)))
    assert all(np.array_equal(a, b) for a, b in zip(photos, decoded, strict=True))


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_a_photo_of_any_size_comes_back_at_its_own_size(weights, noise, height, width):
    for plane, photo in codec.encode(weights.model, noise(height, width), 2):
        assert plane.shape == (32, -(-height // 16), -(-width // 16))
        assert plane.dtype == np.int8
        assert set(np.unique(plane)) <= {-1, 1}
        assert photo.shape == (height, width, 3)
        assert photo.dtype == np.uint8


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_decoding_the_bits_gives_exactly_the_photos_that_encoding_showed(weights, noise, height, width):
    planes, photos = zip(*codec.encode(weights.model, noise(height, width), 3), strict=True)
    decoded = list(codec.decode(weights.model, codec.Codes(height, width, planes)))
    assert len(decoded) == 3
    assert all(np.array_equal(a, b) for a, b in zip(photos, decoded, strict=True))


def test_fewer_iterations_are_the_first_of_more(weights, sample):
    photo = sample("chelsea", 37, 50)
    two, four = (list(codec.encode(weights.model, photo, n)) for n in (2, 4))
    assert (len(two), len(four)) == (2, 4)
    for (plane, shown), (same_plane, same_shown) in zip(two, four, strict=False):
        assert np.array_equal(plane, same_plane)
        assert np.array_equal(shown, same_shown)


def test_every_iteration_adds_bits_of_its_own(weights, sample):
    planes = [plane for plane, _ in codec.encode(weights.model, sample("chelsea", 48, 48), 4)]
    assert not any(np.array_equal(a, b) for a, b in pairwise(planes))


def test_an_odd_photo_is_coded_as_if_its_last_row_and_column_went_on(weights, sample):
    photo = sample("coffee", 15, 33)
    padded = np.pad(photo, ((0, 1), (0, 15), (0, 0)), mode="edge")
    for (plane, shown), (same_plane, same_shown) in zip(
        codec.encode(weights.model, photo, 2), codec.encode(weights.model, padded, 2), strict=True
    ):
        assert np.array_equal(plane, same_plane)
        assert np.array_equal(shown, same_shown[:15, :33])


@pytest.fixture(scope="module")
def ripple(weights, sample):
    """Where planes and photos of iterations 1 to 3 change if the 16 x 16 block at (48, 48) is inverted."""
    photo = sample("astronaut", 112, 128)
    other = photo.copy()
    other[48:64, 48:64] = 255 - other[48:64, 48:64]
    runs = (codec.encode(weights.model, p, 3) for p in (photo, other))
    return [
        ((plane != other_plane).any(axis=0), (shown != other_shown).any(axis=2))
        for (plane, shown), (other_plane, other_shown) in zip(*runs, strict=True)
    ]


def test_a_blocks_pixels_reach_the_code_of_its_neighbours(ripple):
    positions = ripple[0][0].copy()
    assert positions[3, 3]
    positions[3, 3] = False
    assert positions.any()


def test_there_are_no_tiles_because_a_blocks_pixels_reach_far_decoded_ones(ripple):
    far = ripple[0][1].copy()
    far[32:80, 32:80] = False  # all within 16 px of the block
    assert far[:, :48].any()
    assert far[:48].any()
    assert far[:, 64:].any()
    assert far[64:].any()


@pytest.mark.parametrize("gradients", [True, False], ids=["with gradients", "without"])
@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_the_callers_gradient_mode_is_left_alone_between_iterations(weights, noise, direction, gradients):
    photo = noise(16, 16)
    steps = codec.encode(weights.model, photo, 3)
    if direction == "decode":
        steps = codec.decode(weights.model, codec.Codes(16, 16, tuple(plane for plane, _ in steps)))
    with torch.set_grad_enabled(gradients):
        for _ in steps:
            assert torch.is_grad_enabled() is gradients
            assert not torch.is_inference_mode_enabled()


@pytest.mark.parametrize("end", ["all", "closed", "failed"])
@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_memory_is_kept_from_the_first_iteration_to_the_end_however_it_ends(
    weights, noise, monkeypatch, direction, end
):
    photo, said = noise(32, 48), []
    monkeypatch.setattr(
        machine,
        "GLIBC",
        SimpleNamespace(mallopt=lambda *what: said.append(what), malloc_trim=lambda _: said.append("trimmed")),
    )
    planes = tuple(plane for plane, _ in codec.encode(weights.model, photo, 3))
    said.clear()
    if direction == "encode":
        steps = codec.encode(weights.model, photo, 3)
    else:
        steps = codec.decode(weights.model, codec.Codes(32, 48, planes))
    assert said == []
    next(steps)
    assert said == list(machine.MALLOC_KEEPS.items())
    if end == "all":
        list(steps)
    elif end == "closed":
        steps.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            steps.throw(KeyboardInterrupt)
    assert said[2:] == [*machine.MALLOC_RETURNS.items(), "trimmed"]
    monkeypatch.setattr(machine, "GLIBC", None)
    assert len(list(codec.encode(weights.model, photo, 3))) == 3


def test_a_codec_forgets_whose_positions_had_stopped_for_the_next_photo(weights, noise):
    sending = codec.Sending(weights.model)
    list(codec.encode(sending, noise(32, 48), 2, np.ones((2, 3), int)))
    for photo in (noise(32, 48), noise(64, 16)):
        again = [plane for plane, _ in codec.encode(sending, photo, 2)]
        for plane, (expected, _) in zip(again, codec.encode(weights.model, photo, 2), strict=True):
            assert np.array_equal(plane, expected)


@pytest.mark.parametrize("iterations", [0, -1, 17])
def test_iterations_out_of_range_are_refused_at_once_and_named(weights, noise, iterations):
    with pytest.raises(ValueError, match=rf"iterations is {iterations}; choose 1 to 16"):
        codec.encode(weights.model, noise(16, 16), iterations)


def test_sixteen_iterations_are_allowed(weights, noise):
    assert len(list(codec.encode(weights.model, noise(16, 16), 16))) == 16


def test_what_is_not_a_photo_is_refused_at_once(weights):
    with pytest.raises(PictureError, match="float64"):
        codec.encode(weights.model, np.zeros((16, 16, 3)), 1)


@pytest.mark.parametrize("shape", [(32, 2, 3), (16, 3, 4), (32, 4, 3)], ids=str)
def test_a_plane_that_does_not_fit_the_picture_is_refused_and_named(weights, shape):
    planes = (np.ones((32, 3, 4), np.int8), np.ones(shape, np.int8))
    with pytest.raises(ValueError, match=r"B\[2\]") as error:
        codec.decode(weights.model, codec.Codes(37, 50, planes))
    assert str(shape) in str(error.value)
