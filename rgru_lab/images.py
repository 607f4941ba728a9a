"""The only place where uint8 meets float: read a picture, check it, pad it to the code grid, round it back.

A *photo* is a numpy array (H, W, 3), uint8, RGB as the file has it: colour profiles are not applied. Inside the codec
pictures are tensors (1, 3, H, W), float32 in [0, 1].
"""

import io
import os
import warnings
from pathlib import Path

import numpy as np

from rgru_lab.config import GRID, MAX_PIXELS, MAX_SIDE, MIDPOINT, InputError
from rgru_lab.files import read_bytes, write_atomically

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")


class PictureError(InputError):
    """A picture that cannot be used; the message names it and says what to do."""


def load(source: str | os.PathLike | bytes, name: str | None = None) -> np.ndarray:
    """Read any picture that Pillow knows as a photo.

    Grey and palette pictures become RGB, transparent ones are laid on white, 16 bits become 8, and a camera's
    EXIF rotation is applied. Of an animation the first frame is taken.

    Args:
        source: a path, or the bytes of a file.
        name: what to call it in messages; the path if left out.

    Returns:
        (H, W, 3) uint8.

    Raises:
        PictureError: there is no such file, it is empty, no picture, cut short, or over `MAX_PIXELS`.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    name = name or ("the picture" if isinstance(source, bytes) else str(source))
    data = source if isinstance(source, bytes) else _read(Path(source), name)
    if not data:
        raise PictureError(f"{name} is empty (0 bytes); copy or download the picture again")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as picture:
            check_size(picture.height, picture.width, name)  # before a pixel is decoded
            if picture.tile and picture.tile[0][3] == "RGB;16B" and "transparency" in picture.info:
                picture.info["transparency"] = tuple(level >> 8 for level in picture.info["transparency"])
            picture.load()  # which keeps the high bytes only, and so has the transparent colour to be
            return _rgb(ImageOps.exif_transpose(picture), name)
    except PictureError:
        raise
    except Image.DecompressionBombError:
        raise PictureError(f"{name} is far over {MAX_PIXELS / 1e6:.0f} megapixels; scale it down first") from None
    except UnidentifiedImageError:
        raise PictureError(
            f"{name} is not a picture that Pillow can read; give a PNG, JPEG, WebP or TIFF (not HEIC)"
        ) from None
    except Exception as error:  # damaged files raise OSError, SyntaxError, struct.error, ValueError and others
        raise PictureError(f"{name} is damaged or cut short ({error}); copy or download it again") from None


def check_photo(photo: np.ndarray) -> np.ndarray:
    """The photo itself if it is (H, W, 3) uint8 and small enough, else a `PictureError` that names what is wrong."""
    if not isinstance(photo, np.ndarray):
        raise PictureError(
            f"a photo is a numpy array, not {type(photo).__name__}; read files with rgru_lab.images.load"
        )
    if photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise PictureError(f"a photo has shape (H, W, 3), not {photo.shape}; repeat a grey picture three times")
    if photo.dtype != np.uint8:
        problem = " and holds NaN" if photo.dtype.kind == "f" and np.isnan(photo).any() else ""
        raise PictureError(
            f"a photo is uint8, 0 to 255; this one is {photo.dtype}{problem}; scale, round and convert it"
        )
    check_size(photo.shape[0], photo.shape[1], "the photo")
    return photo


def check_size(height: int, width: int, name: str):
    """Raise `PictureError` if a picture of this size is over the kit's limits."""
    if height < 1 or width < 1 or height > MAX_SIDE or width > MAX_SIDE or height * width > MAX_PIXELS:
        raise PictureError(
            f"{name} is {width} x {height} px; the limit is {MAX_PIXELS / 1e6:.0f} megapixels and {MAX_SIDE} px per "
            "side; scale it down first"
        )


def to_tensor(photo: np.ndarray):
    """(H, W, 3) uint8 to (1, 3, H, W) float32 in [0, 1]."""
    import torch

    return torch.from_numpy(check_photo(photo).copy()).permute(2, 0, 1)[None].float() / 255


