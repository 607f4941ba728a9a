"""Pictures to work on: four samples that come with scikit-image, and Kodak through a checksummed download."""

import csv
import os
from pathlib import Path

import numpy as np

from rgru_lab import images
from rgru_lab.config import DATA, InputError

CACHE_VARIABLE = "RGRU_LAB_CACHE"
KODAK_URL = "https://r0k.us/graphics/kodak/kodak/"

SAMPLES = {
    "chelsea": "Chelsea the cat, by Stéfan van der Walt, CC0",
    "coffee": "An espresso, by Rachel Michetti (Pikolo Espresso Bar), CC0",
    "astronaut": "Eileen Collins, NASA, public domain",
    "rocket": "A Falcon 9 launch, SpaceX, CC0",
}
"""Name of each sample photograph and whom to thank for it."""


class DownloadError(InputError):
    """Photographs that are not here and could not be fetched; the message says how to get them."""


def sample(name: str) -> np.ndarray:
    """A sample photo (H, W, 3) uint8; it is on disk already, no network is needed.

    Raises:
        InputError: there is no sample of this name.
    """
    from skimage import data

    if name not in SAMPLES:
        raise InputError(f"there is no sample {name!r}; choose one of {', '.join(SAMPLES)}")
    return images.check_photo(getattr(data, name)())


def kodak() -> list[Path]:
    """Paths of the 24 Kodak photographs, from the cache or downloaded (15 MB) and checked against their SHA-256.

    The cache is the system's own place for such files, or the folder named by RGRU_LAB_CACHE.

    Raises:
        DownloadError: a photograph is missing and cannot be fetched.
    """
    import pooch

    registry = {row["file"]: f"sha256:{row['sha256']}" for row in _rows(DATA / "kodak.csv")}
    folder = Path(os.environ.get(CACHE_VARIABLE) or pooch.os_cache("rgru_lab")) / "kodak"
    fetcher = pooch.create(folder, KODAK_URL, registry=registry, retry_if_failed=2)
    pooch.get_logger().setLevel("WARNING")
    try:
        return [Path(fetcher.fetch(name)) for name in registry]
    except Exception as error:  # requests' errors, timeouts, a wrong checksum
        raise DownloadError(
            f"the Kodak photographs cannot be fetched ({error.__class__.__name__}); go online once, or put kodim01.png "
            f"to kodim24.png from {KODAK_URL} into {folder}"
        ) from None


def validation_names() -> frozenset[str]:
    """File names of the forty photographs on which recipes are chosen and which no model is trained on."""
    lines = (DATA / "validation.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(line for line in lines if line and not line.startswith("#"))


def _rows(path: Path) -> list[dict]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
