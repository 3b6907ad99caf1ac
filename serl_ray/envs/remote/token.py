"""The token by which robots show that they belong to a run."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from serl_ray.utils.errors import SetupError

TOKEN_VARIABLE = "SERL_ROBOT_TOKEN"
"""Environment variable with the token."""
TOKEN_FILE = "~/.serl/robot_token"
"""File with the token, where the variable is not set."""
LEAST_LENGTH = 16
"""Least number of characters, against guessing."""


def robot_token() -> str:
    """The token of this computer: that of the environment variable, else that of the file, which is made at first.

    Raises:
        SetupError: the token is short, or has characters that a header cannot carry.
    """
    if TOKEN_VARIABLE in os.environ:
        token, place = os.environ[TOKEN_VARIABLE].strip(), TOKEN_VARIABLE
    else:
        token, place = _in_file(Path(TOKEN_FILE).expanduser()), TOKEN_FILE
    if len(token) < LEAST_LENGTH or not (token.isascii() and token.isprintable()) or " " in token:
        raise SetupError(
            f"The robots' token in {place} has {len(token)} characters: it needs at least {LEAST_LENGTH}, printable "
            f"ASCII without spaces. Remove it, so that {TOKEN_FILE} is made anew, or make one: `openssl rand -hex 32`."
        )
    return token


def _in_file(path: Path) -> str:
    """The token in a file, which nobody else may read if it is made now."""
    if not path.exists():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=".robot_token") as made:  # of mode 0600
            made.write(secrets.token_hex(32))
            made.flush()
            with suppress(FileExistsError):  # another worker was faster, whose token counts
                os.link(made.name, path)
    return path.read_text(encoding="utf-8").strip()
