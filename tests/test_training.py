"""Training learns, follows its schedule, stops before it breaks anything, and goes on exactly where it stood."""

import copy
import datetime
import json
import math
import os
import signal
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from rgru_lab import bitfloats, bitnet, checkpoints, losses, training
from rgru_lab.codec import unroll
from rgru_lab.config import InputError, ModelConfig, TrainConfig, preset
from rgru_lab.model import Weights, WeightsError, take_over
from rgru_lab.training import Trainer, TrainingError

TINY = ModelConfig(encoder=(8, 8, 8, 8), decoder=(4, 8, 8, 8, 8), bits=4, alpha_x=1.0)
RECIPE = {"curriculum": ((1.0, 2, 32, 2),), "loss": "l1", "late": 1.0, "bf16": False, "warmup_steps": 4}


@pytest.fixture(scope="module")
def pictures(sample):
    return [sample("astronaut", 64, 80), sample("coffee", 48, 64)]


@pytest.fixture
def trainer(pictures):
    """trainer(steps=..., model=..., **changes to the recipe)"""

    def make(*, steps=20, model=TINY, **changes):
        return Trainer(model, TrainConfig(**{**RECIPE, **changes}), pictures, steps=steps)

    return make


def _values(trainer):
    """All numbers that training changes, in one list."""
    moments = [value for of in trainer.optimiser.state_dict()["state"].values() for value in of.values()]
    of_bits = [] if trainer.bit_net is None else [*trainer.bit_net.state_dict().values(), *trainer.bit_average.values()]
    return [*trainer.model.state_dict().values(), *trainer.average.values(), *of_bits, *moments]


def _same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def _save(trainer, folder):
    checkpoints.write(folder, trainer.state_dict(), trainer.step_count)


def _load(trainer, folder):
    trainer.load_state_dict(checkpoints.read(folder))


# What a step makes smaller


@pytest.mark.parametrize(
    ("loss", "falls_to", "rate"), [("l1", 0.5, 5e-3), ("ssim-l1", 0.5, 5e-3), ("ms-ssim", 0.6, 5e-3)]
)
def test_a_hundred_steps_on_one_batch_make_each_loss_much_smaller(trainer, loss, falls_to, rate):
    teacher = trainer(
        steps=100, loss=loss, model=preset("micro"), learning_rate=rate, warmup_steps=10, curriculum=((1.0, 1, 32, 2),)
    )
    batch = teacher.patches.draw(32, 2)
    records = [teacher.step(batch) for _ in range(100)]
    assert records[-1].loss < falls_to * records[0].loss
    if loss == "l1":
        assert records[-1].residuals[0] < records[0].residuals[0] / 2


def test_the_loss_is_the_mean_of_the_residuals_weighted_by_their_iteration(trainer):
    teacher = trainer()
    batch = teacher.patches.draw(32, 2)
    with torch.no_grad():
        first, state = teacher.model.decode(teacher.model.encode(batch)[0])
        _, memory = teacher.model.encode(batch)
        second, _ = teacher.model.decode(teacher.model.encode(batch - first, memory)[0], state)
    record = teacher.step(batch)
    expected = [float((batch - picture).abs().mean()) for picture in (first, second)]
    assert record.residuals == pytest.approx(expected, abs=1e-6)
    assert record.loss == pytest.approx((expected[0] + 2 * expected[1]) / 3, abs=1e-6)


@pytest.mark.parametrize("loss", ["ssim-l1", "ms-ssim"])
def test_every_iteration_has_the_recipes_loss_weighted_by_its_number_to_the_power_late(trainer, loss):
    teacher = trainer(loss=loss, share=0.3, late=0.5, curriculum=((1.0, 3, 32, 2),))
    batch = teacher.patches.draw(32, 2)
    loss_of = losses.Loss(loss, 0.3, 0.0, batch)
    with torch.no_grad():
        values = [float(loss_of(s.picture, s.residual)) for s in islice(unroll(teacher.model, batch), 3)]
    expected = sum(value * math.sqrt(i) for i, value in enumerate(values, 1)) / sum(map(math.sqrt, (1, 2, 3)))
    assert teacher.step(batch).loss == pytest.approx(expected, abs=1e-6)


def test_a_moving_loss_looks_at_a_part_of_the_patch_that_is_drawn_anew_in_each_step(trainer, monkeypatch):
    teacher = trainer(loss="ms-ssim", moving=True, curriculum=((1.0, 1, 48, 2),))
    batch = teacher.patches.draw(48, 2)
    with torch.no_grad():
        step = next(unroll(teacher.model, batch))
    values = {}
    for down in range(16):
        for along in range(16):
            x, picture, residual = (
                each[..., down : down + 32, along : along + 32] for each in (batch, step.picture, step.residual)
            )
            values[down, along] = float(losses.Loss("ms-ssim", 0.84, 0.0, x)(picture, residual))
    with torch.no_grad():
        found = [float(teacher.unrolled(batch, 1)[0]) for _ in range(40)]
    nearest = [min(values, key=lambda place: abs(values[place] - each)) for each in found]
    assert [values[place] for place in nearest] == pytest.approx(found, abs=1e-6)
    assert len(set(nearest)) > 20
    assert max(max(place) for place in nearest) > 10


def test_a_moving_loss_needs_more_than_it_leaves_out():
    with pytest.raises(InputError, match="patch is 16, of which nothing is left where the loss moves; choose 32"):
        TrainConfig(moving=True, curriculum=((1.0, 1, 16, 1),))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"moving": "no"}, "moving is 'no'; give True or False"),
        ({"stochastic": 1}, "stochastic is 1; give True or False"),
        ({"bf16": "never"}, "bf16 is 'never'; give True or False, or None to try which is faster"),
        (
            {"curriculum": ((1.0, 4.9, 64, 4),)},
            r"a stage of the curriculum is \(1.0, 4.9, 64, 4\); give .*whole numbers.*",
        ),
        ({"curriculum": (("1", 4, 64, 4),)}, r"a stage of the curriculum is \('1', 4, 64, 4\); give where it ends.*"),
        ({"curriculum": ((1.0, 4, 64),)}, r"a stage of the curriculum is \(1.0, 4, 64\); give .*"),
    ],
)
def test_a_recipe_says_yes_or_no_and_counts_in_whole_numbers(changes, said):
    with pytest.raises(InputError, match=f"^{said}$"):
        TrainConfig(**changes)


