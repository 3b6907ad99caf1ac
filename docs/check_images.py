"""Takes the images of `serl check-robot`'s report: the bundled task with one fault each.

PYTHONPATH=tests python docs/check_images.py docs
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import robot_faults as faults

from serl_ray.data.observations import STATE
from serl_ray.data.reference import Course, DemoReference
from serl_ray.envs import build_env
from serl_ray.envs.border import Border
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.franka.settings import ArmSettings, FrankaSettings
from serl_ray.envs.guard import Guard
from serl_ray.envs.recording import record_successes
from serl_ray.envs.robot_checks.habits import rate_check, saturation_check
from serl_ray.envs.robot_checks.inspection import robot_checks
from serl_ray.envs.robot_checks.report import check_image
from serl_ray.envs.robot_checks.result import RobotCheck
from serl_ray.envs.robot_checks.trials import Prober, phases
from serl_ray.envs.robot_checks.workspace import workspace_checks
from serl_ray.types import ActionLayout

MODE = "single-arm-learned-gripper"
LAYOUT = ActionLayout.from_setup(MODE, 7)
IMAGES = {
    "colours": (faults.bgr, "Colours of camera image"),
    "crop": (faults.cropped, "View of camera image"),
    "slow": (faults.slow, "Images of camera image"),
    "view": (faults.dark, "View of camera image"),
    "frozen": (faults.frozen, "Images of camera image"),
    "late": (faults.late, "Images of camera image"),
    "motion": (faults.stuck, "Motion"),
    "rest": (faults.drifting, "Rest"),
    "scale": (faults.scaled, "Scale of actions"),
    "signs": (partial(faults.reversed_action, number=0), "Signs"),
    "gripper": (partial(faults.reversed_action, number=6), "Gripper of action[6]"),
    "start": (faults.elsewhere, "Reset pose, state"),
}
"""The name of each image, the fault, and the check that names it."""


def main(folder: Path) -> None:
    """Writes the images."""
    sound = Guard(build_env("tabletop", setup_mode=MODE, image_keys=("image",)), None, None)
    segments = list(record_successes(sound, ScriptedExpert(sound, LAYOUT, 0.2, 0).act, 8, 0))
    reference = DemoReference.of_segments(segments)
    shown = {name: _checked(fault, title, reference) for name, (fault, title) in IMAGES.items()}
    shown["uneven"] = _checked(_in_millimetres, "Scale of the state", None)
    shown["saturation"] = saturation_check(_saturated(reference), LAYOUT)
    shown["rate"] = rate_check([0.1, 0.1, 0.1, 0.1, 0.35] * 10, 10.0, None, True)
    [shown["workspace"]] = workspace_checks(*_wide_box())
    for name, check in shown.items():
        (folder / f"check_{name}.png").write_bytes(check_image(check, has_text=True))


def _checked(fault: Callable[..., Any], title: str, reference: DemoReference | None) -> RobotCheck:
    """The result with this title for the bundled task with a fault."""
    env = Guard(Border(fault(build_env("tabletop", setup_mode=MODE, image_keys=("image",)))), None, None)
    prober = Prober(env)
    for phase in phases(LAYOUT, reference):
        prober.run(phase)
    env.close()
    [check] = [check for check in robot_checks(prober, LAYOUT, reference) if check.title == title]
    return check


def _in_millimetres(env: gymnasium.Env) -> gymnasium.Env:
    """The env with the first number of its state in a unit a thousandth as large."""
    return faults.Felt(env, lambda state, _: np.concatenate([1000 * state[:1], state[1:]]))


def _saturated(reference: DemoReference) -> DemoReference:
    """Demonstrations whose arm always goes as fast as it can."""
    courses = [Course(np.sign(course.actions), course.vectors) for course in reference.courses]
    return DemoReference(courses, reference.starts, reference.images)


def _wide_box() -> tuple[FrankaSettings, DemoReference]:
    """Settings of a Franka with a wide box, and a demonstration that goes 10 cm forward and down in it."""
    pose = (0.5, 0.0, 0.3, np.pi, 0.0, 0.0)
    arm = ArmSettings(
        server="http://127.0.0.1:5000",
        translation_scale=0.02,
        rotation_scale=0.1,
        reset_pose=pose,
        box_low=(0.2, -0.4, 0.05, 2.6, -0.5, -0.8),
        box_high=(0.8, 0.4, 0.6, np.pi, 0.5, 0.8),
    )
    poses = pose + np.linspace(0.0, 1.0, 40)[:, None] * (0.1, 0.04, -0.1, 0.0, 0.0, 0.0)
    course = Course(np.zeros((39, 6)), {STATE: poses})
    settings = FrankaSettings(arms=(arm,), frame="base", proprio_keys=("tcp_pose",))
    return settings, DemoReference([course], {STATE: poses[:1]}, {})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
