"""Envs that raise, hang, or return what they may not: the episode is dropped, counted and reported, and the run goes
on."""

import logging

import numpy as np
import pytest

from serl_ray.cli.main import MISTAKES
from serl_ray.data.replay.log import num_transitions
from serl_ray.rllib.failures import BrokenEnvError, WorkerError

pytestmark = pytest.mark.usefixtures("shared_ray")
SAID = {
    "error": ("env_error", "ConnectionError: the robot does not answer"),
    "timeout": ("env_timeout", "The env's step took longer than the step_deadline of 0.3 s"),
    "not_finite": ("env_not_finite", "Observation `state` holds NaN or infinity"),
    "reward_not_finite": ("env_not_finite", "The reward is inf"),
    "wrong_shape": ("env_wrong_shape", "Observation `state` is float32 (3,), its space float32 (4,)"),
    "no_observation": ("env_wrong_shape", "An observation has the keys none, its space state"),
    "no_flag": ("env_wrong_result", "The env FaultyEnv breaks the contract: `terminated` is None: return a bool"),
    "no_info": ("env_wrong_result", "info is a NoneType: return a dict"),
    "wrong_intervention": ("env_wrong_action", "info['intervene_action'] is [0.5 0.5 0.5] (float64 (3,))"),
}


HERE = [(fault, 0) for fault in SAID]
REMOTE = [pytest.param(fault, 1, marks=pytest.mark.slow) for fault in ("error", "timeout")]


@pytest.mark.parametrize(("fault", "workers"), HERE + REMOTE)
def test_a_spoilt_episode_is_dropped_counted_and_reported(build, caplog, fault, workers):
    caplog.set_level(logging.WARNING)
    kind, message = SAID[fault]
    kwargs = {"fault": fault, "every": 2}
    deadline = 0.3 if fault == "timeout" else 30.0
    algorithm = build(
        "faulty_envs:FaultyEnv", workers, env_kwargs=kwargs, step_deadline=deadline, steps_per_iteration=60
    )
    result = algorithm.train()
    faults = {name: count for name, count in result.items() if name.startswith("faults/env_") and count}
    assert faults.keys() == {f"faults/{kind}"} and faults[f"faults/{kind}"] >= 1
    assert faults[f"faults/{kind}"] <= result["faults/steps_dropped"] <= 3 * faults[f"faults/{kind}"]
    assert message in caplog.text
    assert result["env/steps"] >= 60 and result["learner/steps"] > 0
    assert len(algorithm.online) == algorithm.env_steps == num_transitions(algorithm.logs["online"].shards)
    batch = algorithm.online.sample(256, np.random.default_rng(0))
    assert np.isfinite(batch["observations"]["state"]).all() and np.isfinite(batch["rewards"]).all()


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_env_that_does_nothing_else_ends_the_run_with_its_traceback(build, workers):
    algorithm = build("faulty_envs:FaultyEnv", workers, env_kwargs={"fault": "error", "every": 1}, max_faults=3)
    with pytest.raises(WorkerError, match="(?s)in _faults.*robot does not answer") as raised:
        algorithm.train()
    assert "tests/faulty_envs.py" in str(raised.value)
    assert algorithm.faults.counts["faults/env_error"] <= 3


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_env_that_always_breaks_the_contract_ends_the_run_with_one_line(build, workers):
    algorithm = build("faulty_envs:FaultyEnv", workers, env_kwargs={"fault": "no_flag", "every": 1}, max_faults=3)
    with pytest.raises(
        BrokenEnvError, match="breaks the contract again and again.*`terminated` is None: return a bool"
    ) as raised:
        algorithm.train()
    assert "\n" not in str(raised.value) and isinstance(raised.value, MISTAKES)
