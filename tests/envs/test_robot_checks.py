"""What labs lose a day with is named before the first episode, and nothing else is."""

from __future__ import annotations

from collections import Counter
from functools import partial

import numpy as np
import pytest
import robot_faults as faults

from serl_ray.cli.main import main
from serl_ray.data.demos import write_demos
from serl_ray.data.reference import DemoReference
from serl_ray.data.scales import uneven_scales
from serl_ray.envs import build_env
from serl_ray.envs.border import Border
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.guard import Guard
from serl_ray.envs.recording import record_successes
from serl_ray.envs.robot_checks.habits import rate_check, saturation_check
from serl_ray.envs.robot_checks.inspection import robot_checks
from serl_ray.envs.robot_checks.trials import AMPLITUDES, Prober, held_at_end, phases
from serl_ray.types import SETUP_MODES, ActionLayout

MODE = "single-arm-learned-gripper"
LAYOUT = ActionLayout.from_setup(MODE, 7)
CAMERAS = {"single": ("image", "wrist"), "dual": ("image", "left_wrist", "right_wrist")}
WRIST = partial(faults.Seen, camera="wrist")
FAULTS = {
    "red and blue swapped": ("Colours of camera image", faults.bgr),
    "darker: set the exposure": ("View of camera image", faults.dark),
    "cropped in another way": ("View of camera image", faults.cropped),
    "same image to the last byte": ("Images of camera image", faults.frozen),
    "no new image in": ("Images of camera image", faults.slow),
    "is late: motion fits the change of the image best 3 step(s) later": ("Images of camera image", faults.late),
    "No number of the state changed": ("Motion", faults.stuck),
    "went 0.50 times their way": ("Scale of actions", faults.scaled),
    "another rate than the demonstrations": ("Scale of actions", faults.Twice),
    "sign of action[0]": ("Signs", partial(faults.reversed_action, number=0)),
    "sign of action[5]": ("Signs", partial(faults.reversed_action, number=5)),
    "the gripper's sign is reversed": ("Gripper of action[6]", partial(faults.reversed_action, number=6)),
    "zeros must keep the robot still": ("Rest", faults.drifting),
    "Reset to the pose of the demonstrations": ("Reset pose, state", faults.elsewhere),
}


def simulated(mode=MODE):
    return build_env("tabletop", setup_mode=mode, image_keys=CAMERAS[mode.split("-")[0]])


def demonstrations(mode=MODE, episodes=8):
    env = Guard(simulated(mode), None, None)
    expert = ScriptedExpert(env, ActionLayout.from_setup(mode, env.action_space.shape[0]), 0.2, 0)
    segments = list(record_successes(env, expert.act, episodes, 0))
    env.close()
    return segments


@pytest.fixture(scope="module")
def segments():
    return demonstrations()


@pytest.fixture(scope="module")
def reference(segments):
    return DemoReference.of_segments(segments)


def checked(env, layout, reference):
    """The results for an env."""
    prober = Prober(Guard(Border(env), None, None))
    for phase in phases(layout, reference):
        prober.run(phase)
    env.close()
    return robot_checks(prober, layout, reference)


def wrong(checks):
    return {check.title: check.text for check in checks if check.verdict == "wrong"}


@pytest.mark.slow
@pytest.mark.parametrize("mode", SETUP_MODES)
def test_a_sound_env_gets_no_word(mode):
    known = DemoReference.of_segments(demonstrations(mode))
    checks = checked(simulated(mode), ActionLayout.from_setup(mode, known.courses[0].actions.shape[1]), known)
    assert wrong(checks) == {}
    assert Counter(check.verdict for check in checks)["fine"] >= len(checks) - 1


@pytest.mark.slow
@pytest.mark.parametrize("sentence", FAULTS)
def test_a_fault_is_named_and_only_it(sentence, reference):
    title, fault = FAULTS[sentence]
    found = wrong(checked(fault(simulated()), LAYOUT, reference))
    assert list(found) == [title] and sentence in found[title]


def test_without_demonstrations_images_are_shown_and_the_rest_is_checked():
    checks = checked(faults.late(simulated()), LAYOUT, None)
    assert list(wrong(checks)) == ["Images of camera image"]
    asked = [check for check in checks if check.title.startswith("View")]
    assert [check.verdict for check in asked] == ["unknown"] * 2 and all(check.images for check in asked)


