"""Control of a robot, which one client holds at a time."""

from __future__ import annotations

from dataclasses import dataclass

from serl_ray.teleop.events import Client, ClientRole

LEASE_SECONDS = 3.0
"""Seconds after the last sign of life of its holder at which a lease ends."""


@dataclass
class Lease:
    """The lease of control of one robot.

    Every lease has a number of its own, its epoch: what was sent under another one is known by it, and dropped.

    Attributes:
        epoch: number of the newest lease; 0 before the first one.
        holder: who has it; None for nobody.
    """

    epoch: int = 0
    holder: Client | None = None
    _renewed: float = 0.0

    def request(self, client: Client, now: float) -> bool:
        """Gives the lease to a client where it is free, or to a device at the robot where another role has it."""
        self.expire(now)
        is_higher = (
            client.role is ClientRole.DEVICE and self.holder is not None and self.holder.role is not ClientRole.DEVICE
        )
        if client.role is ClientRole.VIEWER or not (self.holder is None or is_higher):
            return False
        self.epoch, self.holder, self._renewed = self.epoch + 1, client, now
        return True

    def is_held_by(self, client: Client, epoch: int, now: float) -> bool:
        """True if a client has the lease with this number."""
        self.expire(now)
        return client == self.holder and epoch == self.epoch

    def renew(self, client: Client, now: float) -> None:
        """A client has given a sign of life; where it has the lease, that goes on."""
        self.expire(now)
        if client == self.holder:
            self._renewed = now

    def release(self) -> None:
        """Ends the lease."""
        self.holder = None

    def expire(self, now: float) -> None:
        """Ends the lease where its holder has been silent for too long."""
        if self.holder is not None and now - self._renewed > LEASE_SECONDS:
            self.holder = None
