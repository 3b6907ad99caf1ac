"""Secrets of a hub: one for each role, none of which can be made from another."""

from __future__ import annotations

import hmac
import secrets

from serl_ray.teleop.events import ClientRole

ROBOT_ROLE = "robot"
"""The role of robots, which no client has."""
ROLES = (*ClientRole, ROBOT_ROLE)


def new_root() -> bytes:
    """A secret from which those of the roles are derived; it is sent to nobody."""
    return secrets.token_bytes(32)


class HubKeys:
    """The secrets of a hub.

    Args:
        root: secret that the others are derived from.
    """

    def __init__(self, root: bytes) -> None:
        self._secrets = {role: hmac.digest(root, role.encode(), "sha256").hex() for role in ROLES}

    def of(self, role: str) -> str:
        """The secret of a role."""
        return self._secrets[role]

    def fits(self, role: object, secret: object) -> bool:
        """True for the secret of this role, compared in constant time."""
        known = self._secrets.get(role) if isinstance(role, str) else None
        given = secret if isinstance(secret, str) and secret.isascii() else ""
        return hmac.compare_digest(known or "", given) and known is not None
