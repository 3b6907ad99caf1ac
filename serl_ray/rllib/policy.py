"""The agent as an RLlib policy of the classic stack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from ray.rllib.models import ActionDistribution, ModelCatalog, ModelV2
from ray.rllib.policy.policy import Policy
from ray.rllib.policy.torch_policy_v2 import TorchPolicyV2
from ray.rllib.utils.annotations import override

from serl_ray.agents.make import make_agent
from serl_ray.data.observations import Observation, stack_observations
from serl_ray.networks.inputs import to_tensors
from serl_ray.options.sets import HybridOptions, options_in
from serl_ray.rllib.distribution import DIST_NAME
from serl_ray.rllib.failures import LearnerError
from serl_ray.rllib.models import MODEL_NAME, observation_spec, register_model
from serl_ray.rllib.refusals import refuse_given, refuses
from serl_ray.types import ActionLayout, Batch
from serl_ray.utils.device import device_named

CPU = torch.device("cpu")


NO_LEARNING = "the agent owns its optimisers. Call the algorithm's train(), or agent.update(batch)."
SAVE_INSTEAD = "Call the algorithm's save() and restore(), or save_agent and load_agent for the networks alone."
PART_OF_A_RUN = f"RLlib's policy state holds only a part of the run. {SAVE_INSTEAD}"
NO_PICKLE = f"RLlib would write or load a pickle. {SAVE_INSTEAD}"


@refuses(
    {
        **dict.fromkeys(("compute_gradients", "apply_gradients", "load_batch_into_buffer"), NO_LEARNING),
        **dict.fromkeys(("learn_on_loaded_batch", "learn_on_batch_from_replay_buffer"), NO_LEARNING),
        **dict.fromkeys(("get_state", "set_state", "from_state"), PART_OF_A_RUN),
        **dict.fromkeys(("export_checkpoint", "export_model", "import_model_from_h5", "from_checkpoint"), NO_PICKLE),
    }
)
class SERLPolicy(TorchPolicyV2):
    """A thin shell: RLlib's model holds the networks, `agent` acts with them and trains them.

    The local worker's policy is the learner and works on the config's `device`; remote workers act on the CPU.
    """

    def __init__(
        self, observation_space: gymnasium.spaces.Dict, action_space: gymnasium.spaces.Box, config: dict[str, Any]
    ) -> None:
        self.options = options_in(config)
        self.layout = ActionLayout.from_setup(self.options.env.setup_mode, action_space.shape[0])
        super().__init__(observation_space, action_space, config)
        self._is_looked_at = isinstance(self.options, HybridOptions) and self.options.operator.operated
        worker_index = config["worker_index"]
        device = CPU if worker_index else device_named(config["device"])
        seed = config["seed"] or 0
        self.agent = make_agent(
            self.layout,
            self.model.spec,
            self.options.agent_config(),
            device=device,
            seed=seed + worker_index,
            networks=self.model.networks,
        )
        self.rng = np.random.default_rng([seed, worker_index])
        self._visitors = torch.Generator().manual_seed(seed + worker_index)  # for whoever asks beside the run

    @override(TorchPolicyV2)
    def make_model_and_action_dist(self) -> tuple[ModelV2, type[ActionDistribution]]:
        spec = observation_spec(self.observation_space, self.options.env)
        custom = {
            "config": self.options.agent.networks,
            "layout": self.layout,
            "spec": spec,
            "seed": self.config["seed"] or 0,
        }
        register_model()
        described = {"custom_model": MODEL_NAME, "custom_model_config": custom, "custom_action_dist": DIST_NAME}
        model = {**self.config["model"], **described}
        distribution, num_outputs = ModelCatalog.get_action_dist(self.action_space, model, framework="torch")
        spaces = self.observation_space, self.action_space
        return ModelCatalog.get_model_v2(*spaces, num_outputs, model, framework="torch"), distribution

    @override(TorchPolicyV2)
    def optimizer(self) -> list[torch.optim.Optimizer]:
        """None: the agent owns its optimisers, one for each loss, and steps them itself."""
        return []

    def act(self, observations: Observation) -> np.ndarray:
        """The run's next env actions (B, A + G): random ones for its first `random_steps` env steps, then the
        agent's."""
        batch_size = len(next(iter(observations.values())))
        explore = self.config["explore"]
        if explore and self.global_timestep < self.options.learning.random_steps:
            actions = self.layout.random(self.rng, batch_size)
        else:
            actions = self.agent.sample_actions(observations, argmax=not explore)
        self.global_timestep += batch_size
        return actions

    @override(TorchPolicyV2)
    def compute_actions(
        self,
        obs_batch: Observation | Sequence[Observation],
        state_batches: Any = None,
        *,
        explore: bool | None = None,
        **others: Any,
    ) -> tuple[np.ndarray, list[Any], dict[str, Any]]:
        """The agent's env actions (B, A + G) for whoever asks; the run's counters and random numbers stay as they are.

        Args:
            obs_batch: observations (B, ...), or B of them.
            explore: whether to sample, or to act with the policy's mode; the config's `explore` by default.
            others: RLlib's other arguments, none of which has a say.
        """
        refuse_given("compute_actions", {"state_batches": state_batches, **others})
        is_list = isinstance(obs_batch, list | tuple)
        tensors, is_single = to_tensors(
            stack_observations(obs_batch) if is_list else obs_batch, self.model.spec, self.agent.device
        )
        explore = self.config["explore"] if explore is None else explore
        size = len(next(iter(tensors.values()))), self.layout.continuous_dim
        eps = torch.randn(size, generator=self._visitors).to(self.agent.device) if explore else None
        actions = self.agent.sample_actions(tensors, argmax=not explore, eps=eps)
        return actions[0] if is_single else actions, [], {}

    @override(TorchPolicyV2)
    def compute_actions_from_input_dict(
        self, input_dict: Mapping[str, Any], explore: bool | None = None, timestep: int | None = None, **others: Any
    ) -> tuple[np.ndarray, list[Any], dict[str, Any]]:
        """Actions for `input_dict["obs"]`; see `compute_actions`."""
        return self.compute_actions(input_dict["obs"], explore=explore, timestep=timestep, **others)

    @override(Policy)
    def compute_single_action(
        self,
        obs: Observation | None = None,
        state: Any = None,
        *,
        input_dict: Mapping[str, Any] | None = None,
        **others: Any,
    ) -> tuple[np.ndarray, list[Any], dict[str, Any]]:
        """Action (A + G,) for one observation without a batch axis; see `compute_actions`."""
        return self.compute_actions(obs if input_dict is None else input_dict["obs"], state, **others)

    @override(TorchPolicyV2)
    def learn_on_batch(self, batch: Batch, critics_only: bool = False) -> dict[str, float]:
        """One update of the agent; metrics named `group/name`."""
        return self.agent.update(batch, critics_only)

    @override(TorchPolicyV2)
    def get_weights(self) -> dict[str, np.ndarray]:
        """The acting weights: all that a rollout worker needs, without a frozen trunk. Where operators may look, the
        critics are among them.

        Raises:
            LearnerError: some are NaN or infinite; nobody acts with them.
        """
        weights = {
            name: tensor.cpu().numpy() for name, tensor in self.agent.state.acting_tensors(self._is_looked_at).items()
        }
        if bad := [name for name, array in weights.items() if not np.isfinite(array).all()]:
            raise LearnerError(
                f"{bad[0]} holds NaN or infinite numbers, so nobody acts with it. Go on from a checkpoint."
            )
        return weights

    @override(TorchPolicyV2)
    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        self.agent.state.load_acting_tensors({name: torch.tensor(array) for name, array in weights.items()})

    @override(Policy)
    def get_initial_state(self) -> list[Any]:
        return []