def test_motions_begin_with_rest_and_small_ones_and_come_back(reference):
    kinds = [phase.kind for phase in phases(LAYOUT, reference)]
    assert kinds[:3] == ["rest", *(f"{amplitude:g}" for amplitude in AMPLITUDES)] and AMPLITUDES == (0.2, 0.5)
    for phase in phases(LAYOUT, None)[:3]:
        arm = phase.actions[:, list(LAYOUT.continuous_indices)]
        assert np.abs(arm).max() <= AMPLITUDES[-1] and np.abs(arm.sum(axis=0)).max() < 1e-6
        assert (np.count_nonzero(arm, axis=1) <= 1).all()


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_the_robot_is_held_whatever_ends_the_check(error):
    calls = []

    class Holding(faults.Acted):
        @property
        def unwrapped(self):
            return self

        def hold(self):
            calls.append("hold")

    env = Holding(simulated(), lambda action: action)
    with pytest.raises(error), held_at_end(env):
        raise error
    assert calls == ["hold"]
    env.close()


def test_a_state_of_uneven_scale_is_named_with_the_flag_that_mends_it():
    low, high = np.array([0.0, -1.0, 0.0]), np.array([300.0, 1.0, 0.3])
    assert (
        "`state[2]` vary by 0.3 at most" in (said := uneven_scales("state", low, high)) and "--normalise_state" in said
    )
    assert uneven_scales("state", low, np.array([30.0, 1.0, 0.3])) is None
    assert uneven_scales("state", np.zeros(6), np.array([1.0, 1.0, 1.0, 1e-3, 9e-4, 5e-4]))
    jitter = np.array([3.0, 3.0, 2.4, 6e-4, 1e-4, 1.4, 1.0, 2.0])
    assert uneven_scales("state", np.zeros(8), jitter) is None


@pytest.mark.parametrize(
    ("seconds", "rate", "demo_rate", "is_paced", "said"),
    [
        ([0.1] * 50, 10.0, 10.0, True, None),
        ([0.1] * 45 + [0.3] * 5, 10.0, None, True, None),
        ([0.1] * 40 + [0.3] * 10, 10.0, None, True, "20% of the steps took more than 1.5 periods"),
        ([0.1] * 50, 10.0, 30.0, True, "--control_hz 30"),
        ([0.2] * 50, None, 10.0, True, "The demonstrations have 10 steps per second, and the env 5"),
        ([0.002] * 50, None, 10.0, False, None),
    ],
)
def test_a_rate_must_be_kept_and_be_the_demonstrations(seconds, rate, demo_rate, is_paced, said):
    check = rate_check(seconds, rate, demo_rate, is_paced)
    assert check.verdict == ("wrong" if said else "fine")
    assert said is None or said in check.text


def test_actions_that_are_always_at_their_limit_are_named(reference):
    assert saturation_check(reference, LAYOUT).verdict == "fine"
    for course in reference.courses:
        full = DemoReference([type(course)(np.sign(course.actions), course.vectors)], {}, {})
    check = saturation_check(full, LAYOUT)
    assert check.verdict == "wrong" and "at its limit in 100%" in check.text


@pytest.mark.slow
def test_the_command_reports_in_one_file_or_in_images(segments, tmp_path, capsys):
    write_demos(tmp_path / "demos.pkl", segments)
    command = ["check-robot", "--image_keys", "image", "wrist", "--demo_paths", str(tmp_path / "demos.pkl"), "--yes"]
    assert main([*command, "--report", str(tmp_path / "report.html")]) == 0
    printed = capsys.readouterr().out
    assert "Next, the robot rests: its actions are zeros (10 steps)." in printed and "wrong:" not in printed
    page = (tmp_path / "report.html").read_text()
    assert page.count("<section>") == page.count("</section>") >= 12 and "data:image/png;base64," in page
    assert main([*command, "--report", str(tmp_path / "report")]) == 0
    assert len(list((tmp_path / "report").glob("*.png"))) == page.count("<section>")


def test_nothing_moves_without_a_terminal_unless_it_may(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert main(["check-robot"]) == 2
    assert "add --yes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("mode", "kwargs", "said"),
    [
        ("dual-arm-learned-gripper", [], "their actions have 7 numbers, its 14"),
        ("single-arm-learned-gripper", ["--env_name", "line_envs:SplitEnv"], "numbers, its 4"),
    ],
)
def test_nothing_moves_by_demonstrations_of_another_robot(segments, tmp_path, monkeypatch, capsys, mode, kwargs, said):
    write_demos(tmp_path / "demos.pkl", segments)
    monkeypatch.setattr(Prober, "run", lambda self, phase: pytest.fail("it has moved"))
    command = ["check-robot", "--setup_mode", mode, *kwargs, "--yes", "--demo_paths", str(tmp_path / "demos.pkl")]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "demonstrations of another robot" in error and said in error and "nothing was moved" in error
