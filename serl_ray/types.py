"""Shared terms of all packages: shape letters, batches and action layouts.

Shape letters, used in every public docstring:

    B batch    T stacked frames    E ensemble    A continuous action    G grippers    K choices of all grippers together
    H W C image (uint8, channels last, as cameras give it)    D feature
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

if TYPE_CHECKING:
    import torch

SetupMode = Literal[
    "single-arm-fixed-gripper",
    "single-arm-learned-gripper",
    "dual-arm-fixed-gripper",
    "dual-arm-learned-gripper",
]
SETUP_MODES: tuple[str, ...] = get_args(SetupMode)

Batch = dict[str, Any]
"""Transitions by field, each (B, ...): `actions`, `rewards`, `masks`, ..., and `observations` and `next_observations`,
which are dicts of images and `state`."""

GRIPPER_COMMANDS = (-1.0, 0.0, 1.0)
"""Commands of a gripper in an env: close, hold, open."""
GRIPPER_CHOICES = len(GRIPPER_COMMANDS)
"""Number of choices of a gripper; the grasp critic numbers the commands 0, 1, 2."""


@dataclass(frozen=True)
class ActionLayout:
    """Continuous and gripper dimensions of an env action.

    All differences between one arm and two, and between fixed and learned grippers, follow from it (REFERENCE section
    3).
    """

    continuous_indices: tuple[int, ...]
    gripper_indices: tuple[int, ...] = ()

    @classmethod
    def from_setup(cls, setup_mode: str, action_dim: int) -> ActionLayout:
        """The layout of `action_dim` numbers; each arm's gripper is the last of its own numbers."""
        if setup_mode not in SETUP_MODES:
            raise ValueError(f"setup_mode is {setup_mode!r}; choose one of {', '.join(SETUP_MODES)}.")
        num_arms = 2 if setup_mode.startswith("dual") else 1
        per_arm, left_over = divmod(action_dim, num_arms)
        learned = setup_mode.endswith("learned-gripper")
        if left_over or per_arm < 1 + learned:
            raise ValueError(
                f"An action of {action_dim} numbers cannot be {setup_mode}: {num_arms} arm(s) with equally many "
                f"dimensions{', the last of them the gripper' if learned else ''}. Choose your env's set-up, or change "
                "its action space."
            )
        grippers = tuple(per_arm * arm + per_arm - 1 for arm in range(num_arms)) if learned else ()
        return cls(tuple(i for i in range(action_dim) if i not in grippers), grippers)

    @classmethod
    def from_sizes(cls, continuous_dim: int, grasp_choices: int = 1) -> ActionLayout:
        """The layout with `continuous_dim` numbers and a grasp critic with 1 (no gripper), 3 or 9 outputs."""
        modes = {1: "single-arm-fixed-gripper", 3: "single-arm-learned-gripper", 9: "dual-arm-learned-gripper"}
        if grasp_choices not in modes:
            raise ValueError(f"A grasp critic has 3 outputs for one gripper or 9 for two, not {grasp_choices}.")
        num_grippers = {1: 0, 3: 1, 9: 2}[grasp_choices]
        return cls.from_setup(modes[grasp_choices], continuous_dim + num_grippers)

    @property
    def action_dim(self) -> int:
        return len(self.continuous_indices) + len(self.gripper_indices)

    @property
    def continuous_dim(self) -> int:
        return len(self.continuous_indices)

    @property
    def num_grippers(self) -> int:
        return len(self.gripper_indices)

    @property
    def grasp_choices(self) -> int:
        """K, the number of joint gripper choices; 1 without learned grippers."""
        return int(GRIPPER_CHOICES**self.num_grippers)

    def continuous(self, actions: torch.Tensor) -> torch.Tensor:
        """The continuous part (..., A) of env actions (..., A + G)."""
        return actions[..., self.continuous_indices]

    def grasp_ids(self, actions: torch.Tensor) -> torch.Tensor:
        """Joint gripper choices (...,) in {0 .. K-1} of env actions (..., A + G); the first gripper is the major
        digit."""
        digits = actions[..., self.gripper_indices].round().long() + 1  # (..., G); rounds half to even
        place_values = digits.new_tensor([GRIPPER_CHOICES**g for g in reversed(range(self.num_grippers))])
        return (digits * place_values).sum(-1)

    def join(self, continuous: torch.Tensor, grasp_ids: torch.Tensor | None = None) -> torch.Tensor:
        """Env actions (..., A + G) from a continuous part (..., A) and joint gripper choices (...,)."""
        actions = continuous.new_zeros((*continuous.shape[:-1], self.action_dim))
        actions[..., self.continuous_indices] = continuous
        for place, index in enumerate(reversed(self.gripper_indices)):
            actions[..., index] = (grasp_ids // GRIPPER_CHOICES**place % GRIPPER_CHOICES - 1).to(continuous.dtype)
        return actions

    def random(self, rng: np.random.Generator, batch_size: int) -> np.ndarray:
        """Uniform env actions (B, A + G), float32: continuous numbers in [-1, 1), grippers in {-1, 0, 1}."""
        actions = rng.uniform(-1.0, 1.0, (batch_size, self.action_dim)).astype(np.float32)
        actions[:, self.gripper_indices] = rng.integers(-1, 2, (batch_size, self.num_grippers))
        return actions
