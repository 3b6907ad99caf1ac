"""Shared terms of all packages: shape letters, batches, and the layout and the scale of actions.

Shape letters, used in every public docstring:

    B batch    T stacked frames    E ensemble    A continuous action    G grippers    K choices of all grippers together
    H W C image (uint8, channels last, as cameras give it)    D feature
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
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

REMOTE = "remote"
"""Name of the env of a robot that another computer moves; it keeps time itself."""

Batch = dict[str, Any]
"""Transitions by field, each (B, ...): `actions`, `rewards`, `masks`, ..., and `observations` and `next_observations`,
which are dicts of images and `state`."""

GRIPPER_COMMANDS = (-1.0, 0.0, 1.0)
"""Commands of a gripper in an env: close, hold, open."""
GRIPPER_CHOICES = len(GRIPPER_COMMANDS)
"""Number of choices of a gripper; the grasp critic numbers the commands 0, 1, 2."""
GRASP_PENALTY = -0.02
"""Penalty of each useless gripper command: closing a closed gripper, or opening an open one."""


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


@dataclass(frozen=True)
class ActionScale:
    """Symmetric map of actions: each number is divided by its greatest absolute value, so that 0 stays 0.

    Grippers are apart: their commands -1, 0, 1 stay as they are, and 0, 1, 2 or other values of these commands become
    -1, 0, 1.

    Attributes:
        limits: divisors (A,), in the units of the robot; 1 for a number that is always 0, below 0 for a gripper whose
            greater value closes it.
        offsets: numbers (A,) that are subtracted before; 0 except for grippers.
        grippers: indices of the grippers.
    """

    limits: tuple[float, ...]
    offsets: tuple[float, ...]
    grippers: tuple[int, ...]

    def apply(self, actions: np.ndarray) -> np.ndarray:
        """Actions (..., A) in [-1, 1], float32, from recorded ones."""
        scaled: np.ndarray = ((actions - np.array(self.offsets)) / np.array(self.limits)).astype(np.float32)
        return scaled

    def invert(self, actions: np.ndarray) -> np.ndarray:
        """Actions (..., A) in the units of the robot, float32, from an agent's."""
        recorded: np.ndarray = (actions * np.array(self.limits) + np.array(self.offsets)).astype(np.float32)
        return recorded

    def lines(self) -> list[str]:
        """A description for people: the limit of each number."""
        return [f"action[{index}]: {self._describe(index)}" for index in range(len(self.limits))]

    def _describe(self, index: int) -> str:
        limit, offset = self.limits[index], self.offsets[index]
        if index not in self.grippers:
            return f"divided by {limit:.9g}"
        if (limit, offset) == (1.0, 0.0):
            return "gripper, as it is"
        return f"gripper, {offset - limit:g}, {offset:g}, {offset + limit:g} become -1, 0, 1 (close, hold, open)"

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> ActionScale:
        """The scale in untrusted text.

        Raises:
            ValueError: the text is damaged.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the scale of the actions is damaged ({type(error).__name__}: {error})") from error
        return cls.from_fields(fields)

    @classmethod
    def from_fields(cls, fields: Any) -> ActionScale:
        """The scale with untrusted fields, as JSON holds them.

        Raises:
            ValueError: the fields are damaged.
        """
        try:
            limits, offsets = (tuple(float(value) for value in fields[name]) for name in ("limits", "offsets"))
            grippers = tuple(int(index) for index in fields["grippers"])
        except (ValueError, LookupError, TypeError, OverflowError) as error:
            raise ValueError(f"the scale of the actions is damaged ({type(error).__name__}: {error})") from error
        is_positive = all(limit > 0 or (limit < 0 and index in grippers) for index, limit in enumerate(limits))
        if len(limits) != len(offsets) or not np.isfinite([*limits, *offsets]).all() or not is_positive:
            raise ValueError("the scale of the actions is damaged (its limits are not numbers above 0)")
        return cls(limits, offsets, grippers)