def to_photo(x) -> np.ndarray:
    """(1, 3, H, W) float in [0, 1] to (H, W, 3) uint8, rounded to the nearest level.

    Raises:
        PictureError: the tensor has another shape, or a value outside [0, 1] (NaN included).
    """
    if x.ndim != 4 or x.shape[:2] != (1, 3):
        raise PictureError(f"a picture tensor has shape (1, 3, H, W), not {tuple(x.shape)}")
    if not bool(((x >= 0) & (x <= 1)).all()):
        raise PictureError(f"picture values run from {x.min():.3f} to {x.max():.3f}; clamp them to [0, 1] first")
    return (x[0].permute(1, 2, 0) * 255).round().byte().cpu().numpy()


def grid_size(height: int, width: int) -> tuple[int, int]:
    """(h, w): code positions that cover height x width pixels."""
    return -(-height // GRID), -(-width // GRID)


def pad_to_grid(x):
    """(B, 3, H, W) with sides extended to multiples of 16 by repeating the last row and column; undone by `crop`."""
    from torch.nn import functional as F

    height, width = x.shape[2:]
    h, w = grid_size(height, width)
    return F.pad(x, (0, w * GRID - width, 0, h * GRID - height), mode="replicate")


def centred(photo: np.ndarray):
    """A photo as the networks see it: (H, W, 3) uint8 to I, (1, 3, 16 h, 16 w) float32 in [-0.5, 0.5]."""
    return pad_to_grid(to_tensor(photo)) - MIDPOINT


def crop(x, height: int, width: int):
    """The top left height x width pixels of (B, 3, H, W)."""
    return x[:, :, :height, :width]


def shrink(photo: np.ndarray, max_pixels: int) -> np.ndarray:
    """The photo itself if it has at most `max_pixels`, else scaled down to that (Lanczos)."""
    from PIL import Image

    height, width = check_photo(photo).shape[:2]
    if height * width <= max_pixels:
        return photo
    scale = (max_pixels / (height * width)) ** 0.5
    size = (max(1, int(width * scale)), max(1, int(height * scale)))
    return np.asarray(Image.fromarray(photo).resize(size, Image.Resampling.LANCZOS)).copy()


def save_png(photo: np.ndarray, path: str | os.PathLike):
    """Write a photo as PNG; atomic: the path holds all of it, or what it held before."""
    write_atomically(path, encode_png(photo))


def encode_png(photo: np.ndarray) -> bytes:
    """A photo as the bytes of a PNG file, lossless; quick rather than small."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(check_photo(photo)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def paths_in(folder: str | os.PathLike, *, below: bool = True) -> list[Path]:
    """Paths of the pictures in a folder, by the endings of their names, in order; `below`: in its sub-folders, too.

    Raises:
        PictureError: there is no such folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise PictureError(f"there is no folder {folder}; give one with pictures")
    paths = (path for path in folder.glob("**/*" if below else "*") if path.suffix.lower() in SUFFIXES)
    return sorted(path for path in paths if path.is_file())


def _read(path: Path, name: str) -> bytes:
    try:
        return read_bytes(path)
    except FileNotFoundError:
        raise PictureError(f"there is no file {name}; check the path") from None
    except IsADirectoryError:
        raise PictureError(f"{name} is a folder; give one picture") from None
    except (OSError, ValueError) as error:
        raise PictureError(f"cannot read {name!r} ({error}); check the path") from None


def _rgb(picture, name: str) -> np.ndarray:
    from PIL import Image

    if picture.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip it at 255
        if np.asarray(picture).max() > 65_535 or np.asarray(picture).min() < 0:
            raise PictureError(f"{name} has 32-bit levels; save it with 8 or 16 bits per channel")
        grey = np.clip(np.rint(np.asarray(picture) / 257), 0, 255).astype(np.uint8)
        if isinstance(transparent := picture.info.get("transparency"), int):
            grey[np.asarray(picture) == transparent] = 255
        return np.repeat(grey[:, :, None], 3, axis=2)
    if picture.mode == "F":
        raise PictureError(f"{name} has floating-point levels; save it with 8 or 16 bits per channel")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return np.asarray(picture.convert("RGB")).copy()
