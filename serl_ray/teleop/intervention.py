"""An intervention under way."""

from __future__ import annotations

from dataclasses import dataclass

from serl_ray.teleop.events import Command


@dataclass
class Intervention:
    """The hold of a person on the robot, from a takeover to its end.

    Attributes:
        number: number in the episode, from 1.
        command: newest command of the person.
        received: when it came.
        sighted: when the newest command came that was about a frame not yet outdated.
        fault: the reason for which no action could be made of a twist, as it was told last.
    """

    number: int
    command: Command
    received: float
    sighted: float
    fault: str = ""
