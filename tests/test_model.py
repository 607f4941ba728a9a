"""The networks' shapes and sizes, the binarizer's three promises, gains, and weights that load whole or not at all."""

import json
import math
from dataclasses import asdict, replace

import pytest
import safetensors
import safetensors.torch
import torch
from torch.nn import functional as F

from rgru_lab import model
from rgru_lab.cells import AssociativeLSTMCell, GRUCell, LSTMCell, LSTMState, ResidualGRUCell
from rgru_lab.codec import unroll
from rgru_lab.config import CELL_NAMES, NAME_LIMIT, PRESETS, RECONSTRUCTIONS, InputError, ModelConfig, preset
from rgru_lab.model import ResidualCoder


def _parameters(coder):
    return sum(p.numel() for p in coder.parameters())


def _cell(kind, inputs, channels, hidden_kernel=1):
    """Numbers in a cell: blocks of W (3 x 3, with bias) and U; the Residual GRU's W_h and W_ox."""
    blocks = {"residual-gru": 3, "gru": 3, "lstm": 4, "associative-lstm": 4.5}[kind]
    more = (channels + inputs) * channels if kind == "residual-gru" else 0
    return (9 * inputs + 1 + hidden_kernel**2 * channels) * blocks * channels + more


def _tensors(state):
    """All tensors of an encoder's or decoder's state."""
    return [tensor for h in state for tensor in (h if isinstance(h, LSTMState) else (h,))]


def _forgotten(h):
    """A cell's memory of zeros."""
    return LSTMState(*map(torch.zeros_like, h)) if isinstance(h, LSTMState) else torch.zeros_like(h)


def _image(height, width, batch=1):
    torch.manual_seed(5)
    return torch.rand(batch, 3, height, width) - 0.5


