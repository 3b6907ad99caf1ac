"""`serl check-robot`: whether a robot is what its demonstrations show, before its first episode."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from serl_ray.cli.parser import given_options
from serl_ray.options.groups import DemoOptions, PacedEnv
from serl_ray.utils.options import OptionError, Options, each_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serl_ray.data.reference import DemoReference
    from serl_ray.envs.robot_checks.result import RobotCheck
    from serl_ray.envs.robot_checks.trials import Phase, Prober


class CheckRobot(Options):
    """Move a robot a little, compare it with its demonstrations, and report what is wrong and how to fix it."""

    title: ClassVar[str] = "robot"

    env: PacedEnv = Field(default_factory=PacedEnv)
    image_keys: Annotated[tuple[str, ...] | None, AfterValidator(each_once)] = None
    """Cameras to check; by default all that your own env shows, and none of a bundled one."""
    demos: DemoOptions = Field(default_factory=DemoOptions)
    report: Path | None = None
    """Report with images and plots: an HTML file, or a folder for PNG files."""
    yes: bool = False
    """Move without asking, where there is no terminal. Keep a hand at the emergency stop."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.report and self.report.suffix not in ("", ".html"):
            raise ValueError(f"report is {self.report}; give a name that ends in .html, or a folder.")
        return self


def main(argv: Sequence[str]) -> int:
    """Moves the robot, prints the results and writes the report; returns 1 where something is wrong."""
    options = CheckRobot.of(**given_options("serl check-robot", argv, CheckRobot))
    if not options.yes and not sys.stdin.isatty():
        raise OptionError("The robot will move, and there is no terminal to ask: add --yes, with a hand at the stop.")

    from serl_ray.data.reference import read_reference
    from serl_ray.envs.robot_checks.report import summary_line, write_check_report

    demos = options.demos
    reference = read_reference(demos.demo_paths, skip_bad=demos.skip_bad) if demos.demo_paths else None
    checks = _checks(options, reference)
    print("\n".join(map(str, checks)))
    print(summary_line(checks))
    if options.report:
        write_check_report(options.report, f"Check of {options.env.env_name}", checks)
        print(f"The report is {options.report}.")
    return int(any(check.verdict == "wrong" for check in checks))


def _checks(options: CheckRobot, reference: DemoReference | None) -> list[RobotCheck]:
    """The results of all checks, after the motions."""
    from serl_ray.cli.recorded_env import recorded_env
    from serl_ray.envs.make import BUNDLED_ENVS, FRANKA
    from serl_ray.envs.robot_checks.inspection import robot_checks
    from serl_ray.envs.robot_checks.trials import Prober, held_at_end, phases
    from serl_ray.options.groups import RewardOptions
    from serl_ray.types import ActionLayout

    source = options.env
    keys = options.image_keys
    if keys is None and source.env_name in BUNDLED_ENVS:
        keys = ()
    env = recorded_env(source, RewardOptions(), keys)
    actions: Any = env.action_space
    layout = ActionLayout.from_setup(source.setup_mode, actions.shape[0])
    prober = Prober(env)
    try:
        if reference:
            _check_same_robot(reference, env.observation_space, layout.action_dim)
        with held_at_end(env):
            for phase in phases(layout, reference):
                if _may_go(options, phase, prober, reference):
                    prober.run(phase)
        is_paced = source.control_hz is not None or source.env_name == FRANKA
        checks = robot_checks(prober, layout, reference, source.control_hz, is_paced)
    finally:
        env.close()
    return [*checks, *_workspace(options, reference)]


def _check_same_robot(reference: DemoReference, spaces: Any, action_dim: int) -> None:
    """Raises OptionError, before anything moves, where demonstrations are of another robot."""
    shapes = {key: space.shape for key, space in spaces.items()}
    found = [f"their actions have {n} numbers, its {action_dim}" for n in reference.action_dims - {action_dim}]
    vectors = {key: rows.shape[1:] for key, rows in reference.starts.items()}
    for key in vectors.keys() & shapes.keys():
        if vectors[key] != shapes[key]:
            found.append(f"their `{key}` has {vectors[key][0]} numbers, its {shapes[key][0]}")
    if vectors and not vectors.keys() & shapes.keys():
        found.append(f"they have {', '.join(vectors)}, and it has {', '.join(shapes)}")
    if found:
        raise OptionError(
            f"demo_paths are demonstrations of another robot: {'; '.join(found)}. Name this robot's, or its set-up; "
            "nothing was moved."
        )


def _may_go(options: CheckRobot, phase: Phase, prober: Prober, reference: DemoReference | None) -> bool:
    """Says what the robot will do, and asks on a terminal; a demonstration is replayed from a start like its own
    alone."""
    from serl_ray.envs.robot_checks.habits import start_checks
    from serl_ray.envs.robot_checks.trials import REPLAY

    starts = start_checks(reference, prober.starts) if reference and phase.kind == REPLAY else ()
    if any(check.verdict == "wrong" for check in starts):
        print("No demonstration is replayed, because they start elsewhere.")
        return False
    seconds = f", {len(phase.actions) / options.env.control_hz:.0f} s" if options.env.control_hz else ""
    print(f"Next, {phase.words} ({len(phase.actions)} steps{seconds}).")
    if not options.yes:
        input("Press Enter to go on, or Ctrl-C to end: ")
    return True


def _workspace(options: CheckRobot, reference: DemoReference | None) -> Iterator[RobotCheck]:
    """The check of a Franka's box."""
    from serl_ray.envs.make import FRANKA

    if reference is None or options.env.env_name != FRANKA:
        return
    from serl_ray.envs.franka.settings import read_settings
    from serl_ray.envs.robot_checks.workspace import workspace_checks

    yield from workspace_checks(read_settings((options.env.env_kwargs or {})["settings"]), reference)
