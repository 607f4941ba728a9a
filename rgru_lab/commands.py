"""What each command of the command line does; `__main__` has the words that people give it.

A command takes the options that the parser made of those words, prints what came of them, and raises an `InputError`
where they cannot be carried out. Each imports what it needs when it runs: `--help` need not wait for torch.
"""

import contextlib
import math
import os
import sys
import time
from collections import deque
from dataclasses import fields, replace
from pathlib import Path

from rgru_lab.config import MAX_ITERATIONS, WEIGHTLESS, InputError

PAGE_PIXELS = 1_500_000
"""Larger photographs are scaled down for a page: its browser holds about forty pictures of that size."""


class UsageError(InputError):
    """A command that cannot be carried out as given; the message says what to change."""


def compress(options):
    from rgru_lab import images, model, search
    from rgru_lab.metrics import MS_SSIM_MIN_SIDE, has_ms_ssim
    from rgru_lab.progression import Progression

    _check_output(options.output, ".rgru", options.input, options.force)
    if options.search:
        search.check_steps(options.search)
    photo = images.load(*_bytes_of(options.input))
    if options.quality and not has_ms_ssim(photo):
        raise UsageError(f"{options.input} has a side under {MS_SSIM_MIN_SIDE} px, too small for MS-SSIM; use --bpp")
    weights = model.load(options.model)
    limit_bytes = options.bytes or (options.bpp and options.bpp * photo.shape[0] * photo.shape[1] / 8)
    if options.adaptive:
        progression = _adaptive(weights, photo, options, limit_bytes)
        chosen = len(progression)
        _write(options.output, progression.file(chosen))
        sent = progression.counts
        most = _iterations(sent.max())
        said = f"positions send {sent.min()} to {most}, {sent.mean():.1f} on average"
        said = f"every position sends {most}" if sent.min() == sent.max() else said
        size = _size_of(progression[chosen], options.quality)
        print(f"{options.output}: {size}; {said}", file=_messages(options.output))
        return
    progression = Progression(weights, photo, _bit_model(weights, options), search=options.search)
    most = options.iterations or (MAX_ITERATIONS if limit_bytes or options.quality else 8)
    chosen = 0
    for i, decoded in _bar(progression.run(most), most, "iteration"):
        if limit_bytes and decoded.size_bytes > limit_bytes:
            break
        chosen = i
        if options.quality and decoded.ms_ssim >= options.quality:
            break
    if not chosen:
        least = progression[1]
        raise UsageError(f"one iteration takes {_at_least(least)}, and {_limit(options)} allows less; allow as much")
    decoded = progression[chosen]
    if options.quality and decoded.ms_ssim < options.quality:
        best = max(range(1, chosen + 1), key=lambda i: progression[i].ms_ssim)
        reached = _reachable(progression[best])
        raise UsageError(f"MS-SSIM is {reached} at best, after {_iterations(best)}; ask for a --quality up to that")
    _write(options.output, progression.file(chosen))
    saved = 100 * (1 - decoded.size_bytes / decoded.raw_bytes)
    said = f"; {_iterations(chosen)}"
    said += f", {saved:.1f} % saved by coding ({progression.bit_model.coding})" if saved else ""
    print(f"{options.output}: {_size_of(decoded, options.quality)}{said}", file=_messages(options.output))


def _adaptive(weights, photo, options, limit_bytes):
    """The `Progression` of the adaptive file that was asked for."""
    from rgru_lab import adaptive

    if not (options.quality or limit_bytes):
        instead = f" instead of --iterations {options.iterations}" if options.iterations else ""
        raise UsageError(f"an adaptive file needs something to reach: give --quality, --bpp or --bytes{instead}")

    def progress(steps, total):
        return _bar(steps, total, "iteration")

    bit_model = _bit_model(weights, options)
    if options.quality:
        found = adaptive.reaching(weights, photo, options.quality, bit_model, search=options.search, progress=progress)
        best = found[len(found)]
        if best.ms_ssim < options.quality:
            raise UsageError(
                f"adaptive files reach MS-SSIM {_reachable(best)} here, not {options.quality:g}; ask for a --quality "
                "up to that, or leave out --adaptive: a file of all bits may reach a little more"
            )
    else:
        found = adaptive.fitting(weights, photo, limit_bytes, bit_model, search=options.search, progress=progress)
        least = found[len(found)]
        if least.size_bytes > limit_bytes:
            raise UsageError(
                f"one iteration everywhere takes {_at_least(least)}, and {_limit(options)} allows less; allow as much"
            )
    return found


