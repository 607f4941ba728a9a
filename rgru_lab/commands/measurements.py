"""What measures: evaluate, bench, ablation, fuzz."""

from pathlib import Path

from rgru_lab.commands.common import UsageError, bar, each_picture, make_folder, pictures


def evaluate(options):
    from rgru_lab import adaptive, codec, evaluate, measuring, model, opponents, reports, search

    against = options.against.split(",")
    against = list(opponents.CODECS) if "all" in against else against
    for name in against:
        opponents.check_codec(name)
    if options.files and not options.adaptive:
        raise UsageError("--files keeps adaptive files; add --adaptive")
    if options.files:
        make_folder(Path(options.files), "--files")
    weights = model.load(options.model)
    codec.check_iterations(options.iterations)
    if options.search:
        search.check_steps(options.search)
    name, paths = pictures(options.images)
    make_folder(Path(options.output))
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
        progress=each_picture,
    )
    print(reports.report(summary))


def bench(options):
    import tempfile

    from rgru_lab import bench, images, model
    from rgru_lab.viewer import latency

    output = Path(options.output)
    make_folder(output)
    rows, weights = {}, model.load(options.model)
    what = next((what for what in ("viewer", "payload", "precision") if getattr(options, what)), "bench")
    with tempfile.TemporaryDirectory() as folder:
        if options.viewer:
            report = latency.report(weights, Path(folder))
        elif options.payload:
            report = latency.sizes(weights, pictures(options.payload)[1], Path(folder))
        elif options.precision:
            report = bench.precision(weights, pictures(options.precision)[1])
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
    from rgru_lab import ablation, measuring, model

    weights = model.load(options.model)
    name, paths = pictures(options.images)
    folder = Path(options.output)
    measuring.check(paths)
    summary = ablation.run(
        weights,
        name,
        paths,
        folder,
        iterations=options.iterations,
        progress=lambda rows, total, _: bar(rows, total, "picture"),
    )
    print(*ablation.files(folder), sep="\n")
    print("\n" + ablation.report(summary))


def fuzz(options):
    from rgru_lab import bitnet, comparing, fuzz, images, model, photos

    weights = model.load(options.model)
    if options.output:
        make_folder(Path(options.output).parent)
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
            good, files, options.seed, sealed=sealed, progress=lambda r, n=files: bar(r, n, "file")
        )
        write()
    print("\n".join(fuzz.report(outcomes)), flush=True)
    if options.kodak:
        for path in bar(photos.kodak(), 24, "picture"):
            cut += fuzz.cuts(fuzz.coded(weights, found, images.load(path)))
            write()
        print(f"cuts: {cut:,} of the Kodak photographs' files, all right")
    if options.output:
        print(options.output)
