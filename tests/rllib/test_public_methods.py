"""RLlib's public methods beside a run: they leave it as it is, or are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from ray import tune
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.evaluation.rollout_worker import RolloutWorker
from ray.rllib.execution.rollout_ops import synchronous_parallel_sample
from ray.rllib.models import ModelCatalog
from ray.rllib.policy.policy import Policy
from ray.rllib.policy.sample_batch import SampleBatch
from small_runs import SMALL

from serl_ray.evaluation.rollouts import deterministic, evaluate
from serl_ray.rllib import SERL, OfflineConfig, SERLConfig
from serl_ray.rllib.failures import WorkerError
from serl_ray.rllib.refusals import RefusedError
from serl_ray.rllib.rollout_env import rollout_env

TESTS = str(Path(__file__).parents[1])
pytestmark = pytest.mark.usefixtures("shared_ray")


def config(**options):
    env = {"env_name": "line_envs:LineEnv", "setup_mode": "single-arm-learned-gripper"}
    steps = {"steps_per_iteration": 20, "evaluate_every": 400, "evaluation_episodes": 3}
    return SERLConfig().training(**{**env, **SMALL, **steps, **options}).debugging(seed=3)


@pytest.fixture
def build(build):
    return lambda configuration=None, **options: build(configuration or config(**options))


@pytest.fixture
def recorded(monkeypatch):
    """The segments that are stored, by algorithm."""
    stored = {}
    remember = SERL._store

    def record(algorithm, segments):
        stored.setdefault(algorithm, []).extend(segments)
        remember(algorithm, segments)

    monkeypatch.setattr(SERL, "_store", record)
    return stored


def observations(count, seed=0):
    return {"state": np.random.default_rng(seed).uniform(-1, 1, (count, 4)).astype(np.float32)}


def one(batch, index=0):
    return {key: rows[index] for key, rows in batch.items()}


def visit(algorithm):
    """Everything that a user of RLlib would try beside a run."""
    algorithm.evaluate()
    for explore in (None, True, False):
        algorithm.compute_single_action(one(observations(1)), explore=explore)
        algorithm.policy.compute_actions(observations(5), explore=explore)
        algorithm.compute_actions({"left": one(observations(1)), "right": one(observations(2), 1)}, explore=explore)
        algorithm.policy.compute_actions_from_input_dict(SampleBatch({"obs": observations(2)}), explore=explore)
    algorithm.policy.compute_log_likelihoods(np.zeros((5, 7), np.float32), observations(5))
    group = algorithm.env_runner_group
    for sample in (
        algorithm.env_runner.sample,
        lambda: group.foreach_env_runner(lambda worker: worker.sample()),
        lambda: synchronous_parallel_sample(worker_set=group),
        lambda: algorithm.env_runner.learn_on_batch({}),
    ):
        with pytest.raises(RefusedError, match=r"(sample|learn_on_batch)\(\) is refused: .*train\(\)"):
            sample()


def test_a_run_that_is_visited_is_the_run_that_is_not(build, recorded):
    visited, alone = build(), build()
    for _ in range(3):
        visit(visited)
        visited.train()
        alone.train()
    assert visited.learner_steps == alone.learner_steps == 40
    ours, theirs = visited.agent.state.tensors(), alone.agent.state.tensors()
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert len(recorded[visited]) == len(recorded[alone]) >= 60
    for one_segment, other in zip(recorded[visited], recorded[alone], strict=True):
        for field in ("actions", "rewards", "masks", "dones"):
            np.testing.assert_array_equal(getattr(one_segment, field), getattr(other, field))
        np.testing.assert_array_equal(one_segment.observations["state"], other.observations["state"])
        moved = np.diff(one_segment.observations["state"][:, :2], axis=0)
        np.testing.assert_allclose(moved, 0.3 * one_segment.actions[:, :2], atol=1e-5)


def test_evaluate_plays_the_weights_as_they_are_and_reports_as_rllib_does(build):
    algorithm = build()
    for _ in range(2):
        algorithm.train()
    result = algorithm.evaluate()
    expected = evaluate(deterministic(algorithm.agent), rollout_env(algorithm.evaluation_config), episodes=3)
    played = result["env_runners"]
    steps = [episode.steps for episode in expected.episodes]
    assert (played["num_episodes"], played["hist_stats"]["episode_lengths"]) == (3, steps)
    assert played["episode_return_mean"] == result["evaluation/success_rate"] == expected.success_rate
    assert played["episode_len_mean"] == result["evaluation/mean_steps"] == expected.mean_steps
    assert result["num_env_steps_sampled_this_iter"] == sum(steps) and result["evaluation/at_step"] == 40
    assert algorithm.train()["evaluation/at_step"] == 40


@pytest.mark.slow
def test_evaluate_is_refused_where_the_only_env_is_the_run_s(build):
    with pytest.raises(RefusedError, match=r"evaluate_every is 0.*Set \.training\(evaluate_every=STEPS\)"):
        build(evaluate_every=0).evaluate()
    asked_only = build(config(evaluate_every=0).evaluation(evaluation_num_env_runners=1))
    assert asked_only.evaluate()["env_runners"]["num_episodes"] == 3
    stopped = build()
    stopped.interrupted.set()
    with pytest.raises(WorkerError, match="told to stop"):
        stopped.evaluate()


@pytest.mark.slow
def test_an_offline_run_evaluates_what_was_held_out(build, tmp_path):
    experience = build(training_starts=400, episodes_dir=str(tmp_path))
    for _ in range(5):
        experience.train()
    shared = {
        "setup_mode": "single-arm-learned-gripper",
        "demo_paths": (str(tmp_path),),
        "hidden_dims": (16, 16),
        "batch_size": 16,
    }
    without_env = OfflineConfig().training(**shared, held_out=0.4, evaluate_every=0).debugging(seed=3)
    result = build(without_env).evaluate()
    assert np.isfinite(result["held_out/action_error"]) and "env_runners" not in result
    with pytest.raises(RefusedError, match="env_name None"):
        build(OfflineConfig().training(**shared, held_out=0.0, evaluate_every=0)).evaluate()


def use_sampler(worker):
    """RLlib's own sampler resets the env, and asks the policy with arguments that have no say."""
    with pytest.raises(RefusedError, match="timestep is 20"):
        worker.input_reader.next()


