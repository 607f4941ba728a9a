"""What learns: train, average, train-bits, trials, effects."""

import contextlib
import os
import sys
import time
from dataclasses import fields, replace
from pathlib import Path

from rgru_lab.commands.common import (
    UsageError,
    bar,
    check_output,
    each_picture,
    folder_name,
    make_folder,
    pictures,
    say,
)
from rgru_lab.config import WEIGHTLESS


def train(options):
    from rgru_lab import bitfloats, bitnet, checkpoints, images, patches, photos, processes, runs, training
    from rgru_lab.config import ModelConfig, TrainConfig, preset

    if not (options.steps or options.time_budget):
        raise UsageError("say how long to train: --time-budget 2h or --steps 10000")
    names = {field.name for field in fields(TrainConfig)} & set(vars(options))
    recipe = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    folder = Path(options.output or f"runs/{options.preset}")
    resumed = _resumed(folder, options.resume)
    state = start = learned = bit_config = None
    shape = preset(options.preset)
    if resumed:
        state = checkpoints.read(folder)
        shape = _shaped_as(shape, ModelConfig(**state["model_config"]))
        recipe = state["train_config"] | recipe  # what is said anew must agree
        bit_config = bitfloats.recipe_of(state.get("bit_config", {}))
    elif options.start_from or options.resume:
        start = _start(options, folder)
        shape = _shaped_as(shape, start.model.config)
        # Trained weights know the first iterations already, and MS-SSIM has something to hold on to.
        trained = {"loss": "ms-ssim", "moving": True, "late": 0.5}
        recipe = trained | {"curriculum": ((1.0, *TrainConfig.curriculum[-1][1:]),)} | recipe
    config = TrainConfig(**recipe)
    shape = _shaped_as(shape, options)
    if options.batch:
        config = replace(config, curriculum=[stage._replace(batch=options.batch) for stage in config.curriculum])
    device = processes.join()
    if options.graphs and not device.startswith("cuda"):
        raise UsageError(f"--graphs needs a CUDA device, and training runs on {device} here; leave it out")
    images.paths_in(options.images)  # says if there is no such folder, before another is made
    make_folder(folder)

    rank, _ = processes.place()
    found = patches.pictures_in(
        options.images,
        leave_out=photos.validation_names(),
        progress=iter if rank else lambda paths: bar(paths, len(paths), "picture"),
    )
    budget = {"steps": options.steps, "time_budget_s": options.time_budget}
    if start and config.rate and isinstance(bits := bitnet.find(start), bitnet.Learned):
        learned, bit_config = bits, bitfloats.recipe_for(bits)
    runs_on = {"device": device, "graphs": options.graphs}
    trainer = training.Trainer(shape, config, found.photos, bit_config=bit_config, **runs_on, **budget)
    if state:
        trainer.load_state_dict(state)
        state = None  # the trainer has it
    elif start:
        trainer.start_from(start, learned)
    if rank == 0:
        beginning = "the checkpoint" if resumed else start.name if start else "random weights"
        beginning += f" and its {bitnet.SUFFIX}" if learned else ""
        print(f"{options.preset} from {beginning} on {found}; log in {folder / runs.LOG}; Ctrl-C keeps everything")
    if trainer.finished and rank == 0:
        print("it is at its end already; a larger --time-budget or --steps goes on")
    found.photos.clear()  # the trainer has the pixels
    try:
        with _within_memory():
            _watch(trainer, folder, _residuals, options.part_size)
    finally:
        if sys.exc_info()[0] in (None, KeyboardInterrupt):
            if rank == 0:
                _keep(trainer, folder / f"{options.preset}-local.safetensors", Path(options.images).resolve())
            processes.leave()


def _keep(trainer, weights: Path, data: Path):
    """Write what was trained, and say what can be done with it."""
    from rgru_lab import bitfloats, bitnet, model, training

    papers = training.papers(trainer, data.name)
    model.save(trainer.averaged_model(), weights, record=papers)
    print(f"\n{weights}: {trainer.step_count:,} steps in {trainer.elapsed_s:,.0f} s")
    if net := trainer.averaged_bit_net():
        kept = model.load(weights)
        bits = bitnet.path_beside(kept)
        bitnet.save(bitnet.Learned(bitfloats.integers(net), kept.fingerprint, papers), bits)
        more = f"train-bits --model {weights} --start-from {weights} --images {data} --force"
        print(f"{bits}: what predicts its bits; python -m rgru_lab {more} goes on")
    print(f"try it: python -m rgru_lab compare photo.jpg --model {weights}")


def average(options):
    from rgru_lab import bitnet, model

    target = Path(options.output)
    weights = [model.load(name) for name in options.weights]
    for each in weights:
        check_output(target, ".safetensors", each.path, options.force)
    shares = options.shares or [1.0] * len(weights)
    averaged = model.mean([each.model for each in weights], shares)
    parts = [
        {"name": each.name, "sha256": each.sha256, "share": round(share / sum(shares), 6)}
        for each, share in zip(weights, shares, strict=True)
    ]
    model.save(averaged, target, record=weights[0].record | {"mean_of": parts})
    print(f"{target}: {', '.join('{share:.0%} {name}'.format(**part) for part in parts)}")
    begin = f" --start-from {options.weights[0]}" if bitnet.find(weights[0]).coding == "learned" else ""
    more = f"train-bits --model {target}{begin} --images DIR"
    print(f"its bits are coded by counting until a {bitnet.SUFFIX} file learns them: python -m rgru_lab {more}")


