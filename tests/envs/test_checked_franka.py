"""The checks of a robot on a Franka arm: the fake server's, with a scripted expert."""

from __future__ import annotations

import json

import numpy as np
import pytest
from franka_envs import ReachingFranka
from franka_server import served, write_settings

from serl_ray.benchmarks.franka_arm import RESET_POSE, arm_settings
from serl_ray.cli.main import main
from serl_ray.data.demos import write_demos
from serl_ray.data.reference import DemoReference
from serl_ray.envs.border import Border
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.franka.settings import read_settings
from serl_ray.envs.guard import Guard
from serl_ray.envs.recording import record_successes
from serl_ray.envs.robot_checks.inspection import robot_checks
from serl_ray.envs.robot_checks.trials import Prober, phases
from serl_ray.envs.robot_checks.workspace import workspace_checks
from serl_ray.types import ActionLayout

MODE = "single-arm-fixed-gripper"
LAYOUT = ActionLayout.from_setup(MODE, 6)
TARGET = [RESET_POSE[0] + 0.08, RESET_POSE[1] + 0.06, RESET_POSE[2] - 0.05, *RESET_POSE[3:]]
OWN = {"target_pose": TARGET, "target_tolerance": [0.015] * 3 + [0.5] * 3, "random_xy": 0.02}


@pytest.fixture(scope="module")
def address():
    with served() as (_, url):
        yield url


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("franka")


def settings(folder, address, name="franka.yaml", **changes):
    return write_settings(folder / name, [arm_settings(address, **OWN | changes)], frame="base", fixed_gripper="leave")


@pytest.fixture(scope="module")
def segments(folder, address):
    env = Guard(ReachingFranka(settings(folder, address)), None, None)
    found = list(record_successes(env, ScriptedExpert(env, LAYOUT, 0.2, 0).act, 8, 0))
    env.close()
    return found


def wrong(path, segments):
    reference = DemoReference.of_segments(segments)
    env = Guard(Border(ReachingFranka(path)), None, None)
    prober = Prober(env)
    for phase in phases(LAYOUT, reference):
        prober.run(phase)
    env.close()
    return {check.title: check.text for check in robot_checks(prober, LAYOUT, reference) if check.verdict == "wrong"}


def test_a_sound_arm_gets_no_word(folder, address, segments):
    assert wrong(settings(folder, address), segments) == {}


def test_another_scale_is_named(folder, address, segments):
    found = wrong(settings(folder, address, "small.yaml", translation_scale=0.008), segments)
    assert list(found) == ["Scale of actions"] and "went 0.4" in found["Scale of actions"]


def test_another_reset_pose_is_named(folder, address, segments):
    pose = [RESET_POSE[0], RESET_POSE[1] - 0.1, *RESET_POSE[2:]]
    found = wrong(settings(folder, address, "beside.yaml", reset_pose=pose), segments)
    assert [title for title in found if title.startswith("Reset pose")] == ["Reset pose, state"]


def test_a_box_is_proposed_into_which_the_demonstrations_fit(folder, address, segments):
    reference = DemoReference.of_segments(segments)
    [check] = workspace_checks(read_settings(settings(folder, address)), reference)
    assert check.verdict == "note" and "times as wide as the demonstrations need" in check.text
    low, high = boxes(check.text)
    assert np.all(low < np.array(RESET_POSE)) and np.all(high > np.array(TARGET) - 0.02)
    [check] = workspace_checks(
        read_settings(settings(folder, address, "fit.yaml", box_low=low, box_high=high)), reference
    )
    assert check.verdict == "fine"
    high = [*high[:2], RESET_POSE[2] + 1e-3, *high[3:]]
    low = [*low[:2], RESET_POSE[2] - 1e-3, *low[3:]]
    [check] = workspace_checks(
        read_settings(settings(folder, address, "low.yaml", box_low=low, box_high=high)), reference
    )
    assert check.verdict == "wrong" and "leave the box of the settings" in check.text and "number 2" in check.text


def boxes(text):
    """The two limits in a proposal."""
    low, high = text.rstrip(".")[text.index("box_low") :].split(", box_high: ")
    return json.loads(low.removeprefix("box_low: ")), json.loads(high)


def test_an_arm_that_cannot_reset_ends_the_command_in_one_line(folder, segments, capsys):
    write_demos(folder / "demos.pkl", segments)
    with served() as (arm, url):
        path = settings(folder, url, "stuck.yaml")
        arm.is_stuck = True
        command = [
            "check-robot",
            "--env_name",
            "franka",
            "--setup_mode",
            MODE,
            "--env_kwargs",
            "settings",
            path,
            "--yes",
        ]
        assert main([*command, "--demo_paths", str(folder / "demos.pkl")]) == 2
        assert "check that its controller runs" in capsys.readouterr().err


def test_the_command_reports_on_the_box(folder, address, segments, capsys):
    write_demos(folder / "more.pkl", segments)
    command = [
        "check-robot",
        "--env_name",
        "franka",
        "--setup_mode",
        MODE,
        "--yes",
        "--demo_paths",
        str(folder / "more.pkl"),
    ]
    assert main([*command, "--env_kwargs", "settings", settings(folder, address, "command.yaml")]) == 0
    assert "note: Workspace of arm 0. The box is" in capsys.readouterr().out
