"""What predicts a codec's bits: train-bits."""

import contextlib
import os
import sys
from dataclasses import replace
from pathlib import Path

from rgru_lab.commands.common import UsageError, bar, folder_name, goes_on, make_folder, watch
from rgru_lab.commands.options import add_force, add_model, duration

TRAIN_BITS = """\
Two fifths of the time make bits of photographs with the codec, half of it trains a small network to predict them,
the rest measures. The result, NAME.bits, stands beside the codec's weights and is used from then on. Ctrl-C stops
after the step and keeps what is learned so far; --resume goes on there."""


def words(command):
    """Declare this command and its options."""
    new = command(train_bits, "train the model that predicts a codec's bits", TRAIN_BITS)
    add_model(new)
    new.add_argument("--images", required=True, metavar="DIR", help="photographs, sub-folders included")
    new.add_argument("--time-budget", type=duration, default=600.0, metavar="TIME", help="default 10m")
    new.add_argument(
        "--output",
        metavar="DIR",
        help="checkpoint, log and the codec's bits that are learned from (default runs/NAME-bits)",
    )
    new.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    new.add_argument(
        "--start-from", metavar="NAME", help="begin with the bits of these weights, not with random numbers"
    )
    new.add_argument(
        "--groups",
        type=int,
        metavar="N",
        help="how many the channels are divided into: more tell more of a bit, and take longer for it (default 8, or "
        "as --start-from has, whose groups may be divided further)",
    )
    new.add_argument("--learning-rate", type=float, metavar="RATE", help="default 6e-3")
    new.add_argument(
        "--adaptive",
        type=float,
        metavar="SHARE",
        help="in this share of the crops positions stop sending, as in adaptive files (default 0)",
    )
    new.add_argument("--seed", type=int, metavar="N", help="of weights and crops (default 0)")
    add_force(new)


def train_bits(options):
    from rgru_lab import bitdata, bitfloats, bitmodel, bitnet, bittraining, checkpoints, images, model, photos

    weights = model.load(options.model)
    target = bitnet.path_beside(weights)
    folder = Path(options.output or f"runs/{weights.name}-bits")
    resumed = goes_on(folder, options.resume)
    begin = state = None
    recipe = bitfloats.BitTrainConfig()
    if resumed:
        state = checkpoints.read(folder)
        recipe = bitfloats.recipe_of(state["config"])
    elif options.start_from:
        begin = bitnet.find(model.load(options.start_from))
        if begin.coding != "learned":
            raise UsageError(f"{options.start_from} has no {bitnet.SUFFIX} file to begin with; leave out --start-from")
        if begin.bits != weights.model.config.bits:
            raise UsageError(
                f"{options.start_from} has {begin.bits} bits per position, {weights.name} {weights.model.config.bits}; "
                "leave out --start-from"
            )
        recipe = bitfloats.recipe_for(begin)
    names = ("groups", "learning_rate", "adaptive", "seed")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    recipe = replace(recipe, **given)
    if (options.groups or 0) > weights.model.config.bits:
        raise UsageError(
            f"{weights.name} has {weights.model.config.bits} bits per position, which cannot be divided into "
            f"{options.groups} groups; name at most so many with --groups"
        )
    if begin:
        bitfloats.BitNet(begin.bits, recipe).begin_with(begin)  # whether it can, before bits are made for minutes
    if target.exists() and not (resumed or options.force):
        raise UsageError(f"{target} is there already, and files made with it need it; add --force to replace it")
    if not os.access(target.parent, os.W_OK):
        raise UsageError(f"the folder {target.parent} cannot be written to; copy the weights and name the copy")
    for_training, for_validation = bitdata.split(options.images, photos.validation_names())
    make_folder(folder)
    print(
        f"{weights.name}: {len(for_training)} pictures to learn from, {len(for_validation)} to validate on", flush=True
    )

    seconds = options.time_budget
    chances = {"seed": recipe.seed, "adaptive": recipe.adaptive}
    data = folder_name(options.images)
    made = {"images": data} | chances
    codes = bitdata.load_codes(folder, weights, made) if options.resume else []
    if not codes:
        making = bitdata.collect(weights.model, for_training, seconds=bittraining.COLLECTING * seconds, **chances)
        codes = list(bar(making, None, "crop"))
        bitdata.save_codes(folder, weights, codes, made)
    trainer = bittraining.BitTrainer(codes, recipe, time_budget_s=bittraining.LEARNING * seconds)
    if state:
        trainer.load_state_dict(state)
    elif begin:
        trainer.start_from(begin)
    try:
        watch(trainer, folder, lambda record: f"B[{record.iteration}] {record.bits_per_bit:.3f} bits per bit")
    finally:
        if sys.exc_info()[0] in (None, KeyboardInterrupt):
            papers = bittraining.papers(trainer, data)
            learned = bitnet.Learned(bitfloats.integers(trainer.averaged_net()), weights.fingerprint, papers)
            bitnet.save(learned, target)
            print(f"\n{target}: {trainer.step_count:,} steps in {trainer.elapsed_s:,.0f} s", flush=True)
    codes = []
    for path in bar(for_validation, len(for_validation), "picture"):
        with contextlib.suppress(images.PictureError):  # as among those that it learned from
            codes.append(bitdata.validation_codes(weights.model, path))
    if not codes:
        print("none of the validation photographs can be read, so nothing is measured")
        return
    counted, told = (bittraining.bits_per_bit(each, codes) for each in (bitmodel.Counts(), learned))
    if told[0] > counted[0]:
        print("counting tells B[1] better than what was learned: train longer, or with another --learning-rate")
    print("bits per bit on validation photographs\n  i  counts  learned")
    for i, (counts, best) in enumerate(zip(counted, told, strict=True), start=1):
        print(f"{i:3}  {counts:.4f}  {best:.4f}")