def test_late_weighs_the_later_iterations_more(trainer):
    """With weights 1 and 2^60 the gradient is that of the last iteration alone; with 1 and 1 it is not."""
    gradients = {}
    for late in (0.0, 60.0):
        teacher = trainer(late=late, clip=1e9)
        batch = teacher.patches.draw(32, 2)
        *_, last = islice(unroll(teacher.model.train(), batch), 2)
        expected = torch.autograd.grad(last.residual.abs().mean(), teacher.model.decoder.conv_out.weight)[0]
        teacher.step(batch)
        gradients[late] = (teacher.model.decoder.conv_out.weight.grad - expected).abs().max() / expected.abs().max()
    assert gradients[60.0] < 1e-4
    assert gradients[0.0] > 1e-2


def test_a_late_of_any_size_gives_a_finite_loss(trainer):
    teacher = trainer(late=500.0, curriculum=((1.0, 3, 32, 2),))
    record = teacher.step()
    assert record.loss == pytest.approx(record.residuals[-1])


def test_skipped_iterations_come_before_those_that_are_learned_from(trainer):
    teacher = trainer(skip=3, late=1.0)
    batch = teacher.patches.draw(32, 2)
    with torch.no_grad():
        expected = [float(s.residual.abs().mean()) for s in islice(unroll(teacher.model, batch), 5)]
    learned = []
    teacher.model.encoder.register_forward_hook(lambda *_: learned.append(torch.is_grad_enabled()))
    loss, residuals, _ = teacher.unrolled(batch, 2, 3)
    assert learned == [False] * 3 + [True] * 2
    assert residuals.tolist() == pytest.approx(expected, abs=1e-6)
    assert float(loss.detach()) == pytest.approx((4 * expected[3] + 5 * expected[4]) / 9, abs=1e-6)


def test_a_primed_model_trains_on_what_the_loop_shows_and_its_first_looks_may_be_skipped(trainer):
    teacher = trainer(model=replace(TINY, priming=2, diffusion=1), skip=1, late=0.0)
    batch = teacher.patches.draw(32, 2)
    with torch.no_grad():
        expected = [float(s.residual.abs().mean()) for s in islice(unroll(teacher.model, batch), 3)]
    learned = []
    teacher.model.encoder.register_forward_hook(lambda *_: learned.append(torch.is_grad_enabled()))
    loss, residuals, _ = teacher.unrolled(batch, 2, 1)
    assert learned == [False] * 3 + [True] * 4
    assert residuals.tolist() == pytest.approx(expected, abs=1e-6)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in teacher.model.parameters())
    teacher.step()


def test_how_many_are_skipped_depends_on_seed_and_step_alone_and_half_of_the_steps_skip_none(trainer):
    teacher, again, other = trainer(skip=3), trainer(skip=3), trainer(skip=3, seed=1)
    drawn = []
    for one in (teacher, again, other):
        drawn.append([])
        for one.step_count in range(200):
            drawn[-1].append(one._skipped())
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    counts = [drawn[0].count(k) for k in range(4)]
    assert sum(counts) == 200
    assert 90 <= counts[0] <= 140  # 4 of 7
    assert all(15 <= count <= 45 for count in counts[1:])  # 1 of 7
    assert {trainer(skip=0)._skipped()} == {0}


def test_skipped_iterations_under_bfloat16_leave_no_weight_without_a_gradient(trainer):
    """Weights that autocast has rounded without a gradient must not be used again with one."""
    teacher = trainer(model=preset("micro"))
    batch = teacher.patches.draw(32, 2)
    with torch.autocast("cpu", torch.bfloat16):
        loss, *_ = teacher.unrolled(batch, 2, 2)
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in teacher.model.parameters())


@pytest.mark.parametrize("loss", ["ssim-l1", "ms-ssim"])
def test_bfloat16_trains_with_nearly_the_same_loss(trainer, loss):
    rough, fine = (trainer(loss=loss, bf16=bf16).step() for bf16 in (True, False))
    assert rough.loss != fine.loss
    assert rough.loss == pytest.approx(fine.loss, rel=0.02)


# A rate in the loss


def _needed(teacher, steps):
    """Bits per bit of each step of the loop, by hand."""
    planes = [step.bits.float() for step in steps]
    return [teacher.bit_net(torch.stack(planes[max(0, i - 3) : i], 1), i) for i in range(1, len(planes) + 1)]


@pytest.mark.parametrize(("skipped", "bf16"), [(0, False), (2, False), (0, True)])
def test_a_rate_weighs_the_bits_so_far_against_the_loss_of_each_iteration(trainer, skipped, bf16):
    """D (1 + rate) in value, for R over R held still is 1. In bfloat16 the model of the bits is still exact."""
    teacher = trainer(rate=3.0)
    batch = teacher.patches.draw(48, 2)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        steps = list(islice(unroll(teacher.model, batch), skipped + 4))
    needed = [float(bits.detach()) for bits in _needed(teacher, steps)]
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss, _, found = teacher.unrolled(batch, 4, skipped)
    assert found.tolist() == pytest.approx(needed, abs=1e-6)
    assert len(set(found.tolist())) == skipped + 4
    terms = [float(s.residual.abs().mean()) * (1 + 3) for s in steps]
    weighted = [i * terms[i - 1] for i in range(skipped + 1, skipped + 5)]
    assert float(loss.detach()) == pytest.approx(sum(weighted) / sum(range(skipped + 1, skipped + 5)), rel=1e-5)