@pytest.mark.parametrize("name", ["micro", "small"])
def test_the_code_grid_is_a_sixteenth_of_the_picture_and_each_memory_has_its_own_scale(make_coder, name):
    config = preset(name)
    coder = make_coder(config)
    with torch.no_grad():
        bits, encoder_state = coder.encode(_image(32, 48, 2))
        picture, decoder_state = coder.decode(bits)
    assert bits.shape == (2, 32, 2, 3)
    assert picture.shape == (2, 3, 32, 48)
    assert [h.shape for h in encoder_state] == [
        (2, c, 32 // s, 48 // s) for c, s in zip(config.encoder[1:], (4, 8, 16), strict=True)
    ]
    assert [h.shape for h in decoder_state] == [
        (2, c, 32 // s, 48 // s) for c, s in zip(config.decoder[1:], (16, 8, 4, 2), strict=True)
    ]


@pytest.mark.parametrize("kind", CELL_NAMES)
@pytest.mark.parametrize("name", PRESETS)
def test_the_number_of_parameters_is_that_of_the_papers_figure(name, kind):
    config = replace(preset(name), cell=kind)
    (e0, e1, e2, e3), (d0, d1, d2, d3, d4), bits = config.encoder, config.decoder, config.bits
    ours = "lstm" if kind == "associative-lstm" else kind  # the encoder's
    expected = (9 * 3 + 1) * e0 + _cell(ours, e0, e1) + _cell(ours, e1, e2) + _cell(ours, e2, e3) + (e3 + 1) * bits
    expected += (bits + 1) * d0 + _cell(kind, d0, d1) + _cell(kind, d1 // 4, d2)
    hidden = config.hidden_kernel
    expected += _cell(kind, d2 // 4, d3, hidden) + _cell(kind, d3 // 4, d4, hidden) + (d4 // 4 + 1) * 3
    with torch.device("meta"):
        assert _parameters(model.ResidualCoder(config)) == expected
        assert _parameters(model.ResidualCoder(replace(config, reconstruction="additive"))) == expected
        expected += (9 * 3 + 1) * 32 + 3 * (9 * 32 + 1) * 32 + 4 * 32 + 1
        assert _parameters(model.ResidualCoder(replace(config, reconstruction="residual-scaled"))) == expected


@pytest.mark.parametrize(
    ("name", "encoder_cell", "decoder_cell"),
    [
        ("residual-gru", ResidualGRUCell, ResidualGRUCell),
        ("gru", GRUCell, GRUCell),
        ("lstm", LSTMCell, LSTMCell),
        ("associative-lstm", LSTMCell, AssociativeLSTMCell),
    ],
)
def test_the_configs_cell_is_in_every_place_but_an_associative_lstm_only_in_the_decoder(
    make_coder, name, encoder_cell, decoder_cell
):
    coder = make_coder(replace(preset("micro"), cell=name))
    assert [type(getattr(coder.encoder, f"cell{k}")) for k in (1, 2, 3)] == [encoder_cell] * 3
    assert [type(getattr(coder.decoder, f"cell{k}")) for k in (1, 2, 3, 4)] == [decoder_cell] * 4


@pytest.mark.parametrize(("field", "known"), [("cell", CELL_NAMES), ("reconstruction", RECONSTRUCTIONS)])
def test_an_unknown_cell_or_reconstruction_is_answered_with_the_known_ones(field, known):
    with pytest.raises(InputError, match=f"{field} is 'transformer'; choose one of {', '.join(known)}"):
        ModelConfig(**{field: "transformer"})


@pytest.mark.parametrize("field", ["priming", "diffusion"])
@pytest.mark.parametrize("looks", [-1, 17, 1.5, math.nan, "one"], ids=str)
def test_looks_out_of_range_are_refused(field, looks):
    with pytest.raises(InputError, match=f"^{field} is '?{looks}'?; (choose 0 to 16 extra looks|give a whole number)$"):
        ModelConfig(**{field: looks})


@pytest.mark.parametrize("count", [-1, 33, 1.5, "one"], ids=str)
def test_more_bits_in_the_first_iteration_than_there_are_are_refused(count):
    with pytest.raises(
        InputError, match=rf"^first_bits is '?{count}'?; (choose 1 to 32, or 0 for all|give a whole number)$"
    ):
        ModelConfig(first_bits=count)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"alpha_h": math.nan}, "alpha_h is nan; give a finite number"),
        ({"alpha_x": math.inf}, "alpha_x is inf; give a finite number"),
        ({"gain": math.inf}, "gain is inf; give a finite number"),
        ({"bits": 32.0}, "bits is 32.0; give a whole number"),
        ({"gain": "4"}, "gain is '4'; give a finite number"),
        ({"encoder": (1.5, 2, 3, 4)}, r"encoder is \(1.5, 2, 3, 4\); give whole numbers"),
        ({"decoder": (4, 8, 8, 8.0, 4)}, r"decoder is \(4, 8, 8, 8.0, 4\); give whole numbers"),
    ],
)
def test_a_config_holds_finite_and_whole_numbers(changes, said):
    with pytest.raises(InputError, match=f"^{said}$"):
        ModelConfig(**changes)


@pytest.mark.parametrize("side", [0, 2, 7, -1, 1.5, "one"], ids=str)
def test_a_hidden_kernel_that_the_kit_does_not_take_is_refused(side):
    with pytest.raises(
        InputError, match=rf"^hidden_kernel is '?{side}'?; (choose one of \(1, 3, 5\)|give a whole number)$"
    ):
        ModelConfig(hidden_kernel=side)


@pytest.mark.parametrize("side", [1, 3, 5])
def test_the_hidden_kernel_is_that_of_the_memory_in_the_decoders_two_largest_cells_alone(make_coder, side):
    coder = make_coder(replace(preset("micro"), hidden_kernel=side))
    large, others = (coder.decoder.cell3, coder.decoder.cell4), (coder.decoder.cell1, coder.decoder.cell2)
    assert all(conv.kernel_size == (side, side) for cell in large for conv in (cell.U, cell.U_gates))
    assert all(conv.kernel_size == (1, 1) for cell in others for conv in (cell.U, cell.U_gates))
    assert all(cell.W.kernel_size == (3, 3) for cell in (*large, *others))


