"""Recording loses nothing that was recorded, whatever ends it, and goes on with --resume."""

from __future__ import annotations

import signal
import time
from threading import Event

import line_envs
import numpy as np
import pytest
from commands import start
from faulty_envs import FaultyEnv
from line_envs import LineEnv

from serl_ray.cli.main import main
from serl_ray.data.demos import find_files, read_file
from serl_ray.envs.expert import ScriptedExpert
from serl_ray.envs.guard import Guard
from serl_ray.envs.recording import MAX_FAULTS, Recorder
from serl_ray.types import ActionLayout

LAYOUT = ActionLayout.from_setup("single-arm-learned-gripper", 7)
FLAGS = ["record", "--env_name", "line_envs:LineEnv", "--image_keys"]


class ReusingEnv(LineEnv):
    """Fills the same arrays again and again, scales the action in place, and reports a person's action in one
    buffer."""

    def __init__(self) -> None:
        super().__init__(cameras=("image",))
        self._buffers = {"state": np.zeros(4, np.float32), "image": np.zeros((32, 32, 3), np.uint8)}
        self._person = np.zeros(7, np.float32)

    def _observe(self):
        for key, value in super()._observe().items():
            self._buffers[key][:] = value
        return self._buffers

    def step(self, action):
        self._person[:] = self.expert_action()
        observation, reward, terminated, truncated, info = super().step(self._person)
        action *= 0.0
        return observation, reward, terminated, truncated, info | {"intervene_action": self._person}


class BreakingEnv(LineEnv):
    """The camera is lost in every second episode."""

    episodes = 0

    def reset(self, **kwargs):
        type(self).episodes += 1
        return super().reset(**kwargs)

    def step(self, action):
        if self.episodes % 2 == 0 and self.steps == 1:
            raise ConnectionError("the camera is gone")
        return super().step(action)


def stored(path) -> list:
    return [segment for file in find_files(str(path)) for segment in read_file(file)]


def recorder(env, **options) -> Recorder:
    return Recorder(Guard(env, None, None), ScriptedExpert(env, LAYOUT).act, **options)


