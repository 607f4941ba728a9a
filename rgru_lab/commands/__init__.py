"""The commands of the command line, each with the words that people give it beside what it does.

    photographs    compress, decompress, info, compare
    trainings      train, average, trials
    bits           train-bits
    measurements   evaluate, ablation, effects, fuzz, bench
    upkeep         release, fork, student
    options        options that several have, and what the words after an option must look like
    common         what else they share

`words` of a room declares its commands, in the order of `--help`. A command takes the options that the parser made of
the words, prints what came of them, and raises an `InputError` where they cannot be carried out. Each imports what it
needs when it runs: `--help` need not wait for torch.
"""

from rgru_lab.commands import bits, measurements, photographs, trainings, upkeep

ROOMS = (photographs, trainings, bits, measurements, upkeep)
"""Those that have commands, in the order of `--help`."""