def test_micro_is_small_enough_to_train_in_a_lesson(make_coder):
    assert _parameters(make_coder()) < 200_000


def test_the_preset_paper_has_the_papers_numbers():
    paper = preset("paper")
    assert paper.encoder == (64, 256, 512, 512)
    assert paper.decoder == (512, 512, 512, 256, 128)
    assert (paper.bits, paper.alpha_h, paper.alpha_x, paper.gain) == (32, 0.1, 0.1, 1.0)


def test_the_alphas_of_the_config_reach_every_cell(make_coder):
    coder = make_coder(replace(preset("micro"), alpha_h=0.2, alpha_x=0.6))
    cells = [m for m in coder.modules() if isinstance(m, ResidualGRUCell)]
    assert [(cell.alpha_h, cell.alpha_x) for cell in cells] == [(0.2, 0.6)] * 7


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("stochastic", [True, False], ids=["drawn", "sign"])
def test_bits_are_minus_one_and_plus_one_exactly(training, stochastic):
    torch.manual_seed(0)
    binarizer = model.Binarizer(8, 16, stochastic).train(training)
    bits = binarizer(torch.randn(2, 8, 5, 5))
    assert set(bits.unique().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("stochastic", [True, False], ids=["drawn", "sign"])
def test_in_eval_mode_the_bit_is_the_sign(stochastic):
    torch.manual_seed(0)
    binarizer = model.Binarizer(8, 16, stochastic).eval()
    features = torch.randn(2, 8, 5, 5)
    y = torch.tanh(binarizer.conv(features))
    assert torch.equal(binarizer(features), y.sign())


@pytest.mark.parametrize("stochastic", [True, False], ids=["drawn", "sign"])
def test_the_gradient_passes_straight_through_the_step(stochastic):
    torch.manual_seed(0)
    binarizer = model.Binarizer(4, 6, stochastic).train()
    features = torch.randn(2, 4, 3, 3, requires_grad=True)
    ramp = torch.linspace(-2, 2, 2 * 6 * 3 * 3).reshape(2, 6, 3, 3)
    (through_bits,) = torch.autograd.grad(binarizer(features), features, ramp)
    (through_y,) = torch.autograd.grad(torch.tanh(binarizer.conv(features)), features, ramp)
    assert torch.equal(through_bits, through_y)
    assert through_y.abs().max() > 0


def test_a_drawn_bit_has_the_mean_y():
    """10 000 draws: the mean's standard deviation is at most .01, the tolerance five of these."""
    torch.manual_seed(0)
    binarizer = model.Binarizer(1, 9, stochastic=True).train()
    with torch.no_grad():
        binarizer.conv.weight.zero_()
        binarizer.conv.bias.copy_(torch.atanh(torch.tensor([-0.99, -0.9, -0.5, -0.1, 0, 0.1, 0.5, 0.9, 0.99])))
        mean = binarizer(torch.zeros(1, 1, 100, 100)).mean(dim=(0, 2, 3))
        y = torch.tanh(binarizer.conv.bias)
    torch.testing.assert_close(mean, y, rtol=0, atol=0.05)


def test_under_bfloat16_bits_stay_exact_and_the_last_convolution_runs_in_float32(make_coder):
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        coder = make_coder()
        bits, _ = coder.encode(_image(32, 32))
        picture, state = coder.decode(bits)
    assert state.h4.dtype == torch.bfloat16  # autocast was at work
    assert set(bits.unique().tolist()) == {-1.0, 1.0}
    assert picture.dtype == torch.float32
    assert not torch.equal(picture, picture.bfloat16().float())


def test_the_decoder_needs_only_the_bits(make_coder):
    coder = make_coder()
    with torch.no_grad():
        steps = [s for s, _ in zip(unroll(coder, _image(32, 48)), range(3), strict=False)]
        state = None
        for step in steps:
            picture, state = coder.decode(step.bits, state)
            assert torch.equal(picture, step.picture)


@pytest.mark.parametrize("kind", CELL_NAMES)
@pytest.mark.parametrize(("half", "cells"), [("encoder", 3), ("decoder", 4)])
def test_every_cell_hears_its_own_memory(make_coder, half, cells, kind):
    coder = make_coder(replace(preset("micro"), cell=kind))
    with torch.no_grad():
        bits, _ = coder.encode(_image(16, 16))
        network, x = (coder.encoder, _image(16, 16)) if half == "encoder" else (coder.decoder, bits)
        _, state = network(x)
        output, after = network(x, state)
        for i in range(cells):
            without = state._replace(**{f"h{i + 1}": _forgotten(state[i])})
            other, other_after = network(x, without)
            assert not torch.equal(other, output)
            same = [all(map(torch.equal, *map(_tensors, ([a], [b])))) for a, b in zip(after, other_after, strict=True)]
            assert same[: i + 1] == [True] * i + [False]


def _thinned(value):
    """A gain network whose first four layers hand on every second pixel of the red plane: ELU of `value` times it."""
    network = model.GainNetwork()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.zero_()
        for conv in network.convs[:4]:
            conv.weight[0, 0, 1, 1] = value
    return network


def test_the_gain_is_computed_from_each_block_as_the_layers_say():
    """Here four pixels of a block make its gain."""
    torch.manual_seed(6)
    x = torch.rand(2, 3, 64, 96) - 0.5
    network = _thinned(2.0)
    with torch.no_grad():
        network.convs[4].weight[0, 0] = torch.tensor([[0.3, -0.9], [-0.7, 0.5]])
        network.convs[4].bias.fill_(-0.25)
        gain = network(x)
    y = x[:, 0, ::16, ::16]
    for _ in range(4):
        y = F.elu(2 * y)
    (a, b), (c, d) = ([y[:, i::2, j::2] for j in (0, 1)] for i in (0, 1))
    blocks = 0.3 * a - 0.9 * b - 0.7 * c + 0.5 * d - 0.25
    assert blocks.min() < 0 < blocks.max()
    expected = (F.elu(blocks) + 2).repeat_interleave(32, 1).repeat_interleave(32, 2)
    torch.testing.assert_close(gain[:, 0], expected)


def test_a_gain_holds_for_a_block_of_32_pixels_and_is_another_in_the_next(make_coder):
    coder = make_coder(replace(preset("micro"), reconstruction="residual-scaled"))
    with torch.no_grad():
        gain = coder.gain_network(_image(64, 96))
    assert gain.shape == (1, 1, 64, 96)
    blocks = gain.reshape(2, 32, 3, 32).permute(0, 2, 1, 3).reshape(6, 32 * 32)
    assert torch.equal(blocks, blocks[:, :1].expand_as(blocks))
    assert len(blocks[:, 0].unique()) == 6


@pytest.mark.parametrize(("bias", "expected"), [(-1000.0, 1.0), (0.0, 2.0), (5.0, 7.0)])
def test_a_gain_is_two_without_weights_and_never_under_one(bias, expected):
    network = _thinned(0.0)
    with torch.no_grad():
        network.convs[4].bias.fill_(bias)
        gain = network(_image(32, 32))
    assert torch.equal(gain, torch.full((1, 1, 32, 32), expected))


@pytest.mark.parametrize(("height", "width"), [(16, 16), (48, 32), (32, 80), (48, 80)])
def test_a_picture_that_is_no_multiple_of_32_is_continued_by_its_last_row_and_column(make_coder, height, width):
    network = make_coder(replace(preset("micro"), reconstruction="residual-scaled")).gain_network
    x = _image(height, width, 2)
    padded = F.pad(x, (0, width % 32, 0, height % 32), mode="replicate")
    with torch.no_grad():
        gain = network(x)
        assert gain.shape == (2, 1, height, width)
        assert torch.equal(gain, network(padded)[:, :, :height, :width])


def test_gain_division_and_sum_stay_in_float32_under_bfloat16(make_coder):
    coder, x = make_coder(replace(preset("micro"), reconstruction="residual-scaled")), _image(32, 32)
    with torch.no_grad():
        exact = coder.gain(x)
        with torch.autocast("cpu", torch.bfloat16):
            output, state = coder.decode(coder.encode(x)[0])
            gain = coder.gain(x)
            picture = coder.reconstruct(output, x, gain)
    assert state.h4.dtype == torch.bfloat16  # autocast was at work
    assert torch.equal(gain, exact)
    assert torch.equal(picture, x + output / exact)


def test_the_gain_is_one_first_then_the_configs_or_the_networks(make_coder):
    x = _image(32, 32)
    for mode in RECONSTRUCTIONS:
        coder = make_coder(replace(preset("micro"), gain=3.0, reconstruction=mode))
        assert coder.gain(None) == 1
        with torch.no_grad():
            after = coder.gain(x)
        assert torch.equal(after, coder.gain_network(x)) if mode == "residual-scaled" else after == 3


@pytest.mark.parametrize("mode", RECONSTRUCTIONS)
def test_only_residual_scaled_weights_hold_a_gain_network(make_coder, mode):
    keys = make_coder(replace(preset("micro"), reconstruction=mode)).state_dict()
    assert sum(key.startswith("gain_network.") for key in keys) == (10 if mode == "residual-scaled" else 0)
    assert {key for key in keys if not key.startswith("gain_network.")} == set(make_coder().state_dict())


def test_saved_weights_come_back_as_their_half_precision_values(make_coder, weights):
    saved = make_coder().state_dict()
    loaded = weights.model.state_dict()
    assert loaded.keys() == saved.keys()
    assert all(torch.equal(loaded[key], saved[key].half().float()) for key in saved)


def test_saved_weights_come_back_with_name_config_record_and_fingerprint(weights):
    assert weights.name == "micro-1"
    assert weights.model.config == preset("micro")
    assert weights.record == {"steps": 0, "data": ["none"]}
    assert weights.fingerprint == bytes.fromhex(weights.sha256[:16])
    assert not weights.model.training


def test_weights_that_differ_in_one_number_have_another_fingerprint(make_coder, tmp_path, weights):
    coder = make_coder()
    with torch.no_grad():
        coder.decoder.conv_out.bias[0] += 0.01
    model.save(coder, tmp_path / "micro-1.safetensors", record={})
    assert model.load(tmp_path / "micro-1.safetensors").fingerprint != weights.fingerprint


def test_weights_with_another_alpha_have_another_fingerprint(make_coder, tmp_path, weights):
    """The same tensors with another alpha or gain decode to another picture: a file must not take them for its own."""
    coder = make_coder(replace(preset("micro"), alpha_h=0.5))
    model.save(coder, tmp_path / "micro-1.safetensors", record={})
    assert model.load(tmp_path / "micro-1.safetensors").fingerprint != weights.fingerprint


def test_weights_from_before_there_was_a_choice_of_cells_are_residual_grus(make_coder, tmp_path, monkeypatch):
    path = tmp_path / "micro-1.safetensors"
    with monkeypatch.context() as then:
        then.setattr(model, "asdict", lambda config: {k: v for k, v in asdict(config).items() if k != "cell"})
        model.save(make_coder(), path, record={})
    with safetensors.safe_open(path, "pt") as file:
        assert "cell" not in json.loads(file.metadata()["config"])
    loaded = model.load(path)
    assert loaded.model.config == preset("micro")
    assert type(loaded.model.decoder.cell4) is ResidualGRUCell


def _saved_config(path):
    with safetensors.safe_open(path, "pt") as file:
        return json.loads(file.metadata()["config"])


def test_weights_that_look_once_are_saved_as_before_there_was_priming(weights_path):
    """The same hash as ever, which the files that people have name; and an older kit still reads them."""
    assert list(_saved_config(weights_path)) == [
        *("encoder", "decoder", "bits", "alpha_h", "alpha_x", "gain", "reconstruction", "cell")
    ]
    assert model.load(weights_path).model.config == preset("micro")


@pytest.mark.parametrize(
    "younger",
    [{"priming": 3}, {"diffusion": 1}, {"priming": 3, "diffusion": 1}, {"first_bits": 8}, {"hidden_kernel": 1}],
    ids=str,
)
def test_weights_keep_what_they_have_of_the_younger_fields_under_another_fingerprint(
    make_coder, tmp_path, weights, younger
):
    path = tmp_path / "micro-1.safetensors"
    model.save(make_coder(replace(preset("micro"), **younger)), path, record={})
    assert _saved_config(path).items() >= younger.items()
    assert model.load(path).model.config == replace(preset("micro"), **younger)
    assert model.load(path).fingerprint != weights.fingerprint


@pytest.mark.parametrize("name", ["a" * (NAME_LIMIT + 1), "mïcro-1"])
def test_a_name_that_no_file_can_hold_is_refused_before_anything_is_written(make_coder, tmp_path, name):
    with pytest.raises(model.WeightsError, match=name):
        model.save(make_coder(), tmp_path / f"{name}.safetensors", record={})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("back", [1, 1000, 100_001], ids=["last", "near the end", "middle"])
def test_a_flipped_byte_in_the_weights_is_refused(weights_path, tmp_path, back):
    data = bytearray(weights_path.read_bytes())
    data[-back] ^= 0xFF
    path = tmp_path / "micro-1.safetensors"
    path.write_bytes(data)
    with pytest.raises(model.WeightsError, match=r"micro-1\.safetensors is damaged.*fetch the file again"):
        model.load(path)


def _with_config(weights_path, path, **changes):
    """The same tensors and hash under a changed config."""
    with safetensors.safe_open(weights_path, "pt") as file:
        metadata = file.metadata()
    metadata["config"] = json.dumps({**asdict(preset("micro")), **changes})
    path.write_bytes(safetensors.torch.save(safetensors.torch.load_file(weights_path), metadata))
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"bits": 16},
        {"encoder": (8, 16, 32, 64)},
        {"decoder": (32, 32, 32, 30, 16)},
        {"bits": 0},
        {"depth": 3},
        {"alpha_h": 0.5},  # no tensor has another shape, but every picture would be another
        {"gain": 2.0},
        {"cell": "gru"},
        {"reconstruction": "additive"},
        {"reconstruction": "residual-scaled"},
        {"priming": 1},
        {"diffusion": 1},
        {"priming": 99},
        {"first_bits": 8},
        {"hidden_kernel": 1},
    ],
    ids=str,
)
def test_a_config_that_is_not_the_one_of_the_weights_is_refused(weights_path, tmp_path, changes):
    path = _with_config(weights_path, tmp_path / "micro-1.safetensors", **changes)
    with pytest.raises(model.WeightsError, match="micro-1"):
        model.load(path)


