"""The way to the rest pose, at bounded speed."""

from __future__ import annotations

from typing import Mapping

import numpy as np

from serl_robot.lerobot.body import Body, RobotFault
from serl_robot.lerobot.layout import Layout
from serl_robot.lerobot.settings import LeRobotSettings

TICK_SECONDS = 0.04
"""Seconds between two commands on the way."""
STILL = 0.5
"""Greatest motion of a joint in this time at which it stands still."""


class Rest:
    """The rest pose of a robot, and the way to it.

    Args:
        body: the robot; joints without a rest keep the place that they have now.
        layout: its joints.
        settings: settings of the robot.
    """

    def __init__(self, body: Body, layout: Layout, settings: LeRobotSettings) -> None:
        self._body, self._layout, self._settings = body, layout, settings
        self._pose = self._posed(self._measured(), settings.rest)

    def reach(self, rng: np.random.Generator) -> np.ndarray:
        """Brings the robot to its rest pose; returns the targets (P,) that were sent last.

        Raises:
            RobotFault: a joint does not get there.
            Stopped: the robot was stopped on the way.
        """
        noise = self._posed(np.zeros(len(self._pose)), self._settings.rest_noise)
        pose = np.clip(self._pose + rng.uniform(-noise, noise), self._layout.low, self._layout.high)
        targets = self._measured()
        for via in self._settings.rest_via:
            targets = self._go(targets, self._posed(pose, via))
        return self._go(targets, pose)

    def _go(self, targets: np.ndarray, pose: np.ndarray) -> np.ndarray:
        """Goes along a straight line; a blocked arm pushes no harder than its leads."""
        stride, seen = self._settings.rest_speed * TICK_SECONDS, self._measured()
        ticks = np.abs(pose - seen).max() / stride + self._settings.rest_seconds / TICK_SECONDS
        lead = np.maximum(self._layout.lead, self._settings.rest_tolerance)
        for _ in range(int(ticks) + 1):
            way = pose - targets
            targets = targets + way * min(1.0, stride / max(np.abs(way).max(), stride))
            self._body.send(self._by_name(np.clip(targets, seen - lead, seen + lead)))
            self._body.wait(TICK_SECONDS)
            self._body.observe()
            before, seen = seen, self._measured()
            is_there = np.abs(pose - seen).max() <= self._settings.rest_tolerance
            if is_there and np.allclose(targets, pose) and np.abs(seen - before).max() <= STILL:
                return targets
        distances = np.abs(pose - seen)
        worst = int(distances.argmax())
        if distances[worst] <= self._settings.rest_tolerance:
            return targets
        raise RobotFault(
            f"The joint {self._layout.names[worst]} is {distances[worst]:.1f} from its rest place, {pose[worst]:g} "
            f"(rest_tolerance is {self._settings.rest_tolerance:g}): is something in its way, or a motor without power?"
        )

    def _posed(self, pose: np.ndarray, places: Mapping[str, float]) -> np.ndarray:
        posed = pose.copy()
        for name, place in places.items():
            posed[self._layout.names.index(name)] = place
        return posed

    def _measured(self) -> np.ndarray:
        places = self._body.places()
        return np.array([places[name] for name in self._layout.names])

    def _by_name(self, targets: np.ndarray) -> dict[str, float]:
        return dict(zip(self._layout.names, targets.tolist()))
