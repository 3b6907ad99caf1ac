"""A second policy puts the scene in order before each episode, and nothing of that is experience."""

import gymnasium
import numpy as np
import pytest
from line_envs import LineEnv
from small_runs import SMALL, train_until

from serl_ray import SERLConfig
from serl_ray.cli.main import main
from serl_ray.data.episodes import EnvFault
from serl_ray.envs.policy_resets import PolicyResets


class Course(gymnasium.Wrapper):
    """Writes down what happens to an env."""

    def __init__(self, env):
        super().__init__(env)
        self.happened = []

    def reset(self, **given):
        self.happened.append(("reset", given["seed"]))
        return super().reset(**given)

    def step(self, action):
        self.happened.append(("step", tuple(action)))
        return super().step(action)


def still(observation):
    return np.zeros(7, np.float32)


def test_the_policy_acts_between_two_resets():
    env = PolicyResets(course := Course(LineEnv()), still, steps=3)
    observation, _ = env.reset(seed=5)
    assert course.happened == [("reset", 5), *[("step", (0.0,) * 7)] * 3, ("reset", 5)]
    assert (observation["state"] == LineEnv().reset(seed=5)[0]["state"]).all()


def test_it_goes_on_after_what_counts_as_a_success_and_ends_with_the_env():
    line = LineEnv(horizon=6)
    for act, steps in ((lambda _: line.expert_action(), 50), (still, 6)):
        course = Course(line)
        PolicyResets(course, act, steps=50).reset(seed=0)
        assert [kind for kind, _ in course.happened] == ["reset", *["step"] * steps, "reset"]


def test_a_stop_ends_the_policys_steps_as_a_fault():
    env = PolicyResets(course := Course(LineEnv()), still, steps=50)
    env.is_stopped = lambda: len(course.happened) > 3
    with pytest.raises(EnvFault, match="stopped while the reset policy acted"):
        env.reset(seed=0)
    assert len(course.happened) == 4


@pytest.mark.slow
def test_an_operator_stops_the_policy_of_the_resets(run, shared_ray):
    config = SERLConfig().training(**SMALL, reset_policy=run, reset_steps=7).operator(operator_port=0)
    algorithm = config.environment("line_envs:LineEnv").env_runners(num_env_runners=0).build()
    try:
        [[wrapped]] = algorithm.env_runner_group.foreach_env_runner(lambda w: w.foreach_env(lambda env: env))
        resets, session = wrapped.get_wrapper_attr("is_stopped"), wrapped.get_wrapper_attr("session")
        assert not resets()
        session.is_stopped = True
        assert resets()
    finally:
        algorithm.stop()


@pytest.fixture(scope="module")
def run(tmp_path_factory, shared_ray):
    """A run whose policy will make the resets of another one."""
    folder = tmp_path_factory.mktemp("resets")
    command = ["train", "--env_name", "line_envs:LineEnv", "--max_steps", "40", "--training_starts", "20"]
    command += ["--batch_size", "16", "--hidden_dims", "16", "16", "--evaluate_every", "0"]
    assert not main([*command, "--save_dir", str(folder / "run")])
    return str(folder / "run")


@pytest.mark.slow
def test_no_step_of_a_reset_is_stored_or_counted(run, shared_ray):
    config = SERLConfig().training(**SMALL, reset_policy=run, reset_steps=7)
    config.environment("line_envs:CountingLineEnv").env_runners(num_env_runners=0)
    algorithm = config.build()
    try:
        train_until(algorithm, lambda: algorithm.env_steps >= 100)
        [[env]] = algorithm.env_runner_group.foreach_env_runner(lambda w: w.foreach_env(lambda env: env.unwrapped))
        episodes = env.resets // 2
        assert episodes > 2 and env.total - 7 * episodes == algorithm.env_steps == len(algorithm.buffers["online"])
    finally:
        algorithm.stop()


@pytest.mark.slow
def test_a_policy_of_another_contract_is_named_before_a_step(run, shared_ray, tmp_path, capsys):
    command = ["train", "--env_name", "line_envs:SplitEnv", "--state_keys", "point", "--max_steps", "40"]
    assert main([*command, "--reset_policy", run, "--save_dir", str(tmp_path / "run")])
    assert (
        "was trained with an env whose observations are {'state': 'float32 of shape (4,)'}" in capsys.readouterr().err
    )
    assert main([*command, "--reset_policy", str(tmp_path / "nothing"), "--save_dir", str(tmp_path / "other")]) == 2
    assert "nothing" in capsys.readouterr().err
    assert main([*command, "--reset_steps", "5", "--save_dir", str(tmp_path / "other")]) == 2
    assert "nothing uses it without --reset_policy" in capsys.readouterr().err