def test_the_gradient_of_the_rate_goes_through_the_bits_into_encoder_and_binarizer(trainer):
    """rate D' R / R' of each iteration, R being the bits of all planes up to it."""
    teacher, without = trainer(rate=64.0, late=0.0), trainer(late=0.0)
    batch = teacher.patches.draw(32, 2)
    reached = [*(module.conv.weight for module in (teacher.model.encoder, teacher.model.binarizer))]
    reached.append(teacher.bit_net.banks[1][3].direct)
    steps = list(islice(unroll(teacher.model, batch), 2))
    first, second = _needed(teacher, steps)
    worth = [float(step.residual.detach().abs().mean()) for step in steps]
    terms = worth[0] * first / first.detach() + worth[1] * (first + second) / (first + second).detach()
    expected = torch.autograd.grad(64 * terms / 2, reached)
    with_rate = torch.autograd.grad(teacher.unrolled(batch, 2)[0], reached)
    same = [without.model.encoder.conv.weight, without.model.binarizer.conv.weight]
    plain = [*torch.autograd.grad(without.unrolled(batch, 2)[0], same), torch.zeros_like(expected[2])]
    for all_of_it, distortion, rate in zip(with_rate, plain, expected, strict=True):
        assert rate.abs().max() > 1e-4
        torch.testing.assert_close(all_of_it - distortion, rate, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("following", [0.0, training.FOLLOWING], ids=["the codec alone", "both"])
def test_a_large_rate_makes_bits_that_can_be_told_in_advance(trainer, monkeypatch, following):
    """By a model of the bits that stays as it is, and takes neighbours to be alike, and by one that learns along."""
    monkeypatch.setattr(training, "FOLLOWING", following)
    needed = {}
    for rate in (100.0, 1e-9):
        teacher = trainer(rate=rate, learning_rate=3e-3, steps=30)
        with torch.no_grad():
            for net in teacher.bit_net.banks[0]:
                net.direct.mul_(4)
        blocks = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(3)) - 0.5
        batch = blocks.repeat_interleave(16, 2).repeat_interleave(16, 3)
        records = [teacher.step(batch) for _ in range(30)]
        needed[rate] = sum(records[-1].bits_per_bit)
    assert needed[100.0] < 0.8 * needed[1e-9]
    assert needed[100.0] < 0.8 * sum(records[0].bits_per_bit)


# Positions that stop sending


def test_positions_stop_once_they_are_good_enough_and_stay_stopped(trainer, monkeypatch):
    """With the threshold of each patch known: by hand, from the loop's own pictures."""
    monkeypatch.setattr(losses, "GOOD_ENOUGH", (0.7, 0.9))
    teacher = trainer(adaptive=1.0, rate=0.5)
    batch, seen = teacher.patches.draw(64, 2), []
    encode = training.Sending.encode

    def watched(sending, r, state=None):
        going_on = sending.going_on
        bits, state = encode(sending, r, state)
        seen.append((going_on, bits.detach()))
        return bits, state

    monkeypatch.setattr(training.Sending, "encode", watched)
    torch.manual_seed(3)
    drawn = 0.7 * (0.9 / 0.7) ** torch.rand(2, 2, 1, 1)[0]
    torch.manual_seed(3)
    _, _, needed = teacher.unrolled(batch, 3, 1)
    assert seen[0][0] is None
    planes, going_on = [seen[0][1]], torch.ones(2, 4, 4, dtype=torch.bool)
    sending, similarity = training.Sending(teacher.model), losses.Similarity(batch)
    steps = unroll(sending, batch)
    monkeypatch.setattr(training.Sending, "encode", encode)
    for i in range(1, 4):
        with torch.no_grad():
            going_on = going_on & (similarity.local_unlikeness(next(steps).picture) > drawn)
        sending.going_on = going_on
        assert torch.equal(seen[i][0], going_on)
        planes.append(seen[i][1])
        assert torch.equal(planes[i] != 0, going_on[:, None].expand_as(planes[i]))
    assert 0 < going_on.sum() < going_on.numel()
    by_hand = [float(teacher.bit_net(torch.stack(planes[max(0, i - 2) : i + 1], 1), i + 1).detach()) for i in range(4)]
    assert needed.tolist() == pytest.approx(by_hand, abs=1e-6)


def test_in_none_of_the_patches_it_is_as_if_nothing_could_stop(trainer, monkeypatch):
    monkeypatch.setattr(losses, "GOOD_ENOUGH", (10.0, 10.0))  # all are good enough at once, where it is asked
    batch = trainer().patches.draw(48, 2)
    found = [float(trainer(adaptive=share).unrolled(batch, 3)[0].detach()) for share in (0.0, 1e-12, 1.0)]
    assert found[0] == found[1] != found[2]


def test_without_a_rate_there_is_no_model_of_the_bits_and_with_one_the_codec_begins_the_same(trainer):
    without, with_rate = trainer(), trainer(rate=0.5)
    assert without.bit_net is without.averaged_bit_net() is None
    assert without.step().bits_per_bit == ()
    assert _same(list(trainer().model.state_dict().values()), list(with_rate.model.state_dict().values()))


def test_the_model_of_the_bits_learns_at_six_times_the_rate_and_its_average_is_kept(trainer):
    teacher = trainer(rate=0.5, learning_rate=1e-2, curriculum=((1.0, 3, 32, 2),))
    before = copy.deepcopy(teacher.bit_net.state_dict())
    records = [teacher.step() for _ in range(3)]
    rates = [group["lr"] / records[-1].learning_rate for group in teacher.optimiser.param_groups]
    assert rates == pytest.approx([1, 6])
    after, kept = teacher.bit_net.state_dict(), teacher.averaged_bit_net().state_dict()
    for name, start in before.items():
        moved, kept_moved = (after[name] - start).norm(), (kept[name] - start).norm()
        assert min(moved, kept_moved) > 0 or not start.numel()
        assert not torch.equal(after[name], kept[name]) or not start.numel()


def _learned(bits=4, **sizes):
    torch.manual_seed(9)
    net = bitfloats.BitNet(bits, bitfloats.BitTrainConfig(**sizes))
    return bitnet.Learned(bitfloats.integers(net), bytes(8), {})


