"""The address of a trainer, and the token that it asks for."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

PORT = 8765
"""Port of a trainer, where its address names none."""
PORTS = 16
"""Ports from the first one that a trainer's workers may have, one for each robot."""
ROBOT_PATH = "/robot"
TOKEN_VARIABLE = "SERL_ROBOT_TOKEN"
TOKEN_FILE = "~/.serl/robot_token"


class UnknownTrainer(ValueError):
    """An address or a token that cannot be right."""


def trainer_urls(url: str) -> list[str]:
    """The addresses to dial, in their order: that of each port from the given one.

    Args:
        url: address such as `ws://gpu-box:8765`.

    Raises:
        UnknownTrainer: it is no such address.
    """
    parts = urlsplit(url)
    try:
        port = parts.port or PORT
    except ValueError:
        port = 0
    if parts.scheme not in ("ws", "wss") or not parts.hostname or not 0 < port < 2**16 or parts.username:
        raise UnknownTrainer(f"The address is {url!r}; it must look like ws://HOST:{PORT} or wss://HOST:{PORT}.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    path = parts.path if parts.path not in ("", "/") else ROBOT_PATH
    ports = range(port, min(port + PORTS, 2**16))
    return [urlunsplit((parts.scheme, f"{host}:{each}", path, parts.query, "")) for each in ports]


def robot_token(token: str | None = None) -> str:
    """The token: the given one, else that of the environment variable, else that of the file.

    Raises:
        UnknownTrainer: there is none, or it cannot be sent.
    """
    file = Path(TOKEN_FILE).expanduser()
    if token is None:
        token = os.environ.get(TOKEN_VARIABLE)
    if token is None and file.exists():
        token = file.read_text(encoding="utf-8")
    if not token or not token.strip():
        raise UnknownTrainer(
            f"The trainer's token is missing. Copy {TOKEN_FILE} of the trainer's computer to {TOKEN_FILE} here, or "
            f"set {TOKEN_VARIABLE}."
        )
    token = token.strip()
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise UnknownTrainer("The trainer's token has characters other than printable ASCII; copy its file again.")
    return token