@pytest.mark.parametrize(
    "touch",
    [
        lambda worker: worker.foreach_env(lambda env: env.step(np.zeros(7, np.float32))),
        lambda worker: worker.foreach_env(lambda env: env.reset()),
        use_sampler,
        lambda worker: worker.async_env.poll(),
    ],
    ids=["step", "reset", "sampler", "base_env"],
)
def test_a_run_whose_env_somebody_else_has_touched_ends_loudly(build, recorded, touch):
    algorithm = build()
    algorithm.train()
    stored = len(recorded[algorithm])
    touch(algorithm.env_runner)
    for _ in range(2):
        with pytest.raises(
            WorkerError, match=r"Somebody else has stepped or reset the env of worker-0 .* Go on from a checkpoint"
        ):
            algorithm.train()
    assert len(recorded[algorithm]) == stored


@pytest.mark.slow
def test_a_remote_worker_refuses_and_works_on(build):
    algorithm = build(config(fragment_length=5).env_runners(num_env_runners=1))
    algorithm.train()
    [answer] = algorithm.env_runner_group.foreach_env_runner(lambda worker: worker.sample(), local_env_runner=False)
    with pytest.raises(RefusedError, match=r"sample\(\) is refused"):
        answer.agent_steps()
    with pytest.raises(RefusedError, match=r"sample\(\) is refused"):
        synchronous_parallel_sample(worker_set=algorithm.env_runner_group)
    assert algorithm.train()["faults/workers_lost"] == 0


def test_actions_are_the_agent_s_and_count_nowhere(build):
    algorithm = build()
    policy, agent, batch = algorithm.policy, algorithm.agent, observations(5)
    mode = agent.sample_actions(batch, argmax=True)
    generator = agent.state.generator.get_state()
    np.testing.assert_array_equal(policy.compute_actions(batch, explore=False)[0], mode)
    np.testing.assert_array_equal(
        policy.compute_actions([one(batch, index) for index in range(5)], explore=False)[0], mode
    )
    np.testing.assert_array_equal(algorithm.compute_single_action(batch, explore=False), mode)
    single = algorithm.compute_single_action(one(batch), explore=False)
    np.testing.assert_allclose(single, mode[0], atol=1e-6)
    both = algorithm.compute_actions({"left": one(batch), "right": one(batch, 1)}, explore=False)
    np.testing.assert_allclose(np.stack([both["left"], both["right"]]), mode[:2], atol=1e-6)
    action, state, extra = algorithm.compute_single_action(
        input_dict={"obs": one(batch)}, explore=True, full_fetch=True
    )
    assert action.shape == (7,) and (state, extra) == ([], {})
    sampled = [policy.compute_actions(batch, explore=True)[0] for _ in range(2)]
    assert not np.array_equal(*sampled), "noise of its own"
    assert policy.global_timestep == 0 and torch.equal(agent.state.generator.get_state(), generator)
    for given in ({"timestep": 7}, {"prev_reward": 1.0}, {"state": [np.zeros(3)]}, {"clip_action": True}):
        with pytest.raises(RefusedError, match=f"(state_batches|{next(iter(given))}) is .* Leave it out"):
            algorithm.compute_single_action(one(batch), **given)
    with pytest.raises(RefusedError, match="policy_id is 'other'"):
        algorithm.compute_single_action(one(batch), policy_id="other")


MODES = {"single-arm-fixed-gripper": 6, "single-arm-learned-gripper": 7, "dual-arm-learned-gripper": 14}