def test_the_model_of_the_bits_begins_with_what_was_learned_of_the_weights_it_starts_from(trainer, make_coder):
    teacher, learned = trainer(rate=0.5), _learned()
    teacher.start_from(_weights(make_coder(TINY)), learned)
    for net in (teacher.bit_net, teacher.averaged_bit_net()):
        numbers = bitfloats.integers(net)
        assert all(np.array_equal(value, numbers[name]) for name, value in learned.tensors.items())
    trainer().start_from(_weights(make_coder(TINY)), learned)  # without a rate it is of no use
    for other in (_learned(bits=8), _learned(hidden=24)):
        with pytest.raises(TrainingError, match="cannot begin one of 4 in 4 with 32 and 32 units"):
            trainer(rate=0.5).start_from(_weights(make_coder(TINY)), other)


def test_what_is_not_finite_in_the_model_of_the_bits_stops_the_training(trainer):
    teacher = trainer(rate=0.5)
    with torch.no_grad():
        teacher.bit_net.banks[0][0].middle_bias[0] = math.nan
    with pytest.raises(TrainingError, match="diverged at step 0"):
        teacher.step()


# Where it goes on, and that nothing but the seed decides


@pytest.mark.parametrize(
    "changes",
    [{}, {"stochastic": True}, {"skip": 2, "hard": 0.5, "loss": "ms-ssim"}, {"skip": 2, "rate": 0.5}],
    ids=str,
)
@pytest.mark.parametrize("part_bytes", [None, 20_000])
def test_an_interrupted_training_ends_bit_for_bit_where_the_uninterrupted_one_does(
    trainer, tmp_path, changes, part_bytes
):
    stages = {"curriculum": ((0.5, 1, 32, 2), (1.0, 2, 48, 1))}
    whole = trainer(steps=6, **stages, **changes)
    records = [whole.step() for _ in range(6)]

    first = trainer(steps=6, **stages, **changes)
    for _ in range(3):
        first.step()
    checkpoints.write(tmp_path, first.state_dict(), 3, part_bytes=part_bytes)
    torch.rand(7)  # whatever else drew random numbers in between
    second = trainer(steps=6, **stages, **changes)
    _load(second, tmp_path)
    resumed = [second.step() for _ in range(3)]

    assert _same(_values(whole), _values(second))
    assert [r.residuals for r in resumed] == [r.residuals for r in records[3:]]
    assert [r.learning_rate for r in resumed] == [r.learning_rate for r in records[3:]]
    assert [r.step for r in resumed] == [4, 5, 6]
    assert second.finished


@pytest.mark.parametrize("stochastic", [False, True], ids=["sign", "drawn"])
def test_the_same_seed_trains_the_same_weights_and_another_seed_others(trainer, stochastic):
    def trained(seed):
        teacher = trainer(seed=seed, stochastic=stochastic)
        teacher.step(), teacher.step()
        return _values(teacher)

    assert _same(trained(0), trained(0))
    assert not _same(trained(0), trained(1))


def test_drawn_bits_train_other_weights_than_signs(trainer):
    drawn, sign = trainer(stochastic=True), trainer(stochastic=False)
    drawn.step(), sign.step()
    assert not _same(_values(drawn), _values(sign))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"learning_rate": 2e-3}, "learning_rate"),
        ({"seed": 1}, "seed"),
        ({"loss": "ms-ssim"}, "loss"),
        ({"rate": 0.5}, "rate"),
        ({"curriculum": ((1.0, 2, 32, 3),)}, "curriculum"),
        ({"model": preset("micro")}, "encoder"),
        ({"model": replace(TINY, priming=1)}, "priming"),
    ],
    ids=["learning rate", "seed", "loss", "rate", "batch", "model", "priming"],
)
def test_resuming_with_another_recipe_is_refused_and_names_the_difference(trainer, tmp_path, changes, named):
    _save(trainer(), tmp_path)
    other = trainer(**changes)
    before = [value.clone() for value in _values(other)]
    with pytest.raises(TrainingError, match=rf"made with .*{named}.*resume with the same settings"):
        _load(other, tmp_path)
    assert _same(_values(other), before)


def test_a_checkpoint_from_before_there_was_a_setting_goes_on_with_its_default(trainer):
    state = trainer(seed=3).state_dict()
    del state["model_config"]["priming"], state["train_config"]["skip"]
    trainer(seed=3).load_state_dict(state)
    with pytest.raises(TrainingError, match=r"made with skip 0; resume"):
        trainer(seed=3, skip=1).load_state_dict(state)


@pytest.mark.parametrize("began", [True, False])
def test_a_resumed_training_runs_in_what_it_began_in(trainer, began):
    teacher, resumed = trainer(bf16=None), trainer(bf16=None)
    teacher.bf16, resumed.bf16 = began, not began  # another machine, on which the other is faster
    resumed.load_state_dict(teacher.state_dict())
    assert resumed.bf16 is began


# What stops it


