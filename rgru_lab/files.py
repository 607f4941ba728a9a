"""How the kit writes to disk: the whole file, or nothing."""

import contextlib
import json
import os
import secrets
from pathlib import Path

from rgru_lab.config import InputError


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
