"""Takes the images of `serl check-robot`'s report: the bundled task with one fault each.

PYTHONPATH=tests python docs/check_images.py docs
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import robot_faults as faults

from serl_ray.data.reference import DemoReference
from serl_ray.envs import build_env
from serl_ray.envs.border import Border
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.guard import Guard
from serl_ray.envs.recording import record_successes
from serl_ray.envs.robot_checks.inspection import robot_checks
from serl_ray.envs.robot_checks.report import check_image
from serl_ray.envs.robot_checks.trials import Prober, phases
from serl_ray.types import ActionLayout

MODE = "single-arm-learned-gripper"
LAYOUT = ActionLayout.from_setup(MODE, 7)
IMAGES = {
    "colours": (faults.bgr, "Colours of camera image"),
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
    for name, (fault, title) in IMAGES.items():
        env = Guard(Border(fault(build_env("tabletop", setup_mode=MODE, image_keys=("image",)))), None, None)
        prober = Prober(env)
        for phase in phases(LAYOUT, reference):
            prober.run(phase)
        [check] = [check for check in robot_checks(prober, LAYOUT, reference) if check.title == title]
        (folder / f"check_{name}.png").write_bytes(check_image(check, has_text=True))
        env.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