@pytest.mark.parametrize("loss", ["l1", "ms-ssim"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_batch_that_is_not_finite_stops_the_training_and_spares_the_weights(trainer, value, loss):
    teacher = trainer(loss=loss)
    teacher.step()
    before = [v.clone() for v in _values(teacher)]
    with pytest.raises(TrainingError, match=r"diverged at step 1 .*a learning rate under 0\.001"):
        teacher.step(torch.full((1, 3, 32, 32), value))
    assert _same(_values(teacher), before)
    assert all(torch.isfinite(v).all() for v in _values(teacher))
    assert teacher.step_count == 1


def test_a_gradient_is_cut_to_the_recipes_norm(trainer):
    norms = {}
    for clip in (1e-3, 1e9):
        teacher = trainer(clip=clip)
        teacher.step()
        norms[clip] = float(torch.stack([p.grad.norm() for p in teacher.model.parameters()]).norm())
    assert norms[1e-3] == pytest.approx(1e-3, rel=1e-3)
    assert norms[1e9] > 1e-2


@pytest.mark.parametrize("lengths", [{}, {"steps": 0}, {"steps": -3}, {"steps": None, "time_budget_s": None}], ids=str)
def test_a_training_without_an_end_is_refused(pictures, lengths):
    with pytest.raises(TrainingError, match="say how long"):
        Trainer(TINY, TrainConfig(**RECIPE), pictures, **lengths)


def test_pictures_that_are_too_small_for_a_later_stage_are_refused_at_the_start(trainer):
    with pytest.raises(InputError, match="none of the 2 pictures has 80 px"):
        trainer(curriculum=((0.5, 1, 32, 1), (1.0, 1, 80, 1)))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"curriculum": ()}, "must rise to 1.0"),
        ({"curriculum": ((0.5, 2, 64, 8),)}, r"end at \[0.5\]; they must rise to 1.0"),
        ({"curriculum": ((0.5, 2, 64, 8), (0.2, 2, 64, 8), (1, 2, 64, 8))}, "must rise"),
        ({"curriculum": ((1, 0, 64, 8),)}, "0 iterations"),
        ({"curriculum": ((1, 17, 64, 8),)}, "17 iterations"),
        ({"curriculum": ((1, 2, 40, 8),)}, "patch is 40"),
        ({"curriculum": ((1, 2, 0, 8),)}, "patch is 0"),
        ({"curriculum": ((1, 2, 64, 0),)}, "batch is 0"),
        ({"curriculum": ((1, 10, 64, 1),), "skip": 7}, "10 iterations after up to 7"),
        ({"skip": -1}, "skip is -1"),
        ({"loss": "l2"}, "l1, ssim-l1, ms-ssim"),
        ({"share": 1.1}, "share is 1.1"),
        ({"share": math.nan}, "share is nan"),
        ({"late": -0.1}, "late is -0.1"),
        ({"rate": -0.1}, "rate is -0.1"),
        ({"rate": math.nan}, "rate is nan"),
        ({"rate": math.inf}, "rate is inf"),
        ({"colour": math.inf}, "colour is inf; give a finite number"),
        ({"clip": math.inf}, "clip is inf"),
        ({"learning_rate": math.inf}, "learning_rate is inf"),
        ({"skip": 1.5}, "skip is 1.5; give a whole number"),
        ({"curriculum": ((0.5, 2, 64, 8), (math.nan, 2, 64, 8), (1, 2, 64, 8))}, "must rise"),
        ({"curriculum": ((-1, 2, 64, 8), (1, 2, 64, 8))}, "must rise"),
        ({"hard": 0.0}, "hard is 0.0"),
        ({"hard": 1.5}, "hard is 1.5"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"ema": 1.0}, "ema is 1.0"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**63}, "seed is"),
    ],
    ids=str,
)
def test_a_recipe_that_cannot_be_followed_is_refused_with_the_value(changes, said):
    with pytest.raises(InputError, match=said):
        TrainConfig(**changes)


# The schedule


def test_the_learning_rate_warms_up_then_falls_along_a_cosine_to_a_hundredth(trainer):
    teacher = trainer(steps=40, learning_rate=0.01, curriculum=((1.0, 1, 16, 1),))
    rates = []
    for _ in range(40):
        rates.append(teacher.step().learning_rate)
        assert teacher.optimiser.param_groups[0]["lr"] == rates[-1]

    def cosine(step):
        return 0.01 * (0.01 + 0.99 * (1 + math.cos(math.pi * step / 40)) / 2)

    assert rates[:4] == pytest.approx([cosine(k) * (k + 1) / 4 for k in range(4)])
    assert rates[4:] == pytest.approx([cosine(k) for k in range(4, 40)])
    assert rates[20] == pytest.approx(0.01 * 0.505)
    assert rates[-1] == pytest.approx(0.01 * 0.01, rel=0.2)


def test_each_stage_of_the_curriculum_has_its_own_iterations_patches_and_batch(trainer, monkeypatch):
    teacher = trainer(steps=10, curriculum=((0.2, 1, 16, 3), (0.5, 2, 32, 2), (1.0, 3, 48, 1)))
    draw, drawn = teacher.patches.draw, []
    monkeypatch.setattr(
        teacher.patches, "draw", lambda size, count: (drawn.append((size, count)), draw(size, count))[1]
    )
    assert [len(teacher.step().residuals) for _ in range(10)] == [1, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert drawn == [(16, 3)] * 3 + [(32, 2)] * 3 + [(48, 1)] * 4


def test_a_time_budget_alone_moves_the_progress(pictures):
    teacher = Trainer(TINY, TrainConfig(**RECIPE), pictures, time_budget_s=1e-9)
    assert not teacher.finished
    assert teacher.step().progress == 1
    assert teacher.finished


def test_of_steps_and_time_budget_the_first_to_end_ends_it(pictures):
    for limits in ({"steps": 1, "time_budget_s": 1e6}, {"steps": 1_000_000, "time_budget_s": 1e-9}):
        teacher = Trainer(TINY, TrainConfig(**RECIPE), pictures, **limits)
        teacher.step()
        assert teacher.finished


def test_the_speed_is_that_of_the_step_and_the_time_that_of_all_steps(trainer, monkeypatch):
    clock = iter([10.0, 12.0, 100.0, 104.0])
    teacher = trainer()
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock))
    first, second = teacher.step(), teacher.step()
    assert (first.patches_per_s, second.patches_per_s) == (2 / 2, 2 / 4)
    assert (first.elapsed_s, second.elapsed_s) == (2, 6)


# The averaged weights


@pytest.mark.parametrize("ema", [0.0, 0.999])
def test_the_averaged_model_follows_the_trained_one_and_is_it_without_ema(trainer, ema):
    teacher = trainer(ema=ema)
    teacher.step(), teacher.step()
    kept = teacher.averaged_model()
    assert not kept.training
    assert _same(list(kept.state_dict().values()), list(teacher.model.state_dict().values())) is (ema == 0)


def test_the_average_is_a_mean_of_the_weights_so_far(trainer):
    teacher, key = trainer(ema=0.999), "encoder.conv.bias"
    average = teacher.model.state_dict()[key].clone()
    for step in range(1, 4):
        teacher.step()
        decay = step / (step + 10)
        average = decay * average + (1 - decay) * teacher.model.state_dict()[key]
    torch.testing.assert_close(teacher.averaged_model().state_dict()[key], average)


# A run in a folder


