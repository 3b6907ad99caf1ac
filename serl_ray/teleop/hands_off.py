"""The session of an evaluation, in which nobody but the policy acts."""

from __future__ import annotations

from serl_ray.teleop.events import Command, Press, Pressed
from serl_ray.teleop.session import Session

HANDS_OFF = "an evaluation is played: hands off; you may stop"
OF_EVALUATIONS = (Press.STOP, Press.REQUEST, Press.RELEASE, Press.REARM, Press.READY)
"""The presses of an evaluation: a stop, what its re-arming needs, and the word that the scene is in order."""


class HandsOffSession(Session):
    """A session that refuses all but a stop, control for its re-arming, and the word that the scene is in order."""

    hands_off = True

    def pressed(self, pressed: Pressed, now: float) -> None:
        """A key was pressed."""
        if pressed.press in OF_EVALUATIONS:
            super().pressed(pressed, now)
        else:
            self.alive(pressed.client, now)
            self._refuse(pressed.press, HANDS_OFF)

    def _take_over(self, command: Command, now: float) -> None:
        self._refuse("clutch", HANDS_OFF)