def decompress(options):
    from rgru_lab import bitstream, images, progression

    _check_output(options.output, ".png", options.input, options.force)
    source, name = _bytes_of(options.input)
    limit = frames = None
    while frames is None:
        try:
            file = progression.read(source, limit)
            wanted = options.iterations or file.iterations
            if limit:
                wanted = min(wanted, limit)
            if wanted > file.iterations:
                raise UsageError(
                    f"{options.input} holds {_iterations(file.iterations)}, not {wanted}; ask for at most that many"
                )
            frames = progression.decode(file, wanted, options.model)
        except bitstream.DamagedSegment as error:
            if not (options.partial and error.whole):
                hint = f", or add --partial for the {_iterations(error.whole)} before it" if error.whole else ""
                raise UsageError(f"{error}{hint}") from None
            limit = error.whole
            print(f"warning: {error}; this is what comes before it", file=sys.stderr)
    frame = deque(_bar(frames, wanted, "iteration"), maxlen=1).pop()  # the last one
    _write(options.output, images.encode_png(frame))
    if file.left_over_bytes and limit is None:
        print(f"warning: {name or options.input}: {_left_over(file)}", file=sys.stderr)
    size = f"{frame.shape[1]} x {frame.shape[0]} px"
    said = f"after {wanted} of {_iterations(file.iterations)}"
    print(f"{options.output}: {size} {said}", file=_messages(options.output))


def info(options):
    from rgru_lab import progression

    file = progression.read(_bytes_of(options.input)[0])
    header = file.header
    pixels = header.width * header.height
    coding = {"raw": "stored as they are", "counts": "coded with counted contexts"}.get(header.coding)
    coding = coding or f"coded with the learned model {header.bit_model.hex()}"
    print(f"picture      {header.width} x {header.height} px")
    print(f"weights      {header.name}, fingerprint {header.fingerprint.hex()}, {header.reconstruction}")
    print(f"bits         {header.bits} per position and iteration, {coding}")
    if header.adaptive:
        print("adaptive     positions stop sending where it no longer pays; what they do not send counts as raw, too")
    print("\niterations       bytes  bits per pixel  raw bytes  bits per bit")
    for i, (end, raw) in enumerate(zip(file.ends_bytes, file.raw_bytes, strict=True), start=1):
        print(f"{i:10} {end:11,}  {8 * end / pixels:14.3f}  {raw:9,}  {file.bits_per_bit[i - 1]:12.3f}")
    if file.left_over_bytes:
        print(f"\nleft over    {_left_over(file)}")


