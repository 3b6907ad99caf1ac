"""An intervention under way."""

from __future__ import annotations

from dataclasses import dataclass

from serl_ray.teleop.events import Command

COMMAND_SECONDS = 0.25
"""Greatest age of a command that moves the robot."""
FRAME_SECONDS = 0.5
"""Greatest time for which a displayed frame may have been outdated when it is acted on."""


@dataclass
class Intervention:
    """The hold of a person on the robot, from a takeover to its end.

    Attributes:
        number: number in the episode, from 1.
        command: newest command of the person.
        received: when it came.
        sighted: when the newest command came that was about a frame not yet outdated.
        began: when the takeover came.
        fault: the reason for which no action could be made of a twist, as it was told last.
    """

    number: int
    command: Command
    received: float
    sighted: float
    began: float
    fault: str = ""

    def is_old(self, outdated: float, now: float) -> bool:
        """True if the newest command may move the robot no more: it is old, or about a frame outdated for too long."""
        return now - self.received > COMMAND_SECONDS or outdated > FRAME_SECONDS
