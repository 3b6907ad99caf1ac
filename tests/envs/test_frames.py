"""What driving leaves behind."""

import gymnasium
import numpy as np
import pytest
from line_envs import BurningEnv, LineEnv

from serl_ray.data.episodes import EnvFault
from serl_ray.envs.expert import ScriptedExpert, StrayingExpert
from serl_ray.envs.guard import Guard
from serl_ray.envs.image_recording import labelled_images, record_frames
from serl_ray.envs.recording import record_successes
from serl_ray.files.pickles import load_pickle
from serl_ray.types import ActionLayout

LAYOUT = ActionLayout.from_setup("single-arm-learned-gripper", 7)


class Endless(gymnasium.Wrapper):
    """Tells success in info alone, and goes on after it."""

    def step(self, action):
        observation, reward, _, truncated, info = self.env.step(action)
        return observation, 0.0, False, truncated, info | {"success": bool(reward)}


def frames(folder, kind, name="e"):
    path = folder / kind / f"{name}.pkl"
    return load_pickle(path) if path.exists() else []


def test_with_dense_rewards_the_env_says_which_images_are_a_success():
    env = LineEnv()

    def step(action):
        observation, _, *others = LineEnv.step(env, action)
        return observation, 1.0, *others

    env.step = step
    expert = ScriptedExpert(env, LAYOUT).act
    images = [list(labelled_images(env, expert, 1, 0, success_return)) for success_return in (0.5, None)]
    assert [sum(is_success for _, is_success in found) for found in images] == [1, 1]
    assert len(images[0]) == 2 < len(images[1]), "a reward at every step is no success"


def test_an_episode_leaves_frames_of_both_kinds(tmp_path):
    env = Endless(LineEnv(cameras=("image",)))
    counts = record_frames(env, ScriptedExpert(env, LAYOUT).act, ("image",), tmp_path, "e", seed=1, linger=4)
    success, failure = frames(tmp_path, "success"), frames(tmp_path, "failure")
    assert counts == {"success": len(success), "failure": len(failure)} and len(success) == 5
    assert {item["labels"] for item in success} == {1} and {item["labels"] for item in failure} == {0}
    assert {item["episode"] for item in success + failure} == {"e"}
    steps = [int(item["observations"]["image"].max()) for item in failure + success]  # a frame shows its step
    assert steps == list(range(len(steps)))


class AfterTheEnd(LineEnv):
    """Does something of its own in the steps after the end of an episode.

    Args:
        then: `forget` reports success for one step alone, `reset` begins another episode, `refuse` raises.
    """

    def __init__(self, then):
        super().__init__(cameras=("image",))
        self.then, self.ended = then, False

    def reset(self, **kwargs):
        self.ended = False
        return super().reset(**kwargs)

    def step(self, action):
        if self.ended and self.then == "refuse":
            raise RuntimeError("the episode is over")
        if self.ended and self.then == "reset":
            self.reset()
        observation, reward, terminated, truncated, info = super().step(action)
        if self.ended and self.then == "forget":
            reward, terminated, info = 0.0, False, info | {"success": False}
        self.ended = self.ended or terminated
        return observation, reward, terminated, truncated, info


def test_an_env_that_ends_at_success_leaves_more_than_one_frame_of_it(tmp_path):
    env = LineEnv(cameras=("image",))
    counts = record_frames(env, ScriptedExpert(env, LAYOUT).act, ("image",), tmp_path, "e", seed=1, linger=4)
    assert counts["success"] == len(frames(tmp_path, "success")) == 5
    steps = [
        int(item["observations"]["image"].max()) for item in frames(tmp_path, "failure") + frames(tmp_path, "success")
    ]
    assert steps == list(range(len(steps)))


@pytest.mark.parametrize("then", ["forget", "reset", "refuse"])
def test_what_an_env_does_after_its_end_is_no_success(tmp_path, then):
    env = AfterTheEnd(then)
    counts = record_frames(Guard(env, None, None), ScriptedExpert(env, LAYOUT).act, ("image",), tmp_path, "e", seed=1)
    assert counts["success"] == 1
    failures = [int(item["observations"]["image"].max()) for item in frames(tmp_path, "failure")]
    assert failures == list(range(len(failures))), "no image of another episode"


def test_an_episode_ends_with_its_time_and_a_fault_within_it_is_raised(tmp_path):
    env = gymnasium.wrappers.TimeLimit(Endless(LineEnv(cameras=("image",))), 6)
    counts = record_frames(env, ScriptedExpert(env, LAYOUT).act, ("image",), tmp_path, "e", seed=1)
    assert sum(counts.values()) == 7
    with pytest.raises(EnvFault, match="caught fire"):
        record_frames(Guard(BurningEnv(), None, None), lambda: np.zeros(7, np.float32), (), tmp_path, "f", seed=1)


def test_an_episode_that_fails_leaves_failures_alone(tmp_path):
    env = LineEnv(cameras=("image",))
    counts = record_frames(env, lambda: np.zeros(7, np.float32), ("image",), tmp_path, "e", seed=1)
    assert counts == {"success": 0, "failure": 21} and not (tmp_path / "success").exists()


def test_an_expert_that_strays_fails_where_a_good_one_succeeds():
    def successes(share):
        env = LineEnv()
        expert = StrayingExpert(env, LAYOUT, seed=2, share=share, within=1)
        succeeded = 0
        for seed in range(20):
            expert.begin()
            env.reset(seed=seed)
            done = False
            while not done:
                _, reward, terminated, truncated, _ = env.step(expert.act())
                done = terminated or truncated
            succeeded += reward
        return succeeded

    assert successes(0.0) == 20
    assert successes(1.0) <= 10


def test_what_a_person_did_is_what_is_recorded():
    class Driven(LineEnv):
        def step(self, action):
            expert = self.expert_action()
            observation, reward, terminated, truncated, info = super().step(expert)
            return observation, reward, terminated, truncated, info | {"intervene_action": expert}

    [segment] = record_successes(Driven(), lambda: np.zeros(7, np.float32), episodes=1, seed=0)
    assert np.abs(segment.actions[:, :2]).max() == pytest.approx(1.0) and segment.intervened.all()
