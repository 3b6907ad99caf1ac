"""What check-env finds is said once by a run, too, about its first episodes."""

from __future__ import annotations

import re
import weakref

import numpy as np
import pytest
from fake_envs import FakeEnv
from ray.rllib.env.env_context import EnvContext

from serl_ray.envs import inspect_env
from serl_ray.envs.border import Border
from serl_ray.envs.first_episodes import EPISODES, MOST_STEPS, FirstEpisodes
from serl_ray.envs.guard import Guard
from serl_ray.envs.wrappers import SelectObservations
from serl_ray.rllib import SERLConfig
from serl_ray.rllib.rollout_env import RolloutEnv
from serl_ray.types import ActionLayout

MODE = "single-arm-learned-gripper"
LAYOUT = ActionLayout.from_setup(MODE, 7)
KEYS = ("front", "state")


class Counting(FakeEnv):
    """Its state counts its steps; an episode has ten, and its cameras see noise."""

    horizon = 10

    def _observation(self):
        state = np.array([self.steps / 10, -self.steps / 20, 0.5], np.float32)
        return super()._observation() | self.observe({"state": state, "object_state": state[:2]})

    def step(self, action):
        *_, info = super().step(action)
        return self.outcome((self._observation(), 0.0, False, self.steps == self.horizon, info))


class SelfResetting(Counting):
    def step(self, action):
        observation, reward, terminated, truncated, info = super().step(action)
        return self.reset()[0] if truncated else observation, reward, terminated, truncated, info


class OneImage(Counting):
    """Takes an image at each reset, and shows it in all steps."""

    def _observation(self):
        observation = super()._observation()
        self.image = observation["front"] if self.steps == 0 else self.image
        return observation | {"front": self.image}


def showing(**items):
    return lambda: FakeEnv(observe=lambda observation: observation | items)


def reporting(**items):
    return lambda: FakeEnv(outcome=lambda result: (*result[:4], result[4] | items))


def scaled(factor):
    return lambda: Counting(observe=lambda observation: observation | {"state": factor * observation["state"]})


ODD = {
    "the next episode's first one, so the env resets itself": SelfResetting,
    "Camera `front` is always black": showing(front=np.zeros((6, 8, 3), np.uint8)),
    "Camera `front` always shows the same image": showing(front=np.full((6, 8, 3), 9, np.uint8)),
    "Camera `front` shows the image of the reset in all steps": OneImage,
    "`state` reaches 350": scaled(np.float32(350)),
    "`state` never exceeds 0.01": scaled(np.float32(0.01)),
    "`state` is the same in all steps": showing(state=np.full(3, 0.5, np.float32)),
    "an 'intervene_action' in every step": reporting(intervene_action=np.zeros(7, np.float32)),
    "Every step ends an episode": lambda: FakeEnv(outcome=lambda result: (*result[:3], True, result[4])),
    "The reward is 1 and the episode goes on": lambda: FakeEnv(
        outcome=lambda result: (result[0], 1.0, False, *result[3:])
    ),
    "info lacks `grasp_penalty`": lambda: FakeEnv(outcome=lambda result: (*result[:4], {})),
    "report time limits as truncated": lambda: Counting(outcome=lambda r: (r[0], 0.0, r[3], False, r[4])),
}


def watched(env, has_scale=False):
    return FirstEpisodes(SelectObservations(Border(env), ["front"]), LAYOUT, KEYS, False, has_scale)


def play(env, steps):
    """Steps with random actions, and a reset after each end."""
    rng = np.random.default_rng(0)
    env.reset(seed=0)
    for _ in range(steps):
        _, _, terminated, truncated, _ = env.step(LAYOUT.random(rng, 1)[0])
        if terminated or truncated:
            env.reset()


def said(caplog):
    texts = [record.getMessage() for record in caplog.records]
    return [text for text in texts if text.startswith("The first episodes of the env")]


@pytest.mark.parametrize("sentence", ODD)
def test_what_check_env_finds_is_said_once_with_the_same_words(sentence, caplog):
    report = inspect_env(ODD[sentence](), MODE)
    [checked] = [text for text in (*report.problems, *report.warnings) if sentence in text and "`wrist`" not in text]
    play(watched(ODD[sentence]()), 200)
    [line] = [line for line in said(caplog) if sentence in line]
    words = [re.sub(r"in \d+ step", "in N step", text) for text in (checked, line)]
    assert words[1].endswith(f" are odd. {words[0]}")


@pytest.mark.parametrize("env", [FakeEnv, Counting])
def test_a_sound_env_gets_no_word(env, caplog):
    play(watched(env()), 200)
    assert said(caplog) == []


def test_an_agent_that_scales_its_state_takes_any_scale(caplog):
    play(watched(scaled(np.float32(350))(), has_scale=True), 200)
    assert said(caplog) == []


@pytest.mark.parametrize(("peak", "is_said"), [(50.0, False), (500.0, True)])
def test_a_state_that_is_large_at_times_only_is_let_pass_unless_it_is_huge(peak, is_said, caplog):
    def far(observation):
        at_times = np.random.default_rng(observation["state"].view(np.uint32)).random() < 0.2
        return observation | {"state": np.float32(peak if at_times else 1.0) * observation["state"]}

    play(watched(FakeEnv(observe=far)), 200)
    assert any("`state` reaches" in line for line in said(caplog)) == is_said


def test_what_nobody_uses_does_not_matter(caplog):
    play(watched(showing(wrist=np.zeros((4, 4, 3), np.uint8))()), 200)
    assert said(caplog) == []


def test_the_first_episodes_alone_are_looked_at(caplog):
    env = watched(Counting())
    play(env, EPISODES * Counting.horizon)
    env.unwrapped.observe = lambda observation: observation | {"state": 350 * observation["state"]}
    play(env, EPISODES * Counting.horizon)
    assert said(caplog) == []


def test_an_episode_without_an_end_is_looked_at_too(caplog):
    class Endless(Counting):
        horizon = 10**9

    env = watched(Endless(observe=lambda observation: observation | {"state": 9 * observation["state"]}))
    play(env, MOST_STEPS - 1)
    assert said(caplog) == []
    play(env, 1)
    assert len(said(caplog)) == 1 and "`state` reaches" in said(caplog)[0]


def test_few_images_are_kept_and_none_after_the_look():
    images = []

    class Long(Counting):
        horizon = 100

    class Kept(SelectObservations):
        def observation(self, observation):
            images.append(weakref.ref(observation["front"]))
            return super().observation(observation)

    env = FirstEpisodes(Kept(Border(Long()), ["front"]), LAYOUT, KEYS, False, False)
    play(env, 299)
    assert 30 <= sum(image() is not None for image in images) <= 45
    play(env, 101)
    assert sum(image() is not None for image in images) <= 2


def test_workers_that_gather_experience_look_and_those_that_evaluate_do_not(caplog):
    options = {"env_name": "peoples_envs:Contract", "setup_mode": MODE}
    config = SERLConfig().training(**options, max_return=None)
    config.validate()
    evaluation = config.get_evaluation_config_object()
    evaluation.validate()
    for described, looks in ((config, True), (evaluation, False)):
        env = RolloutEnv(EnvContext(described.env_config, 0))
        chain = []
        while env is not env.unwrapped:
            chain.append(type(env))
            env = env.env
        assert (FirstEpisodes in chain) == looks
        assert not looks or chain.index(FirstEpisodes) > chain.index(Guard), "a fault in it would be the run's"
    assert config.env_config["watch"] == {"is_dense": True, "has_scale": False}
