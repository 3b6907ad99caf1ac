"""Autonomous successes as demonstrations."""

import shutil

import numpy as np
import pytest
from small_runs import SMALL

from serl_ray.data.schema import Segment
from serl_ray.options.groups import RewardOptions
from serl_ray.rllib import SERLConfig
from serl_ray.rllib.metrics import EpisodeLog
from serl_ray.rllib.success_demos import MAX_UNENDED, SuccessDemos


def segment(
    episode: str, first_step: int, reward: float = 0.0, done: bool = False, intervened: bool = False
) -> Segment:
    return Segment(
        observations={"state": np.full((3, 1), first_step, np.float32)},
        actions=np.zeros((2, 1)),
        rewards=[0.0, reward],
        masks=[1.0, 1.0 - done],
        dones=[False, done],
        truncateds=[False, False],
        grasp_penalty=np.zeros(2),
        intervened=[intervened, False],
        episode=episode,
        first_step=first_step,
    )


def kept(*segments: Segment) -> list[tuple[str, int]]:
    """Episode and first step of each segment that became a demonstration."""
    episodes, successes = EpisodeLog(RewardOptions()), SuccessDemos()
    return [(s.episode, s.first_step) for part in segments for s in successes.add(part, episodes.add(part))]


def test_an_episode_counts_as_a_whole_from_its_success_on():
    running = segment("a", 0), segment("b", 0), segment("a", 2)
    assert kept(*running) == []
    assert kept(*running, segment("a", 4, 1.0, done=True)) == [("a", 0), ("a", 2), ("a", 4)]


def test_failures_and_episodes_with_help_do_not_count():
    assert kept(segment("a", 0), segment("a", 2, 0.0, done=True)) == []
    assert kept(segment("a", 0, intervened=True), segment("a", 2, 1.0, done=True)) == []


def test_episodes_that_never_end_are_forgotten():
    lost = [segment(f"lost {number}", 0) for number in range(MAX_UNENDED)]
    assert kept(segment("a", 0), *lost, segment("a", 2, 1.0, done=True)) == [("a", 2)]


@pytest.mark.usefixtures("shared_ray")
def test_a_run_learns_from_its_own_successes_and_takes_them_up_again(build, tmp_path):
    options = SMALL | {"max_steps": 400, "steps_per_iteration": 200, "evaluate_every": 0, "random_steps": 400}
    options |= {"env_name": "line_envs:LineEnv", "training_starts": 400, "success_demos": True}
    runs = []
    for name in ("ours", "again"):
        config = SERLConfig().training(**options).debugging(seed=3).keep_replay(tmp_path / name)
        runs.append(build(config))
    ours, again = runs
    ours.save_checkpoint(str(tmp_path / "saved"))
    ours.train()
    ours.train()
    sampled = ours.demos.sample(512, np.random.default_rng(0))
    assert 0 < len(ours.demos) < len(ours.online)
    assert (sampled["rewards"] == 1.0).any() and not sampled["truncateds"].any()
    shutil.copytree(tmp_path / "ours", tmp_path / "again", dirs_exist_ok=True)
    again.load_checkpoint(str(tmp_path / "saved"))
    assert again.recover() == 400 and len(again.demos) == len(ours.demos)
    ours.save_checkpoint(str(tmp_path / "later"))
    again.load_checkpoint(str(tmp_path / "later"))
    assert np.array_equal(again.demos.sample(512, np.random.default_rng(0))["actions"], sampled["actions"])
