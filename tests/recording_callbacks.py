"""Callbacks as a user of RLlib writes them, which remember how they were called."""

from __future__ import annotations

import numpy as np
from ray.rllib.callbacks.callbacks import RLlibCallback

CALLS: list[tuple[str, dict]] = []
"""Hooks in this process, in their order, with what they were given."""


def calls(hook):
    """What one hook was given, each time."""
    return [given for name, given in CALLS if name == hook]


class Recording(RLlibCallback):
    """Remembers every call in this process, and measures each episode."""

    def on_algorithm_init(self, *, algorithm, **kwargs):
        CALLS.append(("on_algorithm_init", {"steps": algorithm.steps, "options": algorithm.options, **kwargs}))

    def on_sub_environment_created(self, **kwargs):
        CALLS.append(("on_sub_environment_created", kwargs))

    def on_episode_created(self, *, episode, **kwargs):
        CALLS.append(("on_episode_created", {"length": episode.length, **kwargs}))

    def on_episode_start(self, *, episode, worker, base_env, policies, env_index, **kwargs):
        assert base_env.get_sub_environments() and policies["default_policy"] is worker.get_policy()
        episode.user_data["moved"] = 0.0
        CALLS.append(
            ("on_episode_start", {"length": episode.length, "first": episode.last_observation, "index": env_index})
        )

    def on_episode_step(self, *, episode, **kwargs):
        episode.user_data["moved"] += float(np.abs(episode.last_action[:2]).sum())
        given = {
            "observation": episode.last_observation,
            "action": episode.last_action,
            "info": episode.last_info_for("agent0"),
        }
        CALLS.append(("on_episode_step", {**given, "length": episode.length, "reward": episode.last_reward}))

    def on_episode_end(self, *, episode, worker, **kwargs):
        episode.custom_metrics["moved"] = episode.user_data["moved"]
        outcome = {"return": episode.total_reward, "length": episode.length, "moved": episode.user_data["moved"]}
        ends = {"terminated": episode.is_terminated("agent0"), "truncated": episode.is_truncated("agent0")}
        CALLS.append(("on_episode_end", {**outcome, **ends, "in_evaluation": worker.config.in_evaluation}))

    def on_sample_end(self, *, worker, samples, **kwargs):
        CALLS.append(("on_sample_end", {"samples": samples}))

    def on_learn_on_batch(self, *, policy, train_batch, result, **kwargs):
        result["mean_reward"] = float(np.mean(train_batch["rewards"]))
        CALLS.append(("on_learn_on_batch", {"rewards": np.array(train_batch["rewards"]), "policy": policy}))

    def on_train_result(self, *, algorithm, result, **kwargs):
        result["mine"] = algorithm.env_steps
        CALLS.append(("on_train_result", {"result": result, **kwargs}))

    def on_evaluate_start(self, *, algorithm, **kwargs):
        CALLS.append(("on_evaluate_start", {"steps": algorithm.steps}))

    def on_evaluate_end(self, *, algorithm, evaluation_metrics, **kwargs):
        evaluation_metrics["judged"] = 3.0
        CALLS.append(("on_evaluate_end", {"metrics": evaluation_metrics}))

    def on_checkpoint_loaded(self, *, algorithm, **kwargs):
        CALLS.append(("on_checkpoint_loaded", {"steps": algorithm.env_steps}))