def compare(options):
    from rgru_lab import codec, images, model, plots
    from rgru_lab.opponents import Ladder
    from rgru_lab.progression import Progression

    codec.check_iterations(options.iterations)
    for path, what, suffix in ((options.output, "figure", ".png"), (options.html, "page", ".html")):
        if path == "-":
            raise UsageError(f"the table goes to the standard output; give the {what} a name that ends in {suffix}")
    photo = images.load(*_bytes_of(options.photo))
    name = "standard input" if options.photo == "-" else options.photo
    output = Path(options.output or f"{'stdin' if options.photo == '-' else Path(name).stem}-compare.png")
    _check_output(output, ".png", options.photo, options.force)
    if options.html:
        _check_output(options.html, ".html", options.photo, options.force)
        if photo.shape[0] * photo.shape[1] > PAGE_PIXELS:
            whole, photo = photo, images.shrink(photo, PAGE_PIXELS)
            print(f"scaled down from {whole.shape[1]} x {whole.shape[0]} px, to make a page that opens quickly")
    weights = model.load(options.model)
    progression, ladder = Progression(weights, photo), Ladder(photo)
    print(f"{name}: {photo.shape[1]} x {photo.shape[0]} px, weights {progression.weights.name}")
    print("JPEG: 4:2:0, optimised Huffman tables. 'same bytes': its largest quality that is not larger than ours;")
    print("'same MS-SSIM': its least quality that reaches ours, and how much smaller (-) our file is.\n")
    print("            ours                                   JPEG, same bytes                JPEG, same MS-SSIM")
    print("  i     bytes    bpp  PSNR dB  MS-SSIM  |R|     q     bytes  PSNR dB  MS-SSIM     q     bytes   ours")
    for i, ours in _bar(progression.run(options.iterations), options.iterations, "iteration"):
        rival = ladder.fitting(ours.size_bytes)
        equal = ladder.reaching(ours.ms_ssim) if ours.ms_ssim is not None else None
        line = f"{i:3} {_reading(ours)} {ours.mean_abs_residual:4.1f}   {_rival(rival, ladder)}   "
        if equal:
            line += f"{equal.quality:3} {equal.size_bytes:9,}  {100 * (ours.size_bytes / equal.size_bytes - 1):+4.0f} %"
        else:
            line += "none gets there" if ours.ms_ssim is not None else "MS-SSIM needs sides over 160 px"
        _say(line)
    figure = plots.comparison(progression, ladder, list(range(1, len(progression) + 1)))
    images.write_atomically(output, plots.png(figure))
    print(f"\nfigure: {output}")
    if options.html:
        from rgru_lab.viewer import Scrubber

        scrubber = Scrubber(progression)
        scrubber.save_html(options.html, f"{Path(name).name} in {_iterations(len(progression))}")
        print(f"page: {options.html}, {os.path.getsize(options.html):,} bytes; open it in a browser")


def train(options):
    from rgru_lab import bitnet, bittraining, checkpoints, images, patches, photos, training
    from rgru_lab.config import ModelConfig, TrainConfig, preset

    if not (options.steps or options.time_budget):
        raise UsageError("say how long to train: --time-budget 2h or --steps 10000")
    names = {field.name for field in fields(TrainConfig)} & set(vars(options))
    recipe = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    folder = Path(options.output or f"runs/{options.preset}")
    resumed = options.resume and checkpoints.exists(folder)
    if checkpoints.exists(folder) and not options.resume:
        raise UsageError(f"{folder} holds a checkpoint already; add --resume to go on, or choose another --output")
    state = start = learned = bit_config = None
    shape = preset(options.preset)
    if resumed:
        state = checkpoints.read(folder)
        shape = _shaped_as(shape, ModelConfig(**state["model_config"]))
        recipe = state["train_config"] | recipe  # what is said anew must agree
        bit_config = bittraining.BitTrainConfig(**bittraining.BEFORE | state.get("bit_config", {}))
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
    device = training.join_processes()
    if options.graphs and not device.startswith("cuda"):
        raise UsageError(f"--graphs needs a CUDA device, and training runs on {device} here; leave it out")
    images.paths_in(options.images)  # says if there is no such folder, before another is made
    _make_folder(folder)

    rank, _ = training.place()
    found = patches.pictures_in(
        options.images,
        leave_out=photos.validation_names(),
        progress=iter if rank else lambda paths: _bar(paths, len(paths), "picture"),
    )
    budget = {"steps": options.steps, "time_budget_s": options.time_budget}
    if start and config.rate and isinstance(bits := bitnet.find(start), bitnet.Learned):
        learned, bit_config = bits, bittraining.recipe_for(bits)
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
        print(f"{options.preset} from {beginning} on {found}; log in {folder / 'log.jsonl'}; Ctrl-C keeps everything")
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
            training.leave_processes()


