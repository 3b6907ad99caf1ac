"""A task of several stages: each has its classifier, is reached in its turn, and is paid once."""

import json

import numpy as np
import pytest
from films import Film

from serl_ray.cli.main import main
from serl_ray.data.demos import read_file
from serl_ray.data.rewards import SUCCESS_RETURN, foreign_reward, stage_reward
from serl_ray.envs.learned_reward import LearnedReward
from serl_ray.envs.make import make_env, used_keys
from serl_ray.networks.classifier import RewardClassifier
from serl_ray.options.sets import HybridOptions
from serl_ray.runs.policy import load_policy
from serl_ray.utils.options import OptionError

THIRD, LAST = 1 / 6, 4 / 6
"""Rewards of three stages: the first two, and the last."""


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Three classifiers, each of which takes images from its own brightness on for its stage."""
    for number, threshold in enumerate((0.3, 0.6, 0.9)):
        (tmp_path / f"stage{number}").mkdir()
        RewardClassifier(["image"], threshold, device="cpu").save(tmp_path / f"stage{number}")
    monkeypatch.setattr(
        RewardClassifier,
        "predict_success",
        lambda self, observation: (level := observation["image"].mean() / 255, level >= self.threshold),
    )
    return [str(tmp_path / f"stage{number}") for number in range(3)]


def played(env):
    """(reward, terminated, share of stages in the state) of each step of an episode, after that of its reset."""
    observation, _ = env.reset(seed=0)
    steps = [(0.0, False, float(observation["state"][-1]))]
    ends = False
    while not ends:
        observation, reward, terminated, truncated, info = env.step(np.zeros(6, np.float32))
        assert env.observation_space.contains(observation) and info["stage"] == round(3 * observation["state"][-1])
        steps.append((reward, terminated, round(float(observation["state"][-1]), 3)))
        ends = terminated or truncated
    return steps


def test_stages_are_reached_in_order_and_the_last_one_ends_the_episode(folders):
    *stages, last = folders
    steps = played(LearnedReward(Film((0, 0, 100, 0, 180, 240, 255)), last, stages=stages))
    assert steps == [
        (0.0, False, 0.0), (0.0, False, 0.0), (THIRD, False, 0.333), (0.0, False, 0.333), (THIRD, False, 0.667),
        (LAST, True, 1.0),
    ]  # fmt: skip


def test_one_step_reaches_one_stage_and_a_later_stage_waits_for_the_earlier_ones(folders):
    *stages, last = folders
    steps = played(LearnedReward(Film((0, 255, 255, 255, 255)), last, stages=stages))
    assert [reward for reward, *_ in steps] == [0.0, THIRD, THIRD, LAST]


def test_a_stage_takes_its_own_row_of_frames(folders):
    *stages, last = folders
    steps = played(LearnedReward(Film((0, 255, 255, 255, 255, 255, 255, 0)), last, 2, stages=stages))
    assert [reward for reward, *_ in steps] == [0.0, 0.0, THIRD, 0.0, THIRD, 0.0, LAST]


def test_an_episode_begins_at_the_first_stage(folders):
    *stages, last = folders
    env = LearnedReward(Film((0, 100, 180, 0)), last, stages=stages)
    assert played(env) == played(env)


def test_what_was_paid_before_a_step_is_known_of_the_episodes_that_operators_may_label(folders):
    *stages, last = folders
    env = LearnedReward(Film((0, 0, 100, 0, 180, 0)), last, stages=stages)
    for episode in (1, 2):
        env.reset(seed=0)
        env.number_episode(episode)
        for _ in range(4):
            env.step(np.zeros(6, np.float32))
    for episode in (1, 2):
        paid = [env.paid_before(episode, step) for step in range(1, 6)]
        assert paid == pytest.approx([0.0, 0.0, THIRD, THIRD, 2 * THIRD])


def test_one_classifier_pays_every_further_step_that_lingers_in_the_success(folders):
    env = LearnedReward(Film((0, 255, 255, 255, 0, 255)), folders[0], 2)
    env.reset(seed=0)
    results = [env.step(np.zeros(6, np.float32)) for _ in range(4)]
    assert [(reward, terminated) for _, reward, terminated, *_ in results] == [
        (0.0, False), (1.0, True), (1.0, True), (0.0, False),
    ]  # fmt: skip


def test_a_state_without_the_stage_is_refused():
    with pytest.raises(OptionError, match="state_keys is force, and with --stage_classifiers .* name state among them"):
        HybridOptions.of(classifier="in", stage_classifiers=("near",), state_keys=("force",))


@pytest.mark.parametrize("stages", range(2, 8))
def test_rewards_of_another_number_of_stages_are_told_apart(stages):
    for number in range(2, 8):
        paid = [stage_reward(reached, number) for reached in range(1, number + 1)]
        assert (foreign_reward(np.array([0.0, *paid], np.float32), stages) is None) == (number == stages)


@pytest.mark.parametrize("stages", range(1, 8))
def test_all_stages_pay_one_and_only_the_last_one_is_a_success(stages):
    paid = [stage_reward(reached, stages) for reached in range(1, stages + 1)]
    assert sum(paid) == pytest.approx(1.0) and sum(paid[:-1]) < SUCCESS_RETURN
    assert len(set(paid[:-1])) <= 1


def test_the_same_classifier_twice_is_named(folders):
    with pytest.raises(ValueError, match="stage0 judges two stages"):
        LearnedReward(Film(), folders[1], stages=[folders[0], folders[0]])
    with pytest.raises(ValueError, match="stage1 judges two stages"):
        LearnedReward(Film(), folders[1], stages=[folders[1]])


def test_the_cameras_of_every_stage_are_observed_and_those_that_are_missing_named(folders, tmp_path):
    (tmp_path / "wrist").mkdir()
    RewardClassifier(["wrist"], device="cpu").save(tmp_path / "wrist")
    with pytest.raises(ValueError, match="wrist needs the cameras wrist, but the env has no wrist"):
        LearnedReward(Film(), folders[0], stages=[str(tmp_path / "wrist")])
    learned = {"classifier": folders[0], "stages": (str(tmp_path / "wrist"),)}
    env = make_env("tabletop", setup_mode="single-arm-fixed-gripper", learned_reward=learned)
    assert {"image", "wrist"} <= used_keys(env, True)
    env.close()


RUN = ["--env_name", "tabletop", "--setup_mode", "single-arm-fixed-gripper", "--env_kwargs", "rewards", "false"]


@pytest.fixture
def sure(tmp_path):
    """The options of two stages whose classifiers always say yes."""
    for name in ("near", "in"):
        (tmp_path / name).mkdir()
        RewardClassifier(["image"], 0.0, device="cpu").save(tmp_path / name)
    return ["--classifier", str(tmp_path / "in"), "--stage_classifiers", str(tmp_path / "near")]


def record(tmp_path, *reward):
    demos = str(tmp_path / "demos.pkl")
    assert not main(["record", *RUN, *reward, "--image_keys", "image", "--episodes", "2", "--output", demos])
    return ["--image_keys", "image", "--demo_paths", demos]


@pytest.mark.slow
def test_stages_go_from_a_recording_to_an_evaluation(tmp_path, sure, shared_ray):
    seen = record(tmp_path, *sure)
    for demo in read_file(seen[-1]):
        assert demo.rewards.tolist() == [0.25, 0.75]
        assert demo.observations["state"][:, -1].tolist() == [0.0, 0.5, 1.0]
    small = ["--max_steps", "40", "--training_starts", "10", "--batch_size", "8", "--hidden_dims", "16"]
    run = tmp_path / "run"
    assert not main(["train", *RUN, *sure, *seen, *small, "--evaluate_every", "0", "--save_dir", str(run)])
    [checkpoint] = list(run.rglob("run.json"))[:1]
    assert len(json.loads(checkpoint.read_text())["stage_classifiers"]) == 1
    for folder in ("near", "in"):  # moved with the run
        (run / folder).mkdir()
        for file in (tmp_path / folder).iterdir():
            file.rename(run / folder / file.name)
    agent, env = load_policy(run, env_name="tabletop")
    actions = [agent.sample_actions(env.reset(seed=0)[0], argmax=True), np.zeros(6, np.float32)]
    assert [env.step(action)[1] for action in actions] == [0.25, 0.75]
    env.close()
    with pytest.raises(ValueError, match=r"1 classifier\(s\) of earlier stages, and --stage_classifiers names 0"):
        load_policy(run, env_name="tabletop", stage_classifiers=())
    (run / "near").rename(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match="near, which is neither .* --stage_classifiers FOLDER"):
        load_policy(run, env_name="tabletop")


@pytest.mark.slow
def test_demonstrations_without_the_stage_are_refused_in_one_sentence(tmp_path, sure, capsys):
    seen = record(tmp_path, *sure[:2])
    assert main(["train", *RUN, *sure, *seen, "--max_steps", "40", "--save_dir", str(tmp_path / "run")]) == 2
    assert "record with the same classifiers" in capsys.readouterr().err
