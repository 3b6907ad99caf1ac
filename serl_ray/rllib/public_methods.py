"""RLlib's public methods of an algorithm: those that play and act, made of a run's own parts, and those that are
refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.policy.sample_batch import DEFAULT_POLICY_ID
from ray.rllib.utils.annotations import override

from serl_ray.data.observations import Observation
from serl_ray.rllib.failures import WorkerError
from serl_ray.rllib.policy import SERLPolicy
from serl_ray.rllib.refusals import ONE_POLICY, RefusedError, refuse_given, refuses
from serl_ray.rllib.saving import SavedAlgorithm

Acted = tuple[Any, list[Any], dict[str, Any]]
"""An action, or what holds some, and RLlib's states and extras, of which there are none."""

NO_MODULE = "there are no RLModules on RLlib's classic stack. Use get_policy()."
RLLIB_STATE = "RLlib's own state holds a part of the run only, and is a pickle. Call save() and restore()."
EXPORTS = "RLlib would write a pickle. Call save(), or save_agent for the networks alone."


@refuses(
    {
        **dict.fromkeys(("get_state", "set_state", "__getstate__", "__setstate__", "from_state"), RLLIB_STATE),
        **dict.fromkeys(("export_model", "export_policy_model", "export_policy_checkpoint"), EXPORTS),
        **dict.fromkeys(("add_policy", "remove_policy"), ONE_POLICY),
        **dict.fromkeys(("get_module", "add_module", "remove_module"), NO_MODULE),
        **dict.fromkeys(
            ("restore_env_runners", "restore_workers", "restore_offline_eval_runners"),
            "workers that are lost are replaced by train().",
        ),
        "set_weights": "acting weights are a part of the agent's. Call restore(), or set init_from.",
        "evaluate_offline": "there are no offline evaluation runners. Call evaluate().",
    }
)
class PublicMethods(SavedAlgorithm):
    """An algorithm whose public methods leave its run as it is."""

    policy: SERLPolicy

    @override(Algorithm)
    def evaluate(self, parallel_train_future: Any = None) -> dict[str, Any]:
        """Plays `evaluation_episodes` deterministic episodes with the weights as they are, on the evaluation workers.

        Returns:
            RLlib's results: `env_runners` with `episode_return_mean`, `episode_len_mean`, `num_episodes` and the like,
            where episodes were played; and the metrics `evaluation/...` and `held_out/...` that are known.

        Raises:
            RefusedError: the only env is the one that the run gathers its experience in.
            WorkerError: the evaluation has failed, or was stopped before its end.
        """
        refuse_given("evaluate()", {"parallel_train_future": parallel_train_future})
        if not self.can_evaluate:
            raise RefusedError(
                "evaluate() needs an env of its own, and this run has none: evaluate_every is "
                f"{self.options.evaluation.evaluate_every}, env_name {self.options.env.env_name!r}. "
                "Set .training(evaluate_every=STEPS), or .evaluation(evaluation_num_env_runners=1) for a worker "
                "that plays only when it is asked."
            )
        episodes = self.play_evaluation()
        if not episodes and self.eval_env_runner_group is not None:
            raise WorkerError(
                "The run has been told to stop (should_stop), and so its evaluation did not come to its end."
            )
        return self.evaluated

    @override(Algorithm)
    def compute_single_action(
        self,
        observation: Observation | None = None,
        state: Any = None,
        *,
        input_dict: Mapping[str, Any] | None = None,
        policy_id: str = DEFAULT_POLICY_ID,
        full_fetch: bool = False,
        explore: bool | None = None,
        **others: Any,
    ) -> np.ndarray | Acted:
        """The env action (A + G,) for an observation, or (B, A + G) for a batch; the run goes on as if it had not been
        asked.

        Args:
            observation: as the env returns it; with a frame stack (T, ...).
            input_dict: holds the observation as `obs`, in place of `observation`.
            full_fetch: whether to return RLlib's states and extras, which are empty, beside the action.
            explore: whether to sample, or to act with the policy's mode; the config's `explore` by default.
        """
        _check_one_policy(policy_id)
        observation = observation if input_dict is None else input_dict["obs"]
        acted = self.policy.compute_single_action(observation, state, explore=explore, **others)
        return acted if full_fetch else acted[0]

    @override(Algorithm)
    def compute_actions(
        self,
        observations: Mapping[Any, Observation],
        state: Any = None,
        *,
        policy_id: str = DEFAULT_POLICY_ID,
        full_fetch: bool = False,
        explore: bool | None = None,
        **others: Any,
    ) -> dict[Any, np.ndarray] | Acted:
        """Env actions (A + G,) by the names under which the observations are given; see `compute_single_action`."""
        _check_one_policy(policy_id)
        actions, states, extras = self.policy.compute_actions(
            list(observations.values()), state, explore=explore, **others
        )
        named = dict(zip(observations, actions, strict=True))
        return (named, states, extras) if full_fetch else named

    @property
    def workers(self) -> NoReturn:
        """RLlib's old name of `env_runner_group`."""
        raise AttributeError("workers is RLlib's old name of env_runner_group: use that.")

    @property
    def evaluation_workers(self) -> NoReturn:
        """RLlib's old name of `eval_env_runner_group`."""
        raise AttributeError("evaluation_workers is RLlib's old name of eval_env_runner_group: use that.")


def _check_one_policy(policy_id: str) -> None:
    if policy_id != DEFAULT_POLICY_ID:
        raise RefusedError(
            f"policy_id is {policy_id!r}, and a run has the one policy {DEFAULT_POLICY_ID!r}. Leave it out."
        )