def _keep(trainer, weights: Path, data: Path):
    """Write what was trained, and say what can be done with it."""
    from rgru_lab import bitnet, bittraining, model, training

    papers = training.record(trainer, data.name)
    model.save(trainer.averaged_model(), weights, record=papers)
    print(f"\n{weights}: {trainer.step_count:,} steps in {trainer.elapsed_s:,.0f} s")
    if net := trainer.averaged_bit_net():
        kept = model.load(weights)
        bits = bitnet.path_beside(kept)
        bitnet.save(bitnet.Learned(bittraining.integers(net), kept.fingerprint, papers), bits)
        more = f"train-bits --model {weights} --start-from {weights} --images {data} --force"
        print(f"{bits}: what predicts its bits; python -m rgru_lab {more} goes on")
    print(f"try it: python -m rgru_lab compare photo.jpg --model {weights}")


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
    _make_folder(results.parent)
    found = patches.pictures_in(options.images, leave_out=kept)
    weights = Path(options.weights) if options.weights else None
    rows = []
    total = len(trials.TRIALS) * len(trials.SEEDS)
    data = Path(options.images).resolve().name
    for row in _bar(trials.run(found.photos, validation, results, weights, data=data), total, "trial"):
        rows.append(row)
        levels = " ".join(f"{level:.1f}" for level in row["mean_abs_residual"])
        _say(f"{row['question']}: {row['setting']}, seed {row['seed']}, {row['steps']} steps: |R[i]| {levels}")
    images.write_atomically(results.parent / "training.md", trials.document(rows).encode())
    print("\n" + trials.table(rows))


def train_bits(options):
    from rgru_lab import bitdata, bitmodel, bitnet, bittraining, checkpoints, images, model, photos

    weights = model.load(options.model)
    target = bitnet.path_beside(weights)
    folder = Path(options.output or f"runs/{weights.name}-bits")
    resumed = options.resume and checkpoints.exists(folder)
    if checkpoints.exists(folder) and not options.resume:
        raise UsageError(f"{folder} holds a checkpoint already; add --resume to go on, or choose another --output")
    begin = state = None
    recipe = bittraining.BitTrainConfig()
    if resumed:
        state = checkpoints.read(folder)
        recipe = bittraining.BitTrainConfig(**bittraining.BEFORE | state["config"])
    elif options.start_from:
        begin = bitnet.find(model.load(options.start_from))
        if begin.coding != "learned":
            raise UsageError(f"{options.start_from} has no {bitnet.SUFFIX} file to begin with; leave out --start-from")
        if begin.bits != weights.model.config.bits:
            raise UsageError(
                f"{options.start_from} has {begin.bits} bits per position, {weights.name} {weights.model.config.bits}; "
                "leave out --start-from"
            )
        recipe = bittraining.recipe_for(begin)
    names = ("learning_rate", "adaptive", "seed")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    recipe = replace(recipe, **given)
    if target.exists() and not (resumed or options.force):
        raise UsageError(f"{target} is there already, and files made with it need it; add --force to replace it")
    if not os.access(target.parent, os.W_OK):
        raise UsageError(f"the folder {target.parent} cannot be written to; copy the weights and name the copy")
    for_training, for_validation = bitdata.split(options.images, photos.validation_names())
    _make_folder(folder)
    print(
        f"{weights.name}: {len(for_training)} pictures to learn from, {len(for_validation)} to validate on", flush=True
    )

    seconds = options.time_budget
    chances = {"seed": recipe.seed, "adaptive": recipe.adaptive}
    made = {"images": Path(options.images).resolve().name} | chances
    codes = bitdata.load_codes(folder, weights, made) if options.resume else []
    if not codes:
        making = bitdata.collect(weights.model, for_training, seconds=bittraining.COLLECTING * seconds, **chances)
        codes = list(_bar(making, None, "crop"))
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
            record = bittraining.record(trainer, Path(options.images).resolve().name)
            learned = bitnet.Learned(bittraining.integers(trainer.averaged_net()), weights.fingerprint, record)
            bitnet.save(learned, target)
            print(f"\n{target}: {trainer.step_count:,} steps in {trainer.elapsed_s:,.0f} s", flush=True)
    codes = []
    for path in _bar(for_validation, len(for_validation), "picture"):
        with contextlib.suppress(images.PictureError):  # as among those that it learned from
            codes.append(bitdata.validation_codes(weights.model, path))
    if not codes:
        print("none of the validation photographs can be read, so nothing is measured")
        return
    print("bits per bit on validation photographs\n  i  counts  learned")
    both = (bittraining.bits_per_bit(each, codes) for each in (bitmodel.Counts(), learned))
    for i, (counts, best) in enumerate(zip(*both, strict=True), start=1):
        print(f"{i:3}  {counts:.4f}  {best:.4f}")


