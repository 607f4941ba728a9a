"""Training learns, follows its schedule, stops before it breaks anything, and goes on exactly where it stood."""

import copy
import datetime
import json
import math
import os
import time
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from rgru_lab import bitfloats, bitnet, checkpoints, losses, training
from rgru_lab.codec import unroll
from rgru_lab.config import InputError, TrainConfig, preset
from rgru_lab.model import Weights, WeightsError
from rgru_lab.training import Trainer, TrainingError
from tests.teachers import RECIPE, TINY, load, same, save, values

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
    record = teacher.step(batch)
    assert record.loss == pytest.approx(expected, abs=1e-6)
    assert record.losses == pytest.approx(values, abs=1e-6)


def test_a_record_says_of_skipped_iterations_what_is_left_and_what_their_bits_take_but_no_loss(trainer, monkeypatch):
    teacher = trainer(rate=3.0, skip=2)
    monkeypatch.setattr(teacher, "_skipped", lambda: 2)
    batch = teacher.patches.draw(32, 2)
    with torch.no_grad():
        _, residuals, losses, needed = teacher.unrolled(batch, 2, 2)
    record = teacher.step(batch)
    assert (len(residuals), len(losses), len(needed)) == (4, 2, 4)
    for said, found in zip(
        (record.residuals, record.losses, record.bits_per_bit), (residuals, losses, needed), strict=True
    ):
        assert said == pytest.approx(found.tolist(), rel=1e-4)


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
    loss, residuals, *_ = teacher.unrolled(batch, 2, 3)
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
    loss, residuals, *_ = teacher.unrolled(batch, 2, 1)
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
        loss, _, losses, found = teacher.unrolled(batch, 4, skipped)
    assert found.tolist() == pytest.approx(needed, abs=1e-6)
    assert len(set(found.tolist())) == skipped + 4
    assert losses.tolist() == pytest.approx([float(s.residual.abs().mean()) for s in steps[skipped:]], rel=1e-5)
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
    *_, needed = teacher.unrolled(batch, 3, 1)
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
    assert same(list(trainer().model.state_dict().values()), list(with_rate.model.state_dict().values()))


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
    load(second, tmp_path)
    resumed = [second.step() for _ in range(3)]

    assert same(values(whole), values(second))
    assert [r.residuals for r in resumed] == [r.residuals for r in records[3:]]
    assert [r.learning_rate for r in resumed] == [r.learning_rate for r in records[3:]]
    assert [r.step for r in resumed] == [4, 5, 6]
    assert second.finished


@pytest.mark.parametrize("stochastic", [False, True], ids=["sign", "drawn"])
def test_the_same_seed_trains_the_same_weights_and_another_seed_others(trainer, stochastic):
    def trained(seed):
        teacher = trainer(seed=seed, stochastic=stochastic)
        teacher.step(), teacher.step()
        return values(teacher)

    assert same(trained(0), trained(0))
    assert not same(trained(0), trained(1))


def test_drawn_bits_train_other_weights_than_signs(trainer):
    drawn, sign = trainer(stochastic=True), trainer(stochastic=False)
    drawn.step(), sign.step()
    assert not same(values(drawn), values(sign))


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
    save(trainer(), tmp_path)
    other = trainer(**changes)
    before = [value.clone() for value in values(other)]
    with pytest.raises(TrainingError, match=rf"made with .*{named}.*resume with the same settings"):
        load(other, tmp_path)
    assert same(values(other), before)


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
    before = [v.clone() for v in values(teacher)]
    with pytest.raises(TrainingError, match=r"diverged at step 1 .*a learning rate under 0\.001"):
        teacher.step(torch.full((1, 3, 32, 32), value))
    assert same(values(teacher), before)
    assert all(torch.isfinite(v).all() for v in values(teacher))
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
    assert same(list(kept.state_dict().values()), list(teacher.model.state_dict().values())) is (ema == 0)


def test_the_average_is_a_mean_of_the_weights_so_far(trainer):
    teacher, key = trainer(ema=0.999), "encoder.conv.bias"
    average = teacher.model.state_dict()[key].clone()
    for step in range(1, 4):
        teacher.step()
        decay = step / (step + 10)
        average = decay * average + (1 - decay) * teacher.model.state_dict()[key]
    torch.testing.assert_close(teacher.averaged_model().state_dict()[key], average)


# Weights to begin with


def _weights(coder):
    return Weights("small-1", coder, {}, "00" * 32)


def test_training_starts_from_weights_of_its_own_shape_and_keeps_their_name(trainer, make_coder, tmp_path):
    teacher = trainer()
    coder = make_coder(TINY, seed=5)
    teacher.start_from(_weights(coder))
    assert same(list(teacher.averaged_model().state_dict().values()), list(coder.state_dict().values()))
    save(teacher, tmp_path)
    resumed = trainer()
    assert training.papers(resumed, "photos")["started_from"] is None
    load(resumed, tmp_path)
    assert training.papers(resumed, "photos")["started_from"] == "small-1"


def test_training_does_not_start_from_weights_of_another_kind(trainer, make_coder):
    teacher = trainer()
    before = [value.clone() for value in values(teacher)]
    for other in (replace(TINY, gain=2.0), replace(TINY, bits=2), replace(TINY, cell="gru")):
        with pytest.raises(WeightsError, match="do not fit into"):
            teacher.start_from(_weights(make_coder(other)))
    assert same(values(teacher), before)


@pytest.mark.parametrize("other", [(0, 1), (1, 0), (2, 3)], ids=str)
def test_training_starts_from_weights_that_differ_in_what_no_weight_belongs_to(trainer, make_coder, other):
    theirs, ours = (replace(TINY, priming=k, diffusion=k, first_bits=k) for k in other)
    teacher, coder = trainer(model=ours), make_coder(theirs, seed=5)
    teacher.start_from(_weights(coder))
    kept = teacher.averaged_model()
    assert same(list(kept.state_dict().values()), list(coder.state_dict().values()))
    assert kept.config == ours


# The record beside the weights


def test_the_record_says_enough_to_train_the_weights_again(trainer):
    teacher = trainer(seed=3)
    teacher.step()
    papers = json.loads(json.dumps(training.papers(teacher, "holiday")))
    assert (papers["data"], papers["pictures"], papers["steps"], papers["seed"]) == ("holiday", 2, 1, 3)
    assert TrainConfig(**papers["config"]) == teacher.config
    assert papers["torch"] == torch.__version__
    assert papers["date"] == datetime.date.today().isoformat()
    assert os.sep not in papers["hardware"]
