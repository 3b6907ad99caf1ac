"""Running averages over episodes: success by its rule, autonomous success, returns."""

import math
from dataclasses import replace

import numpy as np
import pytest
from dense_envs import Pendulum, Reach

from serl_ray.data.episodes import EpisodeRecorder
from serl_ray.data.rewards import MAX_RUNNING, ReturnBound, ReturnCheck
from serl_ray.evaluation.rollouts import Episode, Evaluation, evaluate, run_episodes
from serl_ray.options.groups import RewardOptions
from serl_ray.rllib.metrics import EpisodeLog


def recorded(rewards, interventions=0, success=None):
    """The segment of an episode in which somebody intervened in the first steps."""
    observation = {"state": np.zeros(1, np.float32)}
    recorder = EpisodeRecorder(f"{rewards}{interventions}{success}", observation)
    for step, reward in enumerate(rewards, start=1):
        info = {} if success is None else {"success": success and step == len(rewards)}
        if step <= interventions:
            info["intervene_action"] = np.ones(1, np.float32)
        recorder.add(np.zeros(1, np.float32), (observation, reward, False, step == len(rewards), info))
    return recorder.cut()


def logged(*segments, success_return=0.5):
    log = EpisodeLog(RewardOptions(success_return=success_return))
    for segment in segments:
        log.add(segment)
    return log


def test_autonomous_success_is_that_of_episodes_without_a_human_step():
    rescued, alone, failed = recorded([0, 1], interventions=1), recorded([0, 0, 1]), recorded([0, 0, 0])
    metrics = logged(*[rescued] * 5, alone, failed, failed, failed).metrics()
    assert metrics["env/success_rate"] == pytest.approx(6 / 9) and metrics["env/autonomous_success_rate"] == 0.25
    assert metrics["env/autonomous_episodes"] == 4.0 and metrics["env/mean_return"] == pytest.approx(6 / 9)
    metrics = logged(rescued, rescued).metrics()
    assert math.isnan(metrics["env/autonomous_success_rate"]) and metrics["env/autonomous_episodes"] == 0.0


def test_success_of_dense_rewards_is_what_the_env_reports():
    segments = recorded([-3, -1], success=True), recorded([9, 9], success=False)
    metrics = logged(*segments, success_return=None).metrics()
    assert metrics["env/success_rate"] == 0.5 and metrics["env/mean_return"] == 7.0
    assert logged(*segments, success_return=-5.0).metrics()["env/success_rate"] == 1.0
    unknown = logged(recorded([-3, -1]), success_return=None)
    assert math.isnan(unknown.metrics()["env/success_rate"]) and unknown.metrics()["env/mean_return"] == -4.0
    again = EpisodeLog.from_json(unknown.to_json(), RewardOptions(success_return=None))
    assert again.to_json() == unknown.to_json()
    again.add(segments[0])
    assert again.metrics()["env/success_rate"] == 1.0, "the rule goes on, and what is unknown does not count"


def test_episodes_that_never_end_are_forgotten_in_the_end():
    log, check = EpisodeLog(), ReturnCheck(ReturnBound(max_return=1.0, discount=0.95))
    begun = recorded([1, 1]).slice(0, 1)
    for number in range(MAX_RUNNING + 1):
        for each in (log, check):
            each.add(replace(begun, episode=f"dropped {number}"))
    assert len(log._running) == len(check._running) == MAX_RUNNING
    rest = replace(recorded([0, 0]).slice(1, 2), episode="dropped 0")
    assert log.add(rest).steps == 1, "its first step is forgotten"
    assert log.add(replace(rest, episode=f"dropped {MAX_RUNNING}")).steps == 2


def test_an_evaluation_has_the_rule_of_the_run():
    act = lambda observation: np.zeros(1, np.float32)  # noqa: E731
    assert math.isnan(evaluate(act, Pendulum(), episodes=1, success_return=None).success_rate)
    assert evaluate(act, Pendulum(), episodes=1, success_return=-1e9).success_rate == 1.0


def test_other_rewards_than_0_and_1_are_named_once_with_the_rule(caplog):
    logged(recorded([0, 0, 1]), recorded([-1, -1, 0]), recorded([-1, -1, 0]))
    [record] = caplog.records
    assert "a reward of -1. An episode counts as a success if its rewards add up to 0.5 or more" in record.message
    caplog.clear()
    logged(recorded([-1, -1, 0]), success_return=-1.5)
    logged(recorded([-1, -1, 0]), success_return=None)
    assert not caplog.records


def test_an_evaluation_without_a_known_success_has_a_return():
    evaluation = evaluate(lambda observation: np.zeros(1, np.float32), Pendulum(), episodes=1)
    assert evaluation.success_rate == 0.0 and "return -" in str(evaluation)
    [episode] = run_episodes(lambda observation: np.zeros(1, np.float32), Pendulum(), 1, seed=0, success_return=None)
    unknown = Evaluation([episode])
    metrics = unknown.metrics()
    assert math.isnan(metrics["evaluation/success_rate"]) and math.isnan(metrics["evaluation/success_low"])
    assert metrics["evaluation/mean_return"] == episode.total_reward < -100
    assert str(unknown) == f"return {episode.total_reward:.4g} in 1 episodes, 200.0 steps, 0% interventions"


def test_an_evaluation_of_dense_rewards_takes_the_success_that_the_env_reports():
    def towards_the_goal(observation):
        return np.clip(observation["state"][2:] / 0.2, -1, 1)

    episodes = list(run_episodes(towards_the_goal, Reach(), 5, seed=0, success_return=None))
    assert all(episode.success is True and episode.total_reward < 0 for episode in episodes)
    assert Evaluation([*episodes, Episode(None, 3, 0)]).success_rate == 1.0