def evaluate(options):
    from rgru_lab import adaptive, codec, evaluate, measuring, model, opponents, reports, search

    against = options.against.split(",")
    against = list(opponents.CODECS) if "all" in against else against
    for name in against:
        opponents.check_codec(name)
    if options.files and not options.adaptive:
        raise UsageError("--files keeps adaptive files; add --adaptive")
    if options.files:
        _make_folder(Path(options.files), "--files")
    weights = model.load(options.model)
    codec.check_iterations(options.iterations)
    if options.search:
        search.check_steps(options.search)
    name, paths = _pictures(options.images)
    _make_folder(Path(options.output))
    measuring.check(paths)
    summary = evaluate.run(
        weights,
        name,
        paths,
        Path(options.output),
        iterations=options.iterations,
        slopes=adaptive.SHOWN if options.adaptive else (),
        search=options.search,
        files=options.files,
        against=against,
        jobs=options.jobs,
        fresh=options.fresh,
        progress=_each_picture,
    )
    print(reports.report(summary))


def bench(options):
    import tempfile

    from rgru_lab import bench, images, model
    from rgru_lab.viewer import latency

    output = Path(options.output)
    _make_folder(output)
    rows, weights = {}, model.load(options.model)
    what = "viewer" if options.viewer else "payload" if options.payload else "bench"
    with tempfile.TemporaryDirectory() as folder:
        if options.viewer:
            report = latency.report(weights, Path(folder))
        elif options.payload:
            report = latency.sizes(weights, _pictures(options.payload)[1], Path(folder))
        else:
            report = bench.report(weights, large=not options.small)
        for quantity, value in report:
            rows[quantity] = value
            said = f"{value:,}" if isinstance(value, (int, float)) else value
            print(f"{quantity:75} {said}", flush=True)
    path = output / f"{what}-{weights.name}.json"
    images.write_json(path, rows)
    print(path)