def _shaped_as(shape, like):
    """A model's shape with what no weight belongs to as in another, or as the options say where they do."""
    return replace(shape, **{name: getattr(like, name) for name in WEIGHTLESS if getattr(like, name) is not None})


def _resumed(folder: Path, resume: bool) -> bool:
    """Whether a training goes on from the checkpoint in a folder; to begin anew beside one is refused."""
    from rgru_lab import checkpoints

    there = checkpoints.exists(folder)
    if there and not resume:
        raise UsageError(f"{folder} holds a checkpoint already; add --resume to go on, or choose another --output")
    return there


def _start(options, folder: Path):
    """The weights that a training without a checkpoint begins with."""
    from rgru_lab import model

    shipped = {name.rpartition("-")[0] for name in model.available()}
    if not options.start_from and options.preset not in shipped:
        raise UsageError(
            f"{folder} holds no checkpoint, and no weights of {options.preset!r} ship; leave out --resume to begin "
            "with random weights, or add --start-from NAME"
        )
    return model.load(options.start_from or options.preset)


@contextlib.contextmanager
def _within_memory():
    """A step that memory does not hold ends in one sentence."""
    import torch

    try:
        yield
    except RuntimeError as error:  # a processor's has no class of its own
        if not isinstance(error, torch.OutOfMemoryError) and "allocate memory" not in str(error):
            raise
        raise UsageError(
            "a step of this training takes more memory than there is; choose a smaller --batch, or fewer or smaller "
            "patches in --curriculum"
        ) from None


def _residuals(record) -> str:
    said = "|R[i]| " + " ".join(f"{255 * residual:.1f}" for residual in record.residuals)
    needed = " ".join(f"{bits:.3f}" for bits in record.bits_per_bit)
    return f"{said}, bits per bit {needed}" if needed else said


def train_bits(options):
    from rgru_lab import bitdata, bitfloats, bitmodel, bitnet, bittraining, checkpoints, images, model, photos

    weights = model.load(options.model)
    target = bitnet.path_beside(weights)
    folder = Path(options.output or f"runs/{weights.name}-bits")
    resumed = _resumed(folder, options.resume)
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
    names = ("learning_rate", "adaptive", "seed")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    recipe = replace(recipe, **given)
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
        _watch(trainer, folder, lambda record: f"B[{record.iteration}] {record.bits_per_bit:.3f} bits per bit")
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


def _watch(trainer, folder: Path, reading, part_bytes: int | None = None):
    from rgru_lab import runs

    said = time.monotonic()
    with bar(None, 100, "percent", disable=True if trainer.rank else None) as shown:
        shown.bar_format = "{percentage:3.0f}% |{bar}| {postfix}"
        for record in runs.run(trainer, folder, part_bytes=part_bytes):
            start = f"step {record.step:,}, {record.elapsed_s:,.0f} s, rate {record.learning_rate:.1e}, "
            text = start + reading(record)
            shown.n = 100 * record.progress
            shown.set_postfix_str(text)
            if shown.disable and trainer.rank == 0 and time.monotonic() - said > 60:  # no terminal: a line a minute
                said = time.monotonic()
                print(f"{record.progress:4.0%} {text}", flush=True)


def trials(options):
    from rgru_lab import images, patches, photos, trials

    results = Path(options.output) / "trials.json"
    kept = photos.validation_names()
    validation = [images.load(path) for path in images.paths_in(options.images) if path.name in kept]
    if not validation:
        raise UsageError(
            f"{options.images} holds none of the photographs named in data/validation.txt, which are measured; give a "
            "folder that does, or write names of your own there"
        )
    make_folder(results.parent)
    found = patches.pictures_in(options.images, leave_out=kept)
    weights = Path(options.weights) if options.weights else None
    rows = []
    total = len(trials.TRIALS) * len(trials.SEEDS)
    data = folder_name(options.images)
    for row in bar(trials.run(found.photos, validation, results, weights, data=data), total, "trial"):
        rows.append(row)
        levels = " ".join(f"{level:.1f}" for level in row["mean_abs_residual"])
        say(f"{row['question']}: {row['setting']}, seed {row['seed']}, {row['steps']} steps: |R[i]| {levels}")
    images.write_atomically(results.parent / "training.md", trials.document(rows).encode())
    print("\n" + trials.table(rows))


def effects(options):
    from rgru_lab import bitnet, effects, measuring, model, patches, photos

    folder, output = Path(options.weights), Path(options.output)
    make_folder(folder)
    make_folder(output)
    start = model.load(options.start_from)
    name, paths = pictures(options.on)
    measuring.check(paths)
    found = patches.pictures_in(
        options.images, leave_out=photos.validation_names(), progress=lambda each: bar(each, len(each), "picture")
    )
    data = folder_name(options.images)
    steps = effects.train(start, bitnet.find(start), found.photos, folder, effects.IDEAS, data=data)
    for _ in bar(steps, effects.STEPS * len(effects.IDEAS), "step"):
        pass
    measured = effects.measure(folder, paths, ideas=effects.IDEAS, jobs=options.jobs, progress=each_picture)
    for path in effects.write(output, start.name, name, len(paths), measured):
        print(path)