def _crafted(weights_path, path, change=lambda tensors: tensors, **changes):
    """Other tensors or another config, and the hash that belongs to them: who can write a file can compute it."""
    tensors = change(safetensors.torch.load_file(weights_path))
    config = json.dumps({**asdict(preset("micro")), **changes})
    numbers = {key: value for key, value in tensors.items() if value.dtype in (torch.float16, torch.float32)}
    metadata = {"config": config, "record": "{}", "sha256": model._sha256(config, numbers)}
    path.write_bytes(safetensors.torch.save(tensors, metadata))
    return path


def test_a_config_that_would_fill_the_memory_is_refused_before_it_does(weights_path, tmp_path, monkeypatch):
    path = tmp_path / "micro-1.safetensors"
    _crafted(weights_path, path, encoder=(8, 16, 32, 2**70))
    with pytest.raises(model.WeightsError, match=r"holds no weights of this kit \(channels are"):
        model.load(path)
    _crafted(weights_path, path, encoder=(8, 16, 32, 16_384))
    built = []

    def build(config):
        built.append(torch.empty(0).device.type)
        return ResidualCoder(config)

    monkeypatch.setattr(model, "ResidualCoder", build)
    with pytest.raises(model.WeightsError, match=r"do not fit its own config \(\S+: \(.*\), by the config \(.*16384"):
        model.load(path)
    assert built == ["meta"]  # which takes no memory


