"""How the kit reads files and writes them: the whole one, or nothing."""

import contextlib
import errno
import json
import os
import secrets
from pathlib import Path

from rgru_lab.config import InputError

READ_LIMIT_BYTES = 1_000_000_000
"""What is larger is neither a photograph nor one of the kit's files."""


def read_bytes(path: str | os.PathLike) -> bytes:
    """All of a file, or of a pipe.

    Raises:
        OSError: there is none, it cannot be read, is a device, or larger than `READ_LIMIT_BYTES`.
    """
    path = Path(path)
    if path.is_char_device() or path.is_block_device():
        raise OSError(errno.EINVAL, "it is a device, not a file")
    large = OSError(errno.EFBIG, f"it has more than {READ_LIMIT_BYTES / 1e6:,.0f} MB")
    if path.stat().st_size > READ_LIMIT_BYTES:
        raise large
    data = bytearray()
    with open(path, "rb") as file:
        while part := file.read(1 << 20):  # a pipe does not say how much is to come
            data += part
            if len(data) > READ_LIMIT_BYTES:
                raise large
    return bytes(data)


def read_json(path: str | os.PathLike, *keys: str):
    """What a JSON file of the kit's holds; with keys, an object that has these.

    Raises:
        InputError: it is damaged.
    """
    try:
        found = json.loads(Path(path).read_text(encoding="utf-8"))
        if keys and not (isinstance(found, dict) and found.keys() >= {*keys}):
            raise ValueError(f"it has no {', '.join(keys)}")
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}); delete it, and it is made anew") from None
    return found


def write_json(path: str | os.PathLike, value):
    """Write what JSON can hold, as `write_atomically` does; NaN and infinity are refused."""
    write_atomically(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())


def write_atomically(path: str | os.PathLike, data: bytes):
    """Write bytes so that the path never holds half of them: to a neighbour first, then renamed.

    Raises:
        InputError: nothing can be written there.
    """
    path = Path(path)
    if not path.name:
        raise InputError(f"cannot write {path}: it is a folder; add a file's name")
    whole = path.resolve()  # a link stays one
    temporary = whole.with_name(f".{secrets.token_hex(8)}.part")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, whole)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another place") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
