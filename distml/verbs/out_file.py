"""A file that a command writes where the user says, with `--out`.

One decision: it is written beside its place and renamed into it, so there is never half of one.
"""

import secrets
from pathlib import Path

from distml.errors import UserError

__all__ = ["write_whole"]


def write_whole(path: Path, text: str) -> None:
    """Put a text into a file, in place of one that is there.

    Args:
        path: The file; its folder is there.
        text: The content, written as UTF-8.

    Raises:
        UserError: it cannot be written there.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror}); give another name with --out"
        ) from error