def _first(change):
    """What changes the first of some tensors."""
    return lambda tensors: tensors | {key: change(tensors[key]) for key in sorted(tensors)[:1]}


@pytest.mark.parametrize(
    ("change", "changes", "words"),
    [
        (_first(torch.Tensor.bfloat16), {}, "holds no weights of this kit .it has numbers of the type torch.bfloat16"),
        (_first(lambda value: value.fill_(math.nan)), {}, "not all finite numbers"),
        (_first(lambda value: value[None]), {}, "do not fit its own config"),
        (lambda tensors: dict(sorted(tensors.items())[1:]), {}, "do not fit its own config .*: missing, by the config"),
        (lambda tensors: tensors | {"more": torch.zeros(1)}, {}, "more: .1,., by the config missing"),
        (lambda tensors: tensors, {"bits": True}, "bits is True; give a whole number"),
    ],
)
def test_crafted_weights_get_one_sentence(weights_path, tmp_path, change, changes, words):
    path = _crafted(weights_path, tmp_path / "micro-1.safetensors", change, **changes)
    with pytest.raises(model.WeightsError, match=words):
        model.load(path)


def test_a_config_of_a_hundred_thousand_brackets_is_refused(weights_path, tmp_path):
    tensors = safetensors.torch.load_file(weights_path)
    path = tmp_path / "micro-1.safetensors"
    path.write_bytes(safetensors.torch.save(tensors, {"config": "[" * 100_000, "record": "{}", "sha256": ""}))
    with pytest.raises(model.WeightsError, match="holds no weights of this kit"):
        model.load(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"no weights", b"PK\x03\x04" * 100, safetensors.torch.save({"a": torch.zeros(1)})],
    ids=["empty", "text", "zip", "foreign"],
)
def test_a_file_that_holds_no_weights_of_the_kit_is_refused(tmp_path, data):
    path = tmp_path / "micro-1.safetensors"
    path.write_bytes(data)
    with pytest.raises(model.WeightsError, match=r"micro-1\.safetensors holds no weights"):
        model.load(path)


