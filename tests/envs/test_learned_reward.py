"""A classifier in the place of the reward: what it sees decides, and nothing else does."""

from pathlib import Path

import numpy as np
import pytest
from films import Film
from PIL import Image

from serl_ray.envs.learned_reward import LearnedReward, parse_gate
from serl_ray.envs.make import make_env, used_keys
from serl_ray.networks.classifier import RewardClassifier
from serl_ray.options.sets import HybridOptions
from serl_ray.rllib.agreement import classifier_id


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A classifier that takes what is bright for a success."""
    (tmp_path / "classifier").mkdir()
    RewardClassifier(["image"], device="cpu").save(tmp_path / "classifier")
    monkeypatch.setattr(
        RewardClassifier,
        "predict_success",
        lambda self, observation: (observation["image"].mean() / 255, observation["image"].mean() > 128),
    )
    return str(tmp_path / "classifier")


def play(env):
    """(reward, terminated, truncated) of every step of an episode."""
    env.reset(seed=0)
    steps = []
    while not steps or not (steps[-1][1] or steps[-1][2]):
        _, *outcome, info = env.step(np.zeros(6, np.float32))
        assert "success_probability" in info
        steps.append(tuple(outcome))
    return steps


def test_the_first_positive_ends_the_episode_with_a_reward(folder):
    steps = play(LearnedReward(Film((0, 0, 0, 200, 200)), folder))
    assert steps == [(0.0, False, False), (0.0, False, False), (1.0, True, False)]


def test_a_classifier_at_a_uri_is_the_same(folder):
    uri = Path(folder).as_uri()
    assert play(LearnedReward(Film((0, 0, 0, 200, 200)), uri))[-1] == (1.0, True, False)
    assert classifier_id(uri) == classifier_id(str(folder))
    with pytest.raises(FileNotFoundError, match="nothing: there is no such folder"):
        LearnedReward(Film((0,)), f"{uri}/nothing")


def test_positives_must_come_in_a_row(folder):
    steps = play(LearnedReward(Film((0, 200, 0, 200, 200, 200, 0)), folder, success_frames=3))
    assert len(steps) == 5 and steps[-1] == (1.0, True, False)


def test_a_row_does_not_reach_into_the_next_episode(folder):
    env = LearnedReward(Film((0, 200, 200)), folder, success_frames=3)
    assert play(env) == play(env) == [(0.0, False, False), (0.0, False, True)]


def test_a_success_of_the_env_alone_is_a_time_out(folder):
    assert play(LearnedReward(Film((0, 0, 0, 0), reward_at=2), folder))[-1] == (0.0, False, True)


def test_a_failure_of_the_env_is_one(folder):
    assert play(LearnedReward(Film((0, 0, 0, 0), failure_at=2), folder))[-1] == (0.0, True, False)


def test_a_gate_must_be_open(folder):
    steps = play(LearnedReward(Film((0, 200, 200, 200, 200)), folder, gate="state[1] > 2.5"))
    assert len(steps) == 3 and steps[-1] == (1.0, True, False)


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("state > 1", "is not a condition"),
        ("state[0] = 1", "is not a condition"),
        ("state[2] > 1", r"asks for state\[2\]; the env's vectors are state\[0..1\]"),
        ("image[0] > 1", "asks for image"),
        ("force[0] > 1", "asks for force"),
    ],
)
def test_a_gate_that_makes_no_sense_is_named(gate, said):
    with pytest.raises(ValueError, match=said):
        parse_gate(gate, Film.observation_space.spaces)


@pytest.mark.parametrize(
    ("gate", "is_open"), [("state[1] > 2", False), ("state[1] < 2", True), (" state[0]>-1e-3 ", True)]
)
def test_a_gate_compares(gate, is_open):
    assert parse_gate(gate, Film.observation_space.spaces)({"state": np.array([0.0, 1.0])}) is is_open


def test_every_positive_is_kept_for_review(folder, tmp_path):
    env = LearnedReward(
        Film((0, 200, 0, 210, 220)), folder, success_frames=2, positives_dir=str(tmp_path / "positives")
    )
    play(env)
    kept = sorted((tmp_path / "positives").rglob("*.png"))
    assert [path.stem for path in kept] == ["0001", "0003", "0004"]
    assert [np.asarray(Image.open(path)).mean() for path in kept] == [200, 210, 220]
    assert {path.parent.name for path in kept} == {"image"}


def test_cameras_that_the_env_lacks_are_named(tmp_path):
    RewardClassifier(["side"], device="cpu").save(tmp_path)
    with pytest.raises(ValueError, match="needs the cameras side, but the env has no side; it has image, state"):
        LearnedReward(Film(), str(tmp_path))


def test_a_folder_without_a_classifier_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no reward classifier"):
        LearnedReward(Film(), str(tmp_path / "nothing"))


def test_a_camera_of_the_classifier_alone_is_not_shown_to_the_agent(folder):
    options = HybridOptions.of(setup_mode="single-arm-fixed-gripper", image_keys=("wrist",), classifier=folder)
    env = make_env(**options.env_config())
    assert set(env.observation_space.spaces) == {"wrist", "state"}
    env.reset(seed=0)
    *_, info = env.step(np.zeros(6, np.float32))
    assert info["success"] is False and 0.0 < info["success_probability"] < 1.0
    env.close()
    assert used_keys(env, True) - used_keys(env, False) == {*env.get_wrapper_attr("classifier").image_keys}


def test_an_env_that_cannot_tell_success_goes_on():
    with_rewards = make_env("tabletop", setup_mode="single-arm-learned-gripper")
    without = make_env("tabletop", setup_mode="single-arm-learned-gripper", env_kwargs={"rewards": False})
    for env in (with_rewards, without):
        env.reset(seed=3)
    terminated = False
    while not terminated:
        action = with_rewards.unwrapped.expert_action()
        _, _, terminated, _, info = with_rewards.step(action)
        _, reward, ended, truncated, same_info = without.step(action)
        assert same_info == info and reward == 0.0 and not ended and not truncated
    assert info["success"]