def test_what_was_logged_after_the_last_checkpoint_is_not_logged_twice(trainer, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LOG_EVERY", 2)
    steps = training.run(trainer(steps=9), tmp_path)
    for _ in range(4):
        next(steps)
    steps.close()
    log = tmp_path / "log.jsonl"
    lines = log.read_text(encoding="utf-8").splitlines(keepends=True)
    more = [lines[-1].replace('"step": 4', f'"step": {step}') for step in (6, 8)]
    damaged = ['{"a": 1}\n', "[1]\n", more[0][:20]]
    log.write_bytes("".join([*lines, *more, *damaged]).encode() + b"\xff\n" + lines[0].strip().encode())  # killed
    resumed = trainer(steps=9)
    _load(resumed, tmp_path)
    list(training.run(resumed, tmp_path))
    found = [json.loads(line)["step"] for line in log.read_text(encoding="utf-8").splitlines()]
    assert found == [2, 4, 6, 8, 9]


def test_a_folder_with_a_later_checkpoint_is_left_alone(trainer, tmp_path):
    list(training.run(trainer(steps=3), tmp_path))
    with pytest.raises(TrainingError, match="holds a checkpoint of step 3, and this training is at step 0; load that"):
        next(training.run(trainer(steps=5), tmp_path))
    assert [p.name for p in tmp_path.glob("*.pt")] == ["checkpoint-00000003-1of1.pt"]


def test_a_run_that_is_closed_early_leaves_a_checkpoint_to_go_on_from(trainer, tmp_path):
    steps = training.run(trainer(steps=5), tmp_path / "a" / "b")
    next(steps), next(steps)
    steps.close()
    resumed = trainer(steps=5)
    _load(resumed, tmp_path / "a" / "b")
    assert resumed.step_count == 2
    assert [p.name for p in (tmp_path / "a" / "b").iterdir()] == ["checkpoint-00000002-1of1.pt"]


def test_a_run_to_the_end_leaves_a_checkpoint_and_a_log_and_nothing_else(trainer, tmp_path):
    teacher = trainer(steps=3)
    records = list(training.run(teacher, tmp_path, save_every_s=0))
    assert [r.step for r in records] == [1, 2, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint-00000003-1of1.pt", "log.jsonl"]
    (line,) = (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == json.loads(json.dumps(records[-1]._asdict()))


def test_a_run_writes_its_checkpoints_in_parts_of_the_stated_size(trainer, tmp_path):
    teacher = trainer(steps=2)
    list(training.run(teacher, tmp_path, save_every_s=0, part_bytes=10_000))
    parts = list(tmp_path.glob("checkpoint-00000002-*.pt"))
    assert len(parts) > 2
    assert max(part.stat().st_size for part in parts) == 10_000
    assert len(list(tmp_path.glob("*checkpoint*"))) == len(parts)
    resumed = trainer(steps=2)
    _load(resumed, tmp_path)
    assert _same(_values(resumed), _values(teacher))


def test_a_run_saves_as_often_as_it_is_told(trainer, tmp_path, monkeypatch):
    """Half a minute a step; a checkpoint a minute, so that a kill loses a minute at most."""
    clock = iter(range(0, 10_000, 30))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    found = []
    for record in training.run(trainer(steps=9), tmp_path):
        found.append([int(p.name.split("-")[1]) for p in tmp_path.glob("checkpoint*")])
        assert record.step - (found[-1] or [0])[0] <= 2
    assert found[-1] > found[3] > [0]


def test_a_run_that_diverges_leaves_the_last_good_checkpoint_alone(trainer, tmp_path, monkeypatch):
    teacher = trainer()
    steps = training.run(teacher, tmp_path, save_every_s=0)
    next(steps)
    monkeypatch.setattr(teacher.patches, "draw", lambda size, count: torch.full((count, 3, size, size), math.nan))
    with pytest.raises(TrainingError, match="step 1"):
        next(steps)
    resumed = trainer()
    _load(resumed, tmp_path)
    assert resumed.step_count == 1
    assert all(torch.isfinite(v).all() for v in _values(resumed))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_the_middle_of_a_step_waits_for_its_end(trainer, tmp_path, monkeypatch, number):
    whole = trainer(steps=5)
    list(training.run(whole, tmp_path / "whole"))
    cut = trainer(steps=5)
    before = signal.getsignal(number)
    draw = cut.patches.draw
    monkeypatch.setattr(cut.patches, "draw", lambda *size: (signal.raise_signal(number), draw(*size))[1])
    with pytest.raises(KeyboardInterrupt):
        list(training.run(cut, tmp_path / "cut"))
    assert signal.getsignal(number) is before
    resumed = trainer(steps=5)
    _load(resumed, tmp_path / "cut")
    assert resumed.step_count == 1
    list(training.run(resumed, tmp_path / "cut"))
    assert _same(_values(resumed), _values(whole))


# Weights to begin with


def _weights(coder):
    return Weights("small-1", coder, {}, "00" * 32)


def test_training_starts_from_weights_of_its_own_shape_and_keeps_their_name(trainer, make_coder, tmp_path):
    teacher = trainer()
    coder = make_coder(TINY, seed=5)
    teacher.start_from(_weights(coder))
    assert _same(list(teacher.averaged_model().state_dict().values()), list(coder.state_dict().values()))
    _save(teacher, tmp_path)
    resumed = trainer()
    assert training.papers(resumed, "photos")["started_from"] is None
    _load(resumed, tmp_path)
    assert training.papers(resumed, "photos")["started_from"] == "small-1"


def test_training_does_not_start_from_weights_of_another_kind(trainer, make_coder):
    teacher = trainer()
    before = [value.clone() for value in _values(teacher)]
    for other in (replace(TINY, gain=2.0), replace(TINY, bits=2), replace(TINY, cell="gru")):
        with pytest.raises(WeightsError, match="do not fit into"):
            teacher.start_from(_weights(make_coder(other)))
    assert _same(_values(teacher), before)


@pytest.mark.parametrize("other", [(0, 1), (1, 0), (2, 3)], ids=str)
def test_training_starts_from_weights_that_differ_in_what_no_weight_belongs_to(trainer, make_coder, other):
    theirs, ours = (replace(TINY, priming=k, diffusion=k, first_bits=k) for k in other)
    teacher, coder = trainer(model=ours), make_coder(theirs, seed=5)
    teacher.start_from(_weights(coder))
    kept = teacher.averaged_model()
    assert _same(list(kept.state_dict().values()), list(coder.state_dict().values()))
    assert kept.config == ours


GROWN = ModelConfig(encoder=(10, 12, 8, 16), decoder=(5, 12, 8, 16, 12), bits=4, alpha_x=1.0)


@pytest.mark.parametrize("reconstruction", ["one-shot", "residual-scaled"])
@pytest.mark.parametrize("cell", ["residual-gru", "gru", "lstm"])
def test_a_grown_model_computes_what_the_small_one_computed(make_coder, cell, reconstruction):
    kind = {"cell": cell, "reconstruction": reconstruction}
    small, large = make_coder(replace(TINY, **kind), seed=1), make_coder(replace(GROWN, **kind), seed=2)
    x = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(3)) - 0.5

    def run(coder):
        with torch.no_grad():
            return list(islice(unroll(coder, x), 3))

    before, expected = run(large), run(small)
    take_over(small, large)
    for own, other, step in zip(run(large), before, expected, strict=True):
        assert torch.equal(own.bits, step.bits)
        torch.testing.assert_close(own.picture, step.picture, rtol=0, atol=1e-5)
        assert not torch.equal(other.picture, own.picture)


def test_a_grown_model_can_use_all_that_it_has_more(make_coder):
    """Its new channels are not zero, they read the old ones, and within two steps every weight moves."""
    small, large = make_coder(TINY, seed=1), make_coder(GROWN, seed=2)
    take_over(small, large)
    new = large.state_dict()["encoder.cell1.W.weight"].view(3, 12, 10, 3, 3)
    assert torch.equal(new[:, :8, :8], small.state_dict()["encoder.cell1.W.weight"].view(3, 8, 8, 3, 3))
    assert (new[:, :8, 8:] == 0).all()
    assert (new[:, 8:] != 0).all()
    optimiser = torch.optim.Adam(large.parameters(), lr=1e-3)
    before = {name: value.detach().clone() for name, value in large.named_parameters()}
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5
    for _ in range(3):
        optimiser.zero_grad()
        sum(step.residual.abs().mean() for step in islice(unroll(large, x), 2)).backward()
        optimiser.step()
    assert all((value != before[name]).float().mean() > 0.95 for name, value in large.named_parameters())


def test_the_kits_small_grows_into_its_base_from_any_memory_format(make_coder):
    small, base = make_coder(preset("small")).to(memory_format=torch.channels_last), make_coder(preset("base"), seed=2)
    take_over(small, base)
    with torch.no_grad():
        x = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) - 0.5
        ours, theirs = ([s.picture for s in islice(unroll(coder, x), 2)] for coder in (base, small))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_of_more_channels_the_first_stay_and_of_a_larger_hidden_kernel_the_sum(make_coder):
    """So a model into which another one grew gives it back, and on an even memory both kernels say the same."""
    small, large = make_coder(TINY, seed=1), make_coder(GROWN, seed=2)
    take_over(small, large)
    back = make_coder(TINY, seed=3)
    take_over(large, back)
    assert _same(list(back.state_dict().values()), list(small.state_dict().values()))
    narrow, wide = (
        make_coder(replace(TINY, hidden_kernel=1), seed=4),
        make_coder(replace(TINY, hidden_kernel=3), seed=5),
    )
    take_over(small, narrow)
    cells = narrow.decoder.cell4, small.decoder.cell4
    even = torch.rand(1, small.config.decoder[4], 1, 1).expand(-1, -1, 8, 8)
    inside = [cell.U(even)[:, :, 1:-1, 1:-1] for cell in cells]
    torch.testing.assert_close(*inside)
    take_over(narrow, wide)  # which sees its middle only
    torch.testing.assert_close(wide.decoder.cell4.U(even), narrow.decoder.cell4.U(even))


@pytest.mark.parametrize("channels", [8, 12])
def test_an_associative_lstm_takes_its_own_shape_only(make_coder, channels):
    config = replace(TINY, cell="associative-lstm", decoder=(4, channels, channels, channels, channels))
    small, large = make_coder(config, seed=1), make_coder(config, seed=2)
    take_over(small, large)
    assert _same(list(large.state_dict().values()), list(small.state_dict().values()))
    with pytest.raises(WeightsError, match="do not fit"):
        take_over(small, make_coder(replace(config, encoder=(8, 8, 8, 16))))


# Two processes


TOGETHER = {**RECIPE, "stochastic": True, "curriculum": ((0.5, 1, 32, 1), (1.0, 2, 32, 1))}


def _one_of_two(rank, folder):
    """What each of two processes does; it writes what it found for the tests to look at."""
    torch.set_num_threads(1)
    meet = f"file://{folder / 'meet'}"
    limit = datetime.timedelta(seconds=60)
    distributed.init_process_group("gloo", init_method=meet, rank=rank, world_size=2, timeout=limit)
    pictures = list(np.load(folder / "pictures.npy"))
    found = {"writes": 0}
    write = checkpoints.write

    def counted(*words, **options):
        found["writes"] += 1
        write(*words, **options)

    checkpoints.write = counted

    def make(steps=6, model=TINY, **changes):
        return Trainer(model, TrainConfig(**{**TOGETHER, **changes}), pictures, steps=steps)

    joined = make(curriculum=RECIPE["curriculum"], stochastic=False)
    batch = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(5)) - 0.5
    found["loss"] = joined.step(batch[2 * rank : 2 * rank + 2]).loss
    found["joined"] = joined.model.state_dict()
    found["gradients"] = [p.grad.clone() for p in joined.model.parameters()]

    gains = make(model=replace(TINY, reconstruction="residual-scaled"))  # its network is not used in the first stage
    found["gains"] = [len(gains.step().residuals) for _ in range(6)]

    rated = make(
        rate=1.0, skip=2, curriculum=RECIPE["curriculum"]
    )  # of what predicts the bits each step uses another part
    needed = [rated.step().bits_per_bit for _ in range(6)]
    found["rated"], found["needed"] = _values(rated), needed

    whole = make()
    found["drawn"] = whole.patches.draw(32, 1)
    whole = make()
    list(training.run(whole, folder / "whole"))
    first = make()
    steps = training.run(first, folder / "run")
    for _ in range(3):
        next(steps)
    steps.close()
    distributed.barrier()
    found["state"] = checkpoints.read(folder / "run")["random"]
    second = make()
    _load(second, folder / "run")
    found["elapsed_s"] = second.elapsed_s
    list(training.run(second, folder / "resumed"))
    found["whole"], found["resumed"] = _values(whole), _values(second)

    stopped = make()
    if rank == 1:  # the signal comes to one of them only
        draw = stopped.patches.draw
        stopped.patches.draw = lambda *size: (signal.raise_signal(signal.SIGTERM), draw(*size))[1]
    try:
        list(training.run(stopped, folder / "stopped"))
    except KeyboardInterrupt:
        found["stopped"] = stopped.step_count

    broken = make()
    try:
        broken.step(torch.full((1, 3, 32, 32), math.nan if rank else 0.0))
    except TrainingError as error:
        found["diverged"] = str(error)

    torch.save(found, folder / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory, sample):
    """What two processes found, and the folder in which they met."""
    folder = tmp_path_factory.mktemp("two")
    np.save(folder / "pictures.npy", [sample("astronaut", 48, 64), sample("coffee", 48, 64)])
    processes = multiprocessing.spawn(_one_of_two, (folder,), nprocs=2, join=False)
    try:
        end = time.monotonic() + 120
        while not processes.join(timeout=1):
            assert time.monotonic() < end, "two processes wait for each other"
    finally:
        for process in processes.processes:
            process.kill()
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_two_processes_make_the_step_of_one_on_the_joined_batch(two, pictures):
    _, found = two
    alone = Trainer(TINY, TrainConfig(**RECIPE), pictures, steps=6)
    batch = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(5)) - 0.5
    before = [value.clone() for value in alone.model.state_dict().values()]
    loss = alone.step(batch).loss
    assert found[0]["loss"] != found[1]["loss"]
    assert (found[0]["loss"] + found[1]["loss"]) / 2 == pytest.approx(loss, abs=1e-6)
    for gradient, parameter in zip(found[0]["gradients"], alone.model.parameters(), strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-6)
    after = list(alone.model.state_dict().values())
    for theirs, ours, start in zip(found[0]["joined"].values(), after, before, strict=True):
        assert not torch.equal(ours, start)
        torch.testing.assert_close(theirs, ours, rtol=0, atol=2e-6)


