"""The agent as an RLlib policy of the classic stack."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import torch
from ray.rllib.models import ModelCatalog, ModelV2
from ray.rllib.policy.policy import Policy
from ray.rllib.policy.torch_policy_v2 import TorchPolicyV2
from ray.rllib.utils.annotations import override

from serl_ray.agents.sac import make_agent
from serl_ray.rllib.failures import LearnerError
from serl_ray.rllib.models import MODEL_NAME, register_model
from serl_ray.settings import settings_of
from serl_ray.types import ActionLayout, Batch
from serl_ray.utils.device import pick_device

CPU = torch.device("cpu")


class SERLPolicy(TorchPolicyV2):
    """A thin shell: RLlib's model holds the networks, `agent` acts with them and trains them.

    The local worker's policy is the learner and takes the best device; remote workers act on the CPU.
    """

    def __init__(
        self, observation_space: gymnasium.spaces.Dict, action_space: gymnasium.spaces.Box, config: dict[str, Any]
    ) -> None:
        self.settings = settings_of(config)
        self.layout = ActionLayout.from_setup(self.settings.setup_mode, action_space.shape[0])
        super().__init__(observation_space, action_space, config)
        worker_index = config["worker_index"]
        device = CPU if worker_index else pick_device()
        seed = config["seed"] or 0
        self.agent = make_agent(
            self.layout, self.settings.image_keys, self.settings.sac_config(), device=device, seed=seed + worker_index
        )
        self.agent.build(self.model.spec, self.model.networks)
        self.rng = np.random.default_rng([seed, worker_index])

    @override(TorchPolicyV2)
    def make_model(self) -> ModelV2:
        custom = {"sac_config": self.settings.sac_config(), "layout": self.layout, "seed": self.config["seed"] or 0}
        register_model()
        return ModelCatalog.get_model_v2(
            self.observation_space,
            self.action_space,
            2 * self.layout.continuous_dim,
            {**self.config["model"], "custom_model": MODEL_NAME, "custom_model_config": custom},
            framework="torch",
        )

    @override(TorchPolicyV2)
    def optimizer(self) -> list[torch.optim.Optimizer]:
        """None: the agent owns one a loss, and steps them itself."""
        return []

    @override(Policy)
    def compute_actions_from_input_dict(
        self, input_dict: dict[str, Any], explore: bool | None = None, timestep: int | None = None, **kwargs: Any
    ) -> tuple[np.ndarray, list[Any], dict[str, Any]]:
        """Env actions (B, A + G): random ones for the first `random_steps` env steps of the run, then the agent's."""
        observations = input_dict["obs"]
        batch_size = len(next(iter(observations.values())))
        explore = self.config["explore"] if explore is None else explore
        if explore and self.global_timestep < self.settings.random_steps:
            actions = self.layout.random(self.rng, batch_size)
        else:
            actions = self.agent.sample_actions(observations, argmax=not explore)
        self.global_timestep += batch_size
        return actions, [], {}

    @override(TorchPolicyV2)
    def learn_on_batch(self, batch: Batch, critics_only: bool = False) -> dict[str, float]:
        """One update of the agent; metrics named `group/name`."""
        return self.agent.update(batch, critics_only)

    @override(TorchPolicyV2)
    def get_weights(self) -> dict[str, np.ndarray]:
        """The acting weights: all that a rollout worker needs, without a frozen trunk.

        Raises:
            LearnerError: some are no numbers; nobody acts with them.
        """
        weights = {name: tensor.cpu().numpy() for name, tensor in self.agent.acting_tensors().items()}
        if bad := [name for name, array in weights.items() if not np.isfinite(array).all()]:
            raise LearnerError(f"{bad[0]} holds what are no finite numbers, so nobody acts with it. Go on from a checkpoint.")
        return weights

    @override(TorchPolicyV2)
    def set_weights(self, weights: dict[str, np.ndarray]) -> None:
        self.agent.load_acting_tensors({name: torch.tensor(array) for name, array in weights.items()})

    @override(Policy)
    def get_initial_state(self) -> list[Any]:
        return []
