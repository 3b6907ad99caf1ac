"""The description of a robot that its clients get."""

from __future__ import annotations

from typing import Any

import gymnasium

from serl_ray.teleop.numbers import success_threshold
from serl_ray.teleop.session import Session
from serl_ray.teleop.views import shown_cameras, side_of_cameras


def described_robot(env: gymnasium.Env, session: Session, control_hz: float | None) -> dict[str, Any]:
    """The robot in JSON, for clients: its action of `action_dim` numbers, its cameras and its rate in Hz."""
    layout, twist_map = session.layout, session.twist_map
    return {
        "action_dim": layout.action_dim,
        "grippers": list(layout.gripper_indices),
        "cameras": shown_cameras(env),
        "arms": twist_map.arms,
        "references": [reference.value for reference in twist_map.references],
        "converts": twist_map.converts,
        "control_hz": control_hz,
        "seen_from": side_of_cameras(env),
        "success_threshold": success_threshold(env),
        "hands_off": session.hands_off,
    }
