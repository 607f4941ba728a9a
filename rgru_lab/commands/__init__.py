"""What each command of the command line does; `__main__` has the words that people give it.

    photographs    compress, decompress, info, compare
    trainings      train, average, train-bits, trials, effects
    measurements   evaluate, bench, ablation, fuzz
    upkeep         release, fork, student
    common         what they share

A command takes the options that the parser made of those words, prints what came of them, and raises an `InputError`
where they cannot be carried out. Each imports what it needs when it runs: `--help` need not wait for torch.
"""

from rgru_lab.commands.measurements import ablation, bench, evaluate, fuzz
from rgru_lab.commands.photographs import compare, compress, decompress, info
from rgru_lab.commands.trainings import average, effects, train, train_bits, trials
from rgru_lab.commands.upkeep import fork, release, student

__all__ = [
    "ablation",
    "average",
    "bench",
    "compare",
    "compress",
    "decompress",
    "effects",
    "evaluate",
    "fork",
    "fuzz",
    "info",
    "release",
    "student",
    "train",
    "train_bits",
    "trials",
]