@pytest.fixture
def shelf(weights_path, tmp_path, monkeypatch):
    """A folder of shipped weights with three files."""
    for name in ("micro-1", "micro-2", "micro-10"):
        (tmp_path / f"{name}.safetensors").write_bytes(weights_path.read_bytes())
    monkeypatch.setattr(model, "MODELS", tmp_path)


def test_weights_that_the_system_does_not_give_are_named(weights_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(model.safetensors, "safe_open", refuse)
    with pytest.raises(model.WeightsError, match=r"cannot be read \(Permission denied\); check its permissions"):
        model.load(weights_path)


@pytest.mark.usefixtures("shelf")
def test_a_name_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(model.WeightsError, match=r"no weights 'mega'") as error:
        model.load("mega")
    assert all(name in str(error.value) for name in ("micro-1", "micro-2", "micro-10"))


@pytest.mark.usefixtures("shelf")
@pytest.mark.parametrize(("name", "found"), [("micro", "micro-10"), ("micro-2", "micro-2")])
def test_a_preset_means_its_newest_weights_and_a_full_name_those(name, found):
    assert model.load(name).name == found


@pytest.mark.usefixtures("shelf")
def test_the_newest_version_is_the_largest_number_not_the_last_in_the_alphabet():
    assert model.available() == ["micro-1", "micro-10", "micro-2"]
    assert model.newest("micro") == "micro-10"
    assert model.newest("micro-2") == "micro-2"
    with pytest.raises(model.WeightsError, match=r"no weights 'micro-3' \(micro-1, micro-10, micro-2\)"):
        model.newest("micro-3")


def test_a_path_that_is_not_there_is_named():
    with pytest.raises(model.WeightsError, match=r"nowhere/micro-1\.safetensors"):
        model.load("nowhere/micro-1.safetensors")
