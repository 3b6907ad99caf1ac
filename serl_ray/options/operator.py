"""The groups of options about operators."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Interval

from serl_ray.options.groups import Positive
from serl_ray.utils.options import Alias, Options, Role


class PageOptions(Options):
    """The page of operators."""

    title: ClassVar[str] = "operator"

    operator_host: str = "127.0.0.1"
    """Network address of this machine on which the operators' page is served; reach the default one from elsewhere by
    ssh -L."""
    operator_port: Annotated[int, Interval(ge=0, le=65535)] = 8470
    """Port of the operators' page; 0 for a free one."""


class HubOptions(PageOptions):
    """The page of operators, and the limits of their motion."""

    motion_norm: Positive = 1.0
    """Greatest length of an operator's translation and rotation in a step, as a share of full scale."""
    motion_slew: Positive = 0.5
    """Greatest change of each number of an operator's action between two steps, as a share of full scale."""


class OperatorOptions(HubOptions):
    """Operators in the loop of a training run."""

    operated: Annotated[bool, Alias("operator")] = False
    """Let operators watch, take over and label episodes from a browser; the address of their page is printed."""
    attended: bool = False
    """Take env steps only while an operator is connected, for robots that must not act unwatched."""


class ResetOptions(Options):
    """The scene between two episodes."""

    title: ClassVar[str] = "env"

    reset_by: Literal["env", "operator"] = "env"
    """Hand that puts the scene in order before each episode: the env's reset alone, or a person, for whom the robot
    waits after its reset, on the operators' page or, where there is none, in the terminal."""
    reset_message: str = "Put the object back"
    """Words that tell the person what to do before each episode; ", then press Enter." follows them."""

    @property
    def asks(self) -> str:
        """The sentence that asks a person to put the scene in order; empty where nobody has to."""
        return f"{self.reset_message.rstrip('. ')}, then press Enter." if self.reset_by == "operator" else ""


class HybridResetOptions(ResetOptions):
    """The scene between two episodes of a training run."""

    reset_policy: Annotated[str | None, Role.PATH] = None
    """Run folder or checkpoint of a policy that puts the scene in order before each episode; None for none."""
    reset_steps: Annotated[int, Ge(1)] = 50
    """Steps that the reset policy takes before each episode, which are stored and counted nowhere."""


class DeviceOptions(Options):
    """Devices at this computer that drive a robot."""

    title: ClassVar[str] = "devices"

    operator_devices: tuple[str, ...] = ()
    """Devices that drive: paths as `serl devices` lists them, `spacemouse` or `gamepad`. With none, `serl devices`
    takes all SpaceMice, or else a gamepad, and other commands take no device."""
    operator_arm: Annotated[int, Ge(0)] = 0
    """Arm that a device drives first, on a robot of two: 0 for the left one, 1 for the right one."""
    operator_speed: Annotated[float, Interval(gt=0.0, le=1.0)] = 0.5
    """Share of full scale at which devices move the robot."""
    seen_from: Literal["behind", "left", "front", "right"] = "behind"
    """Side of the robot on which the person stands, whose directions are those of the device."""
