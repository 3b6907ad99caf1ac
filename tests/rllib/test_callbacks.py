"""RLlib's callbacks: which hooks are called, in what order and with what, and which are refused."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from ray.rllib.callbacks.callbacks import RLlibCallback
from recording_callbacks import CALLS, Recording, calls
from small_runs import SMALL

from serl_ray.rllib import SERLConfig
from serl_ray.rllib.callbacks import NO_LOGGER, REFUSED_HOOKS
from serl_ray.rllib.refusals import RefusedError

STEPS = {"steps_per_iteration": 50, "evaluate_every": 50, "evaluation_episodes": 3}


def config(**options):
    env = {"env_name": "line_envs:LineEnv", "expert_interventions": 0.3}
    return SERLConfig().training(**{**env, **SMALL, **STEPS, **options}).callbacks(Recording).debugging(seed=3)


@pytest.fixture
def build(shared_ray, build):
    CALLS.clear()
    return build


def test_every_hook_is_called_with_what_a_user_needs(build, tmp_path):
    algorithm = build(config())
    [born] = calls("on_algorithm_init")
    assert born["steps"] == 0 and born["options"] is algorithm.options
    assert all(given["sub_environment"].action_space.shape == (7,) for given in calls("on_sub_environment_created"))
    result = algorithm.train()

    ends = [given for given in calls("on_episode_end") if not given["in_evaluation"]]
    played = result["env_runners"]
    assert len(ends) == played["num_episodes"] == result["episodes_this_iter"] == result["env/episodes"] > 1
    assert played["episode_return_mean"] == np.mean([given["return"] for given in ends])
    assert played["episode_len_mean"] == np.mean([given["length"] for given in ends])
    assert played["custom_metrics"]["moved_mean"] == pytest.approx(np.mean([given["moved"] for given in ends]))
    assert all(given["terminated"] == (given["return"] > 0) != given["truncated"] for given in ends)

    steps = calls("on_episode_step")
    assert len(steps) == 50 + 3 * result["evaluation/mean_steps"]
    persons = [given for given in steps if given["info"].get("intervene_action") is not None]
    assert persons and all(given["action"] is given["info"]["intervene_action"] for given in persons)

    learnt = calls("on_learn_on_batch")
    custom = result["info"]["learner"]["default_policy"]["custom_metrics"]
    assert len(learnt) == 2 * algorithm.learner_steps == 60 and learnt[0]["rewards"].shape == (16,)
    assert custom["mean_reward"] == pytest.approx(np.mean([given["rewards"].mean() for given in learnt]))
    assert result["mine"] == 50 and calls("on_train_result")[0]["result"] is result

    algorithm.save_checkpoint(str(tmp_path))
    algorithm.load_checkpoint(str(tmp_path))
    assert calls("on_checkpoint_loaded") == [{"steps": 50}]


def test_the_hooks_of_an_episode_follow_each_other(build):
    build(config(evaluate_every=0)).train()
    hooks = [name for name, _ in CALLS if name.startswith("on_episode")]
    one, *_ = " ".join(hooks).split(" on_episode_end")
    assert one.split()[:3] == ["on_episode_created", "on_episode_start", "on_episode_step"] and set(
        one.split()[3:]
    ) <= {"on_episode_step"}
    lengths = [
        given["length"]
        for name, given in CALLS
        if name in ("on_episode_created", "on_episode_start", "on_episode_step")
    ]
    assert lengths[:4] == [-1, 0, 1, 2]
    first, then = calls("on_episode_start")[0]["first"], calls("on_episode_step")[0]
    np.testing.assert_allclose(
        then["observation"]["state"][:2] - first["state"][:2], 0.3 * then["action"][:2], atol=1e-5
    )


def test_samples_are_what_is_stored_and_cannot_be_written_to(build):
    algorithm = build(config(evaluate_every=0))
    algorithm.train()
    samples = [given["samples"] for given in calls("on_sample_end")]
    assert sum(len(batch["rewards"]) for batch in samples) == algorithm.env_steps == 50
    moved = np.concatenate([batch["new_obs"]["state"] - batch["obs"]["state"] for batch in samples])[:, :2]
    np.testing.assert_allclose(moved, 0.3 * np.concatenate([batch["actions"] for batch in samples])[:, :2], atol=1e-5)
    assert sum(batch["intervened"].sum() for batch in samples) == algorithm.interventions > 0
    with pytest.raises(ValueError, match="read-only"):
        samples[0]["rewards"][:] = 7


def test_evaluations_begin_and_end_and_their_metrics_can_be_changed(build):
    algorithm = build(config())
    in_training = algorithm.train()
    asked = algorithm.evaluate()
    assert calls("on_evaluate_start") == [{"steps": 50}, {"steps": 50}]
    assert [given["metrics"]["judged"] for given in calls("on_evaluate_end")] == [3.0, 3.0]
    assert asked["judged"] == in_training["evaluation"]["judged"] == 3.0
    ends = [given["return"] for given in calls("on_episode_end") if given["in_evaluation"]]
    assert in_training["evaluation"]["env_runners"]["episode_return_mean"] == np.mean(ends[:3])
    assert asked["env_runners"]["num_episodes"] == 3 and len(ends) == 6
    assert "moved_mean" in asked["env_runners"]["custom_metrics"]


def test_an_evaluation_that_is_tried_again_begins_once(build, monkeypatch):
    monkeypatch.setattr("serl_ray.rllib.evaluated.RETRY_SECONDS", 0.0)
    algorithm = build(config())
    wait, fails = algorithm.evaluator.wait, iter((True, True))  # nothing is under way at first; then an attempt fails

    def fails_twice():
        outcome = wait()
        return {} if next(fails, False) else outcome

    monkeypatch.setattr(algorithm.evaluator, "wait", fails_twice)
    algorithm.play_evaluation()
    assert calls("on_evaluate_start") == [{"steps": 0}] and len(calls("on_evaluate_end")) == 1
    assert len([given for given in calls("on_episode_end") if given["in_evaluation"]]) == 2 * 3


@pytest.mark.slow
def test_hooks_of_remote_workers_reach_the_result(build):
    algorithm = build(config(evaluate_every=0, fragment_length=5).env_runners(num_env_runners=1))
    results = [algorithm.train() for _ in range(2)]
    assert results[-1]["env_runners"]["custom_metrics"]["moved_mean"] > 0 and not calls("on_episode_end")


class Logs(RLlibCallback):
    def on_episode_end(self, *, episode, metrics_logger, **kwargs):
        metrics_logger.log_value("moved", 1.0)


def test_rllib_s_new_metrics_logger_is_refused_where_it_is_used(build):
    algorithm = build(config(evaluate_every=0).callbacks(Logs))
    with pytest.raises(
        Exception, match=r"metrics_logger belongs to RLlib's new API stack. Write into episode\.custom_metrics"
    ):
        algorithm.train()
    with pytest.raises(RefusedError):
        NO_LOGGER.log_value("a", 1)


@pytest.mark.parametrize("hook", REFUSED_HOOKS)
def test_a_hook_that_would_never_be_called_is_refused(hook):
    callbacks = type("Mine", (RLlibCallback,), {hook: lambda self, **kwargs: None})
    for given in (callbacks, functools.partial(callbacks)):
        with pytest.raises(
            RefusedError, match=f"Mine defines {hook}, which is never called here. {REFUSED_HOOKS[hook]}"
        ):
            SERLConfig().callbacks(given).validate()


@pytest.mark.parametrize("given", [[RLlibCallback], lambda: RLlibCallback(), int])
def test_callbacks_that_are_no_class_of_rllib_s_are_refused(given):
    with pytest.raises(RefusedError, match="callbacks_class is .* Give one subclass of RLlibCallback"):
        SERLConfig().callbacks(given).validate()
    SERLConfig().callbacks(functools.partial(Recording)).validate()