@pytest.mark.parametrize("setup_mode", MODES)
def test_the_action_distribution_is_the_agent_s_policy(build, setup_mode):
    algorithm = build(setup_mode=setup_mode, env_kwargs={"action_dim": MODES[setup_mode]}, evaluate_every=0)
    policy, layout, batch = algorithm.policy, algorithm.policy.layout, observations(64)
    networks = algorithm.agent.networks
    with torch.no_grad():
        latents = networks.encoder(
            networks.encoder.features({"state": torch.as_tensor(batch["state"])[:, None].to(policy.agent.device)})
        )
        gaussian = networks.actor(latents)
        inputs, _ = policy.model({"obs": batch})
    assert (
        policy.dist_class
        is ModelCatalog.get_action_dist(policy.action_space, policy.model.model_config, framework="torch")[0]
    )
    assert inputs.shape == (64, policy.model.num_outputs)
    distribution = policy.dist_class(inputs, policy.model)
    mode = torch.as_tensor(policy.compute_actions(batch, explore=False)[0], device=inputs.device)
    torch.testing.assert_close(distribution.deterministic_sample(), mode, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(
        distribution.sampled_action_logp(), gaussian.log_prob(layout.continuous(mode)), atol=1e-3, rtol=1e-4
    )
    torch.manual_seed(0)
    sample = distribution.sample()
    torch.manual_seed(0)
    actions, log_prob = gaussian.sample(torch.randn_like(gaussian.mean))
    torch.testing.assert_close(layout.continuous(sample), actions, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(distribution.sampled_action_logp(), log_prob, atol=1e-4, rtol=1e-5)
    halved = layout.join(0.5 * actions, networks.grasp_critic(latents).argmax(-1) if layout.num_grippers else None)
    told = policy.compute_log_likelihoods(halved.cpu().numpy(), batch)
    torch.testing.assert_close(told, gaussian.log_prob(0.5 * actions), atol=1e-4, rtol=1e-5)
    if layout.num_grippers:
        halved[:, layout.gripper_indices[-1]] = (
            halved[:, layout.gripper_indices[-1]] + 2
        ) % 3 - 1  # another of -1, 0, 1
        assert torch.isneginf(policy.compute_log_likelihoods(halved.cpu().numpy(), batch)).all()
    assert torch.isfinite(distribution.logp(layout.join(torch.ones_like(actions), layout.grasp_ids(mode)))).all()
    with pytest.raises(RefusedError, match="no closed form"):
        distribution.entropy()


REFUSED = {
    Algorithm: """get_state set_state from_state __getstate__ __setstate__ export_model export_policy_model
        export_policy_checkpoint add_policy remove_policy get_module add_module remove_module
        evaluate_offline restore_env_runners""",
    RolloutWorker: """sample_with_count sample_and_learn sample_get_state_and_metrics compute_gradients apply_gradients
        add_policy remove_policy get_state set_state set_global_vars""",
    Policy: """get_state set_state from_state from_checkpoint export_checkpoint export_model import_model_from_h5
        compute_gradients apply_gradients load_batch_into_buffer learn_on_loaded_batch
        learn_on_batch_from_replay_buffer""",
}


def test_what_would_learn_or_save_behind_a_run_s_back_is_refused(build):
    algorithm = build(evaluate_every=0)
    before = {name: tensor.clone() for name, tensor in algorithm.agent.state.tensors().items()}
    for base, owner in zip(REFUSED, (algorithm, algorithm.env_runner, algorithm.policy), strict=True):
        for name in REFUSED[base].split():
            assert hasattr(base, name), f"RLlib has no {name} any more"
            with pytest.raises(RefusedError, match=rf"{name}\(\) is refused: \w+"):
                getattr(owner, name)({})
    assert all(torch.equal(before[name], tensor) for name, tensor in algorithm.agent.state.tensors().items())
    for old, new in (("workers", "env_runner_group"), ("evaluation_workers", "eval_env_runner_group")):
        with pytest.raises(AttributeError, match=f"{new}: use that"):
            getattr(algorithm, old)


def test_from_checkpoint_takes_what_save_returns_and_rllib_s_own_names_ours(build, tmp_path):
    algorithm = build()
    algorithm.train()
    saved = algorithm.save(str(tmp_path / "saved"))
    for given in (
        saved,
        saved.checkpoint,
        saved.checkpoint.path,
        tmp_path / "saved",
        tune.Checkpoint(str(tmp_path / "saved")),
    ):
        restored = SERL.from_checkpoint(given, env_name="line_envs:LineEnv")
        assert restored.env_steps == len(restored.online) == 20
        restored.stop()
    for theirs in (Algorithm, Policy):
        with pytest.raises(ValueError, match=r"load it with serl_ray\.rllib\.SERL\.from_checkpoint"):
            theirs.from_checkpoint(str(tmp_path / "saved"))
