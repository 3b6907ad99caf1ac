"""The state of training: networks, targets, optimisers and random generator, saved and restored as a whole."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping

import torch
from torch import nn

from serl_ray.networks.actor_critic import AgentNetworks
from serl_ray.networks.inputs import Tensors
from serl_ray.networks.kernels import Adam, lerp_

logger = logging.getLogger(__name__)

GENERATOR = "generator."
"""Prefix of the generator's tensor; the kind of device follows, because each kind has its own format of state."""
CRITIC = "critic."
ACTING = ("actor.", "grasp_critic.", "encoder.")
TRUNK = "encoder.trunk."


class TrainingState:
    """Networks, their targets, one optimiser for each loss, and the generator of all noise.

    Args:
        networks: networks on their device.
        parameters: trained parameters by the name of the loss.
        lrs: step size of Adam by the name of the loss.
        seed: seed of the generator.

    Attributes:
        target: target networks; a frozen trunk is shared.
        optimisers: Adam by the name of the loss; a parameter of several losses has a moment in each (REFERENCE 4.5).
        generator: random generator on the networks' device.
    """

    def __init__(
        self, networks: AgentNetworks, parameters: Mapping[str, list[nn.Parameter]], lrs: Mapping[str, float], seed: int
    ) -> None:
        self.networks, self.parameters, self._seed = networks, parameters, seed
        frozen_trunk = networks.encoder.trunk if networks.encoder.is_frozen else None
        self.target = copy.deepcopy(networks, {id(frozen_trunk): frozen_trunk}).requires_grad_(False)
        pairs = [(t, o) for t, o in zip(self.target.parameters(), networks.parameters(), strict=True) if t is not o]
        self._target_parameters: list[torch.Tensor] = [t for t, _ in pairs]
        self._network_parameters: list[torch.Tensor] = [o for _, o in pairs]
        self.optimisers = {name: Adam(own, lrs[name]) for name, own in parameters.items()}
        self.generator = torch.Generator(networks.temperature.lagrange.device).manual_seed(seed)

    def step(self, gradients: Mapping[str, tuple[torch.Tensor | None, ...]]) -> None:
        """One Adam step for each loss, in the order given."""
        for name, grads in gradients.items():
            self.optimisers[name].step(grads)

    def update_target(self, tau: float) -> None:
        """Sets target = tau * networks + (1 - tau) * target for every network."""
        lerp_(self._target_parameters, self._network_parameters, tau)

    def tensors(self) -> Tensors:
        """Tensors by name: networks, targets without a shared trunk, Adam moments and the generator's state."""
        tensors = {f"networks.{name}": tensor for name, tensor in self.networks.state_dict().items()}
        tensors |= {
            f"target.{name}": tensor for name, tensor in self.target.state_dict().items() if not self._is_shared(name)
        }
        for name, optimiser in self.optimisers.items():
            for index, state in enumerate(optimiser.state):
                tensors |= {f"optimiser.{name}.{index}.{key}": value for key, value in state.items()}
        tensors[self._generator_name] = self.generator.get_state()
        return tensors

    def check(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Raises ValueError for tensors that do not fit this state; nothing is changed."""
        expected = {name: (t.shape, t.dtype) for name, t in self.tensors().items() if not name.startswith(GENERATOR)}
        found = {name: (t.shape, t.dtype) for name, t in tensors.items() if not name.startswith(GENERATOR)}
        if expected != found:
            missing, surplus = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
            different = sorted(name for name in expected.keys() & found.keys() if expected[name] != found[name])
            raise ValueError(
                f"The checkpoint does not fit this agent: missing {missing or 'none'}, surplus {surplus or 'none'}, "
                f"of another shape or type {different or 'none'}."
            )
        if sum(name.startswith(GENERATOR) for name in tensors) != 1:
            raise ValueError(
                "The checkpoint does not fit this agent: it needs the state of exactly one random generator."
            )
        if self._generator_name in tensors:
            try:
                torch.Generator(self.generator.device).set_state(tensors[self._generator_name].cpu())
            except (RuntimeError, TypeError) as error:
                raise ValueError(f"The checkpoint's generator holds no state of a random generator: {error}") from error

    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Loads the result of `tensors`, all of it or nothing.

        The generator gets a new seed if the state was saved on another kind of device, whose random numbers cannot
        continue.

        Raises:
            ValueError: the tensors do not fit.
        """
        self.check(tensors)
        self.networks.load_state_dict(_under(tensors, "networks."))
        self.target.load_state_dict(_under(tensors, "target."), strict=False)
        for name, optimiser in self.optimisers.items():
            for index, state in enumerate(optimiser.state):
                for key, own in state.items():
                    own.copy_(tensors[f"optimiser.{name}.{index}.{key}"])
        if self._generator_name in tensors:
            self.generator.set_state(tensors[self._generator_name].cpu())
        else:
            self.generator.manual_seed(self._seed + 1_000_003 * (1 + self._num_steps()))
            logger.info("The checkpoint is from another kind of device, so random numbers start from a new seed.")

    def acting_tensors(self, with_critics: bool = False) -> Tensors:
        """The tensors needed for acting, without a frozen trunk; rollout workers get them after updates. With the
        critics they also tell what the policy thinks of its actions."""
        prefixes = (*ACTING, CRITIC) if with_critics else ACTING
        tensors = self.networks.state_dict().items()
        return {name: tensor for name, tensor in tensors if name.startswith(prefixes) and not self._is_shared(name)}

    def load_acting_tensors(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Loads the `acting_tensors` of another state, with or without its critics."""
        _, surplus = self.networks.load_state_dict(tensors, strict=False)
        with_critics = any(name.startswith(CRITIC) for name in tensors)
        if surplus or tensors.keys() != self.acting_tensors(with_critics).keys():
            raise ValueError("These acting tensors are not of an agent with the same networks.")

    @property
    def _generator_name(self) -> str:
        return f"{GENERATOR}{self.generator.device.type}"

    def _is_shared(self, name: str) -> bool:
        return self.networks.encoder.is_frozen and name.startswith(TRUNK)

    def _num_steps(self) -> int:
        return max((int(state["step"]) for state in self.optimisers["critic"].state), default=0)


def _under(tensors: Mapping[str, torch.Tensor], prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