def ablation(options):
    import json

    from rgru_lab import ablation, measuring, model

    weights = model.load(options.model)
    name, paths = _pictures(options.images)
    folder = Path(options.output)
    measuring.check(paths)
    try:
        evaluation = json.loads((folder / f"{name}-{weights.name}.json").read_text(encoding="utf-8"))
        trained = json.loads((folder / "trials.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{error.filename} is not there; run evaluate and trials with the same --output first"
        ) from None
    rows = []
    for path in _bar(paths, len(paths), "picture"):
        rows += ablation.measure(weights, path, options.iterations)
    summary = ablation.summarise(weights, name, rows, evaluation, trained)
    for path in ablation.write(folder, summary):
        print(path)
    print("\n" + ablation.report(summary))


def effects(options):
    from rgru_lab import bitnet, effects, measuring, model, patches, photos

    folder, output = Path(options.weights), Path(options.output)
    _make_folder(folder)
    _make_folder(output)
    start = model.load(options.start_from)
    name, paths = _pictures(options.on)
    measuring.check(paths)
    found = patches.pictures_in(
        options.images, leave_out=photos.validation_names(), progress=lambda each: _bar(each, len(each), "picture")
    )
    data = Path(options.images).resolve().name
    steps = effects.train(start, bitnet.find(start), found.photos, folder, effects.IDEAS, data=data)
    for _ in _bar(steps, effects.STEPS * len(effects.IDEAS), "step"):
        pass
    measured = effects.measure(folder, paths, ideas=effects.IDEAS, jobs=options.jobs, progress=_each_picture)
    for path in effects.write(output, start.name, name, len(paths), measured):
        print(path)


def fuzz(options):
    from rgru_lab import bitnet, comparing, fuzz, images, model, photos

    weights = model.load(options.model)
    if options.output:
        _make_folder(Path(options.output).parent)
    found = bitnet.find(weights)
    good = fuzz.seeds([found] if found.coding == "learned" else [])
    outcomes, cut = {}, 0

    def write():
        if not options.output:
            return
        said = {
            "cuts": cut,
            **{name: outcome._asdict() for name, outcome in outcomes.items()},
            "seed": options.seed,
            "codings": [start.bit_model.coding if start.bit_model else "raw" for start in good],
            **comparing.provenance(),
        }
        images.write_json(options.output, said)

    for name, files, sealed in (("plain", options.files, False), ("sealed", options.files // 10, True)):
        outcomes[name] = fuzz.run(
            good, files, options.seed, sealed=sealed, progress=lambda r, n=files: _bar(r, n, "file")
        )
        write()
    print("\n".join(fuzz.report(outcomes)), flush=True)
    if options.kodak:
        for path in _bar(photos.kodak(), 24, "picture"):
            cut += fuzz.cuts(fuzz.coded(weights, found, images.load(path)))
            write()
        print(f"cuts: {cut:,} of the Kodak photographs' files, all right")
    if options.output:
        print(options.output)


def release(options):
    from rgru_lab import model, photos, release

    if options.notebooks is not None:
        for path in release.notebooks(options.notebooks):
            print(path)
        return
    release.check_speeds(release.shipped()[0])
    paths = photos.kodak()
    summaries = [release.results(model.load(name), paths, options.jobs, _each_picture) for name in release.shipped()]
    release.ablate(model.load(), paths, summaries[0], _each_picture)
    release.curves(summaries)
    release.four_rates(model.load())
    release.claim(model.load(release.BEST))
    release.readme(summaries)
    for path in release.notebooks():
        print(path)


def fork(options):
    from rgru_lab.lessons import repository

    for path in repository.move(options.repository, options.tag):
        print(path)


def student(options):
    from rgru_lab.lessons import student

    _make_folder(Path(options.folder))
    for path in student.write(Path(options.folder)):
        print(path)


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


def _pictures(images: str) -> tuple[str, list[Path]]:
    """A set's name and its pictures: the word kodak, or a folder."""
    from rgru_lab import photos
    from rgru_lab.images import paths_in

    if images == "kodak":
        return "kodak", photos.kodak()
    if not Path(images).is_dir() or not (paths := paths_in(images, below=False)):
        raise UsageError(f"{images} is no folder with pictures; give one, or the word kodak")
    name = Path(images).resolve().name
    return "kodak-folder" if name == "kodak" else name, paths  # what is written of kodak is of the download


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


def _watch(trainer, folder: Path, reading, part_bytes: int | None = None):
    from rgru_lab import training

    said = time.monotonic()
    with _bar(None, 100, "percent", disable=True if trainer.rank else None) as bar:
        bar.bar_format = "{percentage:3.0f}% |{bar}| {postfix}"
        for record in training.run(trainer, folder, part_bytes=part_bytes):
            start = f"step {record.step:,}, {record.elapsed_s:,.0f} s, rate {record.learning_rate:.1e}, "
            text = start + reading(record)
            bar.n = 100 * record.progress
            bar.set_postfix_str(text)
            if bar.disable and trainer.rank == 0 and time.monotonic() - said > 60:  # no terminal: a line a minute
                said = time.monotonic()
                print(f"{record.progress:4.0%} {text}", flush=True)


def _residuals(record) -> str:
    said = "|R[i]| " + " ".join(f"{255 * residual:.1f}" for residual in record.residuals)
    needed = " ".join(f"{bits:.3f}" for bits in record.bits_per_bit)
    return f"{said}, bits per bit {needed}" if needed else said


def _bit_model(weights, options):
    """What `--coding` asks for, or the best there is."""
    from rgru_lab import bitmodel, bitnet

    if options.coding in ("counts", "raw"):
        return bitmodel.Counts() if options.coding == "counts" else None
    found = bitnet.find(weights)
    if options.coding == "learned" and found.coding != "learned":
        raise UsageError(f"{weights.name} has no learned model of its bits; run train-bits, or leave out --coding")
    return found


def _bytes_of(name: str):
    """What to read, and what to call it: a path as it is, or all of the standard input."""
    if not name:
        raise UsageError("the input's name is empty; give a file, or - for the standard input")
    if name != "-":
        return name, None
    if sys.stdin is None:
        raise UsageError("the standard input is closed; name a file instead of -")
    return sys.stdin.buffer.read(), "standard input"


def _write(name: str, data: bytes):
    from rgru_lab import images

    if name == "-":
        if sys.stdout is None:
            raise UsageError("the standard output is closed; name a file instead of -")
        sys.stdout.buffer.write(data)
    else:
        images.write_atomically(name, data)


def _messages(output: str):
    return sys.stderr if output == "-" else sys.stdout


def _check_output(path, suffix: str, source, force: bool):
    """Refuse, before any work is done, a name that the result cannot or should not have; - is the standard output."""
    if path == "-":
        return
    path = Path(path)
    if path.suffix.lower() != suffix:
        raise UsageError(f"the output is called {str(path)!r}; give it a name that ends in {suffix}")
    try:
        there, a_file = os.path.lexists(path), path.is_file()
        the_input = there and os.path.exists(source) and os.path.samefile(path, source)
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(path)[:60]!r} cannot be a file's name ({error}); choose another") from None
    if there and not a_file:
        raise UsageError(f"{path} is there and is not a file; choose another name")
    if the_input:
        raise UsageError(f"{path} is the input; choose another name for the output")
    if there and not force:
        raise UsageError(f"{path} is there already; add --force to overwrite it, or choose another name")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent}; make it first")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"the folder {path.parent} cannot be written to; choose another")


def _make_folder(folder: Path, option: str = "--output"):
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot make the folder {folder} ({error.strerror}); choose another {option}") from None
    if not os.access(folder, os.W_OK):
        raise UsageError(f"the folder {folder} cannot be written to; choose another {option}")


def _each_picture(rows, total: int, what: str):
    """A progress bar over the pictures, under the name of what is measured."""
    print(what, flush=True)
    return _bar(rows, total, "picture")


def _bar(items, total: int, unit: str, disable: bool | None = None):
    from tqdm import tqdm

    return tqdm(items, total=total, unit=unit, leave=False, disable=disable)


def _say(line: str):
    from tqdm import tqdm

    tqdm.write(line)


def _size_of(decoded, with_ms_ssim: bool = False) -> str:
    said = f"{decoded.size_bytes:,} bytes, {decoded.bpp:.3f} bits per pixel, PSNR {decoded.psnr_db:.2f} dB"
    return f"{said}, MS-SSIM {decoded.ms_ssim:.4f}" if with_ms_ssim else said


def _reachable(decoded) -> str:
    """The MS-SSIM, rounded down: whoever asks for that gets it."""
    return f"{math.floor(1e4 * decoded.ms_ssim) / 1e4:.4f}"


def _limit(options) -> str:
    """The option that says how large a file may be, as it was given."""
    return f"--bytes {options.bytes}" if options.bytes else f"--bpp {options.bpp:g}"


def _iterations(count: int) -> str:
    return f"{count} iteration{'' if count == 1 else 's'}"


def _at_least(decoded) -> str:
    """The size of a file, rounded up, so that as much allows it."""
    return f"{decoded.size_bytes:,} bytes, {math.ceil(1000 * decoded.bpp) / 1000:.3f} bits per pixel"


def _left_over(file) -> str:
    whole = file.iterations
    return (
        f"{file.left_over_bytes:,} bytes after iteration {whole} are no whole iteration: the file was cut, or "
        "something was added to it"
    )


def _reading(decoded) -> str:
    quality = "      -" if decoded.ms_ssim is None else f"{decoded.ms_ssim:7.4f}"
    return f"{decoded.size_bytes:9,} {decoded.bpp:6.3f}  {decoded.psnr_db:7.2f}  {quality}"


def _rival(rival, ladder) -> str:
    if rival is None:
        return f"cannot: its smallest has {ladder.smallest.size_bytes:,}".ljust(32)
    quality = "      -" if rival.ms_ssim is None else f"{rival.ms_ssim:7.4f}"
    return f"{rival.quality:3} {rival.size_bytes:9,}  {rival.psnr_db:7.2f}  {quality}"
