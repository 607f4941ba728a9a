"""What learns: train, average, trials."""

import argparse
import contextlib
import sys
from dataclasses import fields, replace
from pathlib import Path

from rgru_lab.commands.common import UsageError, bar, check_output, folder_name, goes_on, make_folder, say, watch
from rgru_lab.commands.options import add_force, count, curriculum, duration, size
from rgru_lab.config import DEFAULT_MODEL, LOSSES, PRESETS, WEIGHTLESS
from rgru_lab.files import write_atomically

TRAIN = """\
Train on patches cut from photographs: iterations are unrolled, and the loss sums over all of them how far each
picture is from the original. The learning rate falls to nearly zero over the time budget, so choose the budget
first. Ctrl-C stops after the step and keeps everything; --resume goes on exactly there or, where no checkpoint is, from
the weights that ship. Weights may begin with another --priming, --diffusion or --first-bits than they were trained
with; an extra look costs the time of an iteration, and not one bit.

On several GPUs: torchrun --nproc-per-node 4 -m rgru_lab train ..."""


def words(command):
    """Declare these commands and their options."""
    new = command(train, "train a codec on a folder of photographs", TRAIN)
    new.add_argument("--preset", choices=PRESETS, default=DEFAULT_MODEL)
    new.add_argument("--images", required=True, metavar="DIR", help="photographs, sub-folders included")
    new.add_argument("--time-budget", type=duration, metavar="TIME", help="90s, 45m, 2h, 1h30m")
    new.add_argument("--steps", type=count, metavar="N", help="instead of, or besides, the time budget")
    new.add_argument("--output", metavar="DIR", help="checkpoint, log and weights (default runs/PRESET)")
    new.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    new.add_argument(
        "--start-from", metavar="NAME", help="begin with these weights (a name or a path), not with random ones"
    )
    new.add_argument(
        "--curriculum",
        type=curriculum,
        metavar="STAGES",
        help="UNTIL:ITERATIONS:PATCHxBATCH,...: until which share of the training how many iterations are unrolled, on "
        "patches of how many pixels and how many of them (for example 0.25:4:64x8,1:10:128x4)",
    )
    new.add_argument("--batch", type=count, metavar="N", help="patches per step and process, in every stage")
    new.add_argument(
        "--loss", choices=LOSSES, help="what is made smaller (default: l1, the paper's; ms-ssim from weights)"
    )
    new.add_argument("--learning-rate", type=float, metavar="RATE")
    new.add_argument(
        "--colour",
        type=float,
        metavar="WEIGHT",
        help="weight of each patch's mean error of brightness and colour; 0: off",
    )
    new.add_argument(
        "--moving",
        action=argparse.BooleanOptionalAction,
        help="let the grid of MS-SSIM begin at another pixel of the patches in each step, so that no error hides in it "
        "(default: from weights yes, from random ones no)",
    )
    new.add_argument(
        "--late", type=float, metavar="P", help="weigh iteration i in the loss by i to the power of P; 0: all alike"
    )
    new.add_argument(
        "--priming", type=int, metavar="K", help="look K times more before the first codes and the first picture"
    )
    new.add_argument("--diffusion", type=int, metavar="K", help="the same in every later iteration")
    new.add_argument(
        "--first-bits", type=int, metavar="K", help="a smaller first step: so many bits of each position; 0: all"
    )
    new.add_argument(
        "--skip", type=int, metavar="N", help="run up to N iterations without a gradient before those of the curriculum"
    )
    new.add_argument(
        "--rate",
        type=float,
        metavar="WEIGHT",
        help="how many percent of its loss an iteration may give for one percent fewer coded bits; what predicts the "
        "bits (that of --start-from, if it has any) learns along and is written, too; 0: off",
    )
    new.add_argument(
        "--adaptive",
        type=float,
        metavar="SHARE",
        help="in this share of the patches, positions stop sending bits once they are good enough, as in files that "
        "compress --adaptive writes; 0: off",
    )
    new.add_argument(
        "--hard",
        type=float,
        metavar="SHARE",
        help="cut patches from the share of places that PNG compresses worst only",
    )
    new.add_argument("--bf16", action=argparse.BooleanOptionalAction, help="bfloat16 (default: what is faster here)")
    new.add_argument(
        "--graphs",
        action=argparse.BooleanOptionalAction,
        help="record each step as a CUDA graph and play it from then on (default: on a single GPU)",
    )
    new.add_argument("--part-size", type=size, metavar="MB", help="write checkpoints in parts of so many megabytes")
    new.add_argument("--seed", type=int, metavar="N", help="of weights, patches and random bits (default 0)")

    new = command(
        average,
        "the mean of trained weights",
        "Number by number, of weights that have a common beginning: of two trainings alike but for --seed, or "
        "of weights and what was trained on from them.",
    )
    new.add_argument("weights", nargs="+", metavar="NAME", help="two or more: names, or paths of .safetensors files")
    new.add_argument(
        "--shares", type=float, nargs="+", metavar="SHARE", help="how much of each (default: as much of each)"
    )
    new.add_argument("--output", required=True, metavar="NAME.safetensors")
    add_force(new)

    new = command(
        trials,
        "small trainings that decide the recipe",
        "One change at a time, a few seeds; goes on if stopped.",
    )
    new.add_argument(
        "--images", required=True, metavar="DIR", help="the training photographs, validation ones included"
    )
    new.add_argument("--output", default="data/results", metavar="DIR")
    new.add_argument("--weights", metavar="DIR", help="keep the weights of the comparison of cells here")


def train(options):
    from rgru_lab import bitfloats, bitnet, checkpoints, images, patches, photos, processes, runs, training
    from rgru_lab.config import ModelConfig, TrainConfig, preset

    if not (options.steps or options.time_budget):
        raise UsageError("say how long to train: --time-budget 2h or --steps 10000")
    names = {field.name for field in fields(TrainConfig)} & set(vars(options))
    recipe = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    folder = Path(options.output or f"runs/{options.preset}")
    resumed = goes_on(folder, options.resume)
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
        if resumed and options.start_from:
            print(f"{folder} goes on from its checkpoint, not from {options.start_from}")
        beginning += f" and its {bitnet.SUFFIX}" if learned else ""
        print(f"{options.preset} from {beginning} on {found}; log in {folder / runs.LOG}; Ctrl-C keeps everything")
    if trainer.finished and rank == 0:
        print("it is at its end already; a larger --time-budget or --steps goes on")
    found.photos.clear()  # the trainer has the pixels
    try:
        with _within_memory():
            watch(trainer, folder, _residuals, options.part_size)
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
    from rgru_lab import bitnet, inheritance, model

    target = Path(options.output)
    weights = [model.load(name) for name in options.weights]
    for each in weights:
        check_output(target, ".safetensors", each.path, options.force)
    shares = options.shares or [1.0] * len(weights)
    averaged = inheritance.mean([each.model for each in weights], shares)
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
    write_atomically(results.parent / "training.md", trials.document(rows).encode())
    print("\n" + trials.table(rows))