@pytest.mark.parametrize("name", ["demos.pkl", "demos"])
def test_a_recording_goes_on_until_there_are_as_many_as_wanted(tmp_path, name, capsys):
    target = tmp_path / name
    assert main([*FLAGS, "--episodes", "2", "--output", str(target)]) == 0
    first = stored(target)
    assert main([*FLAGS, "--episodes", "2", "--output", str(target)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main([*FLAGS, "--episodes", "5", "--output", str(target), "--resume"]) == 0
    both = stored(target)
    assert len(both) == 5 and [path.name for path in tmp_path.iterdir()] == [name]
    assert all(np.array_equal(a.actions, b.actions) for a, b in zip(first, both, strict=False))
    starts = {segment.observations["state"][0].tobytes() for segment in both}
    assert len(starts) == 5, "no episode was recorded twice"


REFUSED = {
    "another ending": (["--output", "demos.mp4"], "ends in '.mp4'"),
    "no place": (["--output", "/proc/demos.pkl"], "cannot be written"),
    "nothing to resume": (["--output", "new.pkl", "--resume"], "There is no recording at new.pkl to resume"),
    "an unknown camera": (["side", "--output", "new.pkl"], "names 'side'; the env's cameras are none"),
    "no target": ([], "Give either --output"),
    "two targets": (["--output", "a.pkl", "--classifier_data", "b"], "Give either --output"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_target_is_refused_before_the_first_reset(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LineEnv, "reset", lambda *args, **kwargs: pytest.fail("the env was reset"))
    flags, says = REFUSED[name]
    assert main([*FLAGS, *flags]) == 2
    assert says in capsys.readouterr().err


def test_a_robot_on_another_computer_has_no_expert_to_record_and_is_not_waited_for(tmp_path, capsys):
    assert main(["record", "--env_name", "remote", "--output", str(tmp_path / "demos.pkl")]) == 2
    assert "driver is expert, and the expert_action() of a robot on another computer" in capsys.readouterr().err


def test_another_env_does_not_go_on_with_a_recording(tmp_path, capsys):
    flags = ["--output", str(tmp_path / "demos"), "--episodes"]
    assert main([*FLAGS, *flags, "1"]) == 0
    assert main(["record", "--env_name", "line_envs:SplitEnv", "--image_keys", *flags, "2", "--resume"]) == 2
    assert "and this env has point" in capsys.readouterr().err


def test_what_an_env_spoils_is_one_episode(caplog):
    BreakingEnv.episodes = 0
    recording = recorder(BreakingEnv())
    assert len(list(recording.successes(3, seed=0))) == 3
    assert recording.dropped["spoiled by the env"] == 2 and "the camera is gone" in caplog.text


def test_an_env_that_always_fails_ends_the_recording():
    recording = recorder(FaultyEnv("error", every=1))
    with pytest.raises(RuntimeError, match=f"spoiled {MAX_FAULTS} consecutive episodes.*the robot does not answer"):
        list(recording.successes(3, seed=0))


def test_a_person_s_wrong_action_costs_its_episode_alone(caplog):
    recording = recorder(FaultyEnv("wrong_intervention", every=2))
    assert len(list(recording.successes(2, seed=0))) == 2 and recording.dropped["spoiled by the env"] >= 1


def test_a_person_who_is_never_heard_is_named_after_one_episode():
    env = LineEnv()
    with pytest.raises(ValueError, match=r"without info\['intervene_action'\]"):
        list(recorder(env, by_operator=True).successes(3, seed=0))


class DenseEnv(LineEnv):
    """Rewards are the distance to the goal, below 0; success is in `info` alone."""

    def step(self, action):
        observation, _, terminated, truncated, info = super().step(action)
        return observation, -float(np.abs(self.goal - self.point).max()), terminated, truncated, info


class SilentEnv(DenseEnv):
    """Reports no success."""

    def step(self, action):
        *result, _ = super().step(action)
        return *result, {}


def test_with_dense_rewards_the_env_says_which_episodes_are_kept(tmp_path, monkeypatch, caplog, capsys):
    monkeypatch.setattr(line_envs, "DenseEnv", DenseEnv, raising=False)
    flags = [
        "record",
        "--env_name",
        "line_envs:DenseEnv",
        "--image_keys",
        "--episodes",
        "2",
        "--output",
        str(tmp_path / "demos"),
    ]
    assert main([*flags, "--reward", "dense"]) == 0
    assert [segment.success for segment in stored(tmp_path / "demos")] == [True, True] and not caplog.text
    assert main([*flags[:-1], str(tmp_path / "others"), "--success_return", "-100"]) == 0
    with pytest.raises(RuntimeError, match=r"20 consecutive episodes have failed"):
        list(recorder(DenseEnv()).successes(1, seed=0))
    [said] = [record.message for record in caplog.records if "The env has given a reward of -" in record.message]
    assert "--reward dense is for rewards at every step" in said
    with pytest.raises(ValueError, match=r"does not report info\['success'\], which decides .*--success_return"):
        list(recorder(SilentEnv(), success_return=None).successes(1, seed=0))


def test_an_interrupt_drops_the_episode_under_way():
    interrupted, env = Event(), LineEnv()
    recording = recorder(env, interrupted=interrupted)
    for number, _ in enumerate(recording.successes(5, seed=0)):
        if number == 1:
            interrupted.set()
    assert number == 1


def test_arrays_that_an_env_uses_again_are_copied():
    env = ReusingEnv()
    recording = Recorder(Guard(env, None, None), lambda: np.ones(7, np.float32), by_operator=True)
    [segment] = recording.successes(1, seed=3)
    assert len({rows.tobytes() for rows in segment.observations["image"]}) == len(segment) + 1
    assert len({row.tobytes() for row in segment.actions}) > 1 and segment.intervened.all()
    moved = np.diff(segment.observations["state"][:, :2], axis=0) / 0.3
    np.testing.assert_allclose(segment.actions[:, :2], moved, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_process_that_is_ended_leaves_its_whole_episodes(python_path, signum, tmp_path):
    target = tmp_path / "demos.pkl"
    flags = [
        "record",
        "--env_name",
        "test_record_envs:SlowEnv",
        "--image_keys",
        "--episodes",
        "500",
        "--output",
        str(target),
    ]
    (tmp_path / "test_record_envs.py").write_text(
        "import time\nfrom line_envs import LineEnv\n"
        "class SlowEnv(LineEnv):\n    def step(self, action):\n        time.sleep(0.02)\n        return "
        "super().step(action)\n"
    )
    run = start(flags, tmp_path / "printed.txt", tmp_path)
    parts = tmp_path / "demos.pkl.recording"
    while run.returncode is None and len(list(parts.glob("*.parquet"))) < 3:
        time.sleep(0.05)
    run.send_signal(signum)
    run.wait()
    kept = stored(parts)
    assert len(kept) >= 3 and all(segment.dones[-1] for segment in kept)
    if signum != signal.SIGKILL:
        assert f"{len(kept)} of 500 episodes. Go on with the same command and --resume." in run.printed
        assert len(stored(target)) == len(kept)
    count = str(len(kept) + 2)
    flags[flags.index("500")] = count
    resumed = start([*flags, "--resume"], tmp_path / "printed.txt", tmp_path)
    assert resumed.wait() == 0 and f"{count} episodes" in resumed.printed
    assert len(stored(target)) == int(count) and not parts.exists()


class TwoCameras(LineEnv):
    """Has two cameras, none of them named as those of the bundled envs."""

    def __init__(self) -> None:
        super().__init__(cameras=("left", "right"))


@pytest.mark.parametrize(
    ("flags", "cameras"), [([], "left, right"), (["--image_keys", "right"], "right"), (["--image_keys"], "none")]
)
def test_the_cameras_of_an_own_env_are_those_that_are_recorded_and_named(tmp_path, capsys, monkeypatch, flags, cameras):
    monkeypatch.setattr("line_envs.TwoCameras", TwoCameras, raising=False)
    target = tmp_path / "demos"
    assert (
        main(["record", "--env_name", "line_envs:TwoCameras", *flags, "--episodes", "1", "--output", str(target)]) == 0
    )
    assert f"cameras {cameras}." in capsys.readouterr().out
    [segment] = stored(target)
    assert set(segment.observations) - {"state"} == set(cameras.split(", ")) - {"none"}
