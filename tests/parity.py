"""Reading the recordings of the original that the parity tests compare with."""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from serl_ray.agents.agent import Agent
from serl_ray.agents.config import SACConfig
from serl_ray.agents.make import make_agent
from serl_ray.agents.noise import PolicyNoise, UpdateNoise
from serl_ray.networks.config import EncoderConfig, NetworkConfig
from serl_ray.networks.flax import agent_state_dict
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.networks.original import load_flax_agent
from serl_ray.types import ActionLayout

SMALL_DIR = Path(__file__).parent / "data" / "parity"
PARITY_DIR = Path(os.environ.get("SERL_PARITY_DIR", SMALL_DIR))

NEGLIGIBLE_GRADIENT = 1e-7
"""Adam's first steps have the size of the learning rate whatever the gradient's, so rounding decides where one is this
small."""


def recordings(*names: str) -> list[str]:
    """Those of the named files that the folder holds: the small copy in the repository has a part of them."""
    return [name for name in names if (PARITY_DIR / name).is_file()]


class Recording:
    """One npz file; arrays below a path are had as a dict, floats as float32."""

    def __init__(self, name: str) -> None:
        self.arrays = dict(np.load(PARITY_DIR / name))
        self.meta = json.loads(str(self.arrays.pop("meta")))
        self.config = self.meta["config"]

    def __getitem__(self, path: str) -> np.ndarray:
        array = self.arrays[path]
        return array.astype(np.float32) if array.dtype == np.float16 else array

    def tensor(self, path: str) -> torch.Tensor:
        return torch.from_numpy(self[path])

    def below(self, path: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(path + "/"): self[name] for name in self.arrays if name.startswith(path + "/")}

    def __contains__(self, path: str) -> bool:
        return path in self.arrays or any(name.startswith(path + "/") for name in self.arrays)


def assert_close(actual: Any, expected: Any, tolerance: float, what: str = "") -> None:
    """|actual - expected| <= tolerance * (1 + |expected|), everywhere."""
    actual = actual.detach().cpu().numpy() if isinstance(actual, torch.Tensor) else np.asarray(actual)
    expected = expected.detach().cpu().numpy() if isinstance(expected, torch.Tensor) else np.asarray(expected)
    assert actual.shape == expected.shape, f"{what}: {actual.shape} against {expected.shape}"
    error = np.abs(actual - expected) / (1 + np.abs(expected))
    assert error.max(initial=0.0) <= tolerance, f"{what}: off by {error.max():.2e}, allowed {tolerance:.0e}"


class AgentRecording(Recording):
    """A recorded run of the original's agent: start parameters, and some updates with their noise."""

    @cached_property
    def image_keys(self) -> tuple[str, ...]:
        return tuple(self.config.get("image_keys", ()))

    def sac_config(self) -> SACConfig:
        c = self.config
        encoder = EncoderConfig()
        if self.image_keys:
            encoder = EncoderConfig(
                image_size=tuple(c["image_size"]),
                trunk_width=c["resnet_num_filters"],
                spatial_features=c["num_spatial_blocks"],
                image_latent_dim=c["bottleneck_dim"],
                proprio_latent_dim=c["proprio_latent_dim"],
            )
        networks = NetworkConfig(
            encoder=encoder, hidden_dims=tuple(c["hidden_dims"]), critic_ensemble_size=c["critic_ensemble_size"]
        )
        return SACConfig(
            bfloat16="off",
            lr=c["lr"],
            discount=c["discount"],
            tau=c["soft_target_update_rate"],
            target_entropy=c["target_entropy"],
            critic_subsample_size=c["critic_subsample_size"],
            backup_entropy=c["backup_entropy"],
            reward_bias=c["reward_bias"],
            augment=False,
            networks=networks,
        )

    def agent(self) -> Agent:
        grippers = {"SACAgent": 0, "SACAgentHybridSingleArm": 1, "SACAgentHybridDualArm": 2}[self.meta["kind"]]
        layout = ActionLayout.from_sizes(self.config["action_dim"] - grippers, 3**grippers)
        spec = ObservationSpec(self.image_keys, state_dim=self.config["state_dim"])
        agent = make_agent(layout, spec, self.sac_config(), device="cpu")
        load_flax_agent(agent.networks, self.below("in/params"))
        load_flax_agent(agent.target, self.below("in/target_params"))
        return agent

    def rewind_to(self, agent: Agent, step: int) -> None:
        """Parameters, targets and Adam moments as the original had them before `step`."""
        if step == 0:
            return
        load_flax_agent(agent.networks, self.below(f"out/step{step - 1}/params"))
        load_flax_agent(agent.target, self.below(f"out/step{step - 1}/target_params"))
        for name, optimiser in agent.state.optimisers.items():
            for index, moments in enumerate(self._moments(agent, name, step)):
                optimiser.state[index] = moments

    def _moments(self, agent: Agent, name: str, steps: int) -> list[dict[str, torch.Tensor]]:
        """Adam's moments after `steps` recorded gradients; on idle steps the original feeds zeros (REFERENCE section
        10.3)."""
        moments = [(torch.zeros_like(p), torch.zeros_like(p)) for p in agent.state.parameters[name]]
        for step in range(steps):
            if f"out/step{step}/grad/{name}" in self:
                gradients = self.gradients(agent, name, step)
            else:
                gradients = [torch.zeros_like(p) for p in agent.state.parameters[name]]
            moments = [
                (0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2) for (m, v), g in zip(moments, gradients, strict=True)
            ]
        return [{"step": torch.tensor(float(steps)), "exp_avg": m, "exp_avg_sq": v} for m, v in moments]

    def gradients(self, agent: Agent, name: str, step: int) -> list[torch.Tensor]:
        """The recorded gradient of a loss, in the order of the parameters that our loss trains."""
        recorded = agent_state_dict(self.below(f"out/step{step}/grad/{name}"), self.image_keys)
        names = {id(p): n for n, p in agent.networks.named_parameters()}
        return [recorded[names[id(p)]] for p in agent.state.parameters[name]]

    def batch(self, step: int) -> dict[str, Any]:
        batch = self.below(f"in/step{step}/batch")
        nested: dict[str, Any] = {}
        for path, array in batch.items():
            group, _, key = path.rpartition("/")
            (nested.setdefault(group, {}) if group else nested)[key] = array
        return nested

    def noise(self, step: int) -> UpdateNoise:
        passes = {name: self._policy_noise(step, name) for name in ("critic", "actor", "temperature")}
        subset = f"in/step{step}/critic_subsample_idx"
        return UpdateNoise(**passes, critic_subset=self.tensor(subset).long() if subset in self else None)

    def _policy_noise(self, step: int, name: str) -> PolicyNoise | None:
        if f"in/step{step}/eps/{name}" not in self:
            return None
        keep = self.below(f"in/step{step}/dropout_keep/{name}")
        return PolicyNoise(
            self.tensor(f"in/step{step}/eps/{name}"),
            [torch.from_numpy(keep[str(i)]) for i in range(len(self.image_keys))],
        )