def test_both_processes_have_the_same_weights_after_a_step_and_after_a_training(two):
    _, (a, b) = two
    assert _same(list(a["joined"].values()), list(b["joined"].values()))
    assert _same(a["whole"], b["whole"])


def test_each_process_draws_patches_of_its_own_and_both_random_states_are_in_the_checkpoint(two):
    _, (a, b) = two
    assert not torch.equal(a["drawn"], b["drawn"])
    states = a["state"]
    assert len(states) == 2
    assert not torch.equal(states[0]["patches"], states[1]["patches"])
    assert not torch.equal(states[0]["torch"], states[1]["torch"])


def test_two_processes_resume_bit_for_bit(two):
    _, (a, b) = two
    assert _same(a["whole"], a["resumed"])
    assert _same(b["whole"], b["resumed"])
    assert a["elapsed_s"] == b["elapsed_s"] > 0


def test_the_first_process_alone_writes(two):
    folder, found = two
    assert found[0]["writes"] > 0
    assert found[1]["writes"] == 0
    assert sorted(p.name for p in (folder / "whole").iterdir()) == ["checkpoint-00000006-1of1.pt", "log.jsonl"]
    assert len((folder / "whole" / "log.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_a_gain_network_that_a_stage_does_not_use_holds_nothing_up(two):
    assert [one["gains"] for one in two[1]] == [[1, 1, 1, 1, 2, 2]] * 2


def test_with_a_rate_both_processes_learn_the_same_model_of_the_bits_from_bits_of_their_own(two):
    _, (a, b) = two
    assert _same(a["rated"], b["rated"])
    assert a["needed"] != b["needed"]
    assert [len(bits) for bits in a["needed"]] == [2, 2, 2, 2, 3, 3]  # one iteration was skipped in two steps


def test_a_signal_to_one_process_stops_both_after_the_same_step_with_a_checkpoint(two):
    folder, found = two
    assert [one["stopped"] for one in found] == [1, 1]
    assert checkpoints.read(folder / "stopped")["step_count"] == 1


def test_what_is_not_finite_in_one_process_stops_both(two):
    assert all("diverged at step 0" in one["diverged"] for one in two[1])


def test_resuming_with_another_number_of_processes_is_refused(two, pictures):
    folder, _ = two
    alone = Trainer(TINY, TrainConfig(**TOGETHER), pictures, steps=6)
    before = [value.clone() for value in _values(alone)]
    with pytest.raises(TrainingError, match="made by 2 processes; resume with as many"):
        _load(alone, folder / "run")
    assert _same(_values(alone), before)
    assert alone.step_count == 0


# The record beside the weights


def test_processes_part_and_one_alone_has_nobody_to_part_from():
    training.leave_processes()
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    training.leave_processes()
    assert not distributed.is_initialized()


def test_the_record_says_enough_to_train_the_weights_again(trainer):
    teacher = trainer(seed=3)
    teacher.step()
    papers = json.loads(json.dumps(training.papers(teacher, "holiday")))
    assert (papers["data"], papers["pictures"], papers["steps"], papers["seed"]) == ("holiday", 2, 1, 3)
    assert TrainConfig(**papers["config"]) == teacher.config
    assert papers["torch"] == torch.__version__
    assert papers["date"] == datetime.date.today().isoformat()
    assert os.sep not in papers["hardware"]
