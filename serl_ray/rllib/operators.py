"""Operators of a run: the hub in an actor of its own, and the robots' links to it."""

from __future__ import annotations

import logging
import socket
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium
import ray
from ray.exceptions import ActorDiedError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from serl_ray.files.paths import absolute
from serl_ray.options.operator import OperatorOptions
from serl_ray.options.sets import HybridOptions
from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.hands_off import HandsOffSession
from serl_ray.teleop.keys import new_root
from serl_ray.teleop.limits import Limits
from serl_ray.teleop.review import ReviewSorter, default_output
from serl_ray.teleop.session import Session
from serl_ray.teleop.twists import TwistMap
from serl_ray.teleop.wrapper import OperatedEnv
from serl_ray.types import ActionLayout

if TYPE_CHECKING:
    from serl_ray.teleop.link import Link

logger = logging.getLogger(__name__)

CURVE_METRICS = {
    "env_steps": "env/steps",
    "success": "env/success_rate",
    "autonomous_success": "env/autonomous_success_rate",
    "intervention_rate": "env/intervention_rate",
}
"""Metrics of a result by the names of the page's curves."""
HUB_SECONDS = 60.0
"""Seconds that the hub's process may take to start."""
PORT_TRIES = 3
"""Ports to try where none is given: another process may take one before the hub does."""


@dataclass(frozen=True)
class HubOfRun:
    """The hub of a run, in a Ray actor on the driver's node; Ray starts it anew, with the same secrets, if it dies.

    Attributes:
        page: address of the operators' page, with its secret.
        for_devices: the same for devices at the robot.
        port: port that it listens on.
    """

    actor: ray.actor.ActorHandle
    page: str = field(repr=False)
    for_devices: str = field(repr=False)
    port: int

    def interrupt_robots(self) -> None:
        """Tells all robots that gather experience that the run ends: they wait for no operator any longer."""
        self.actor.interrupt_robots.remote()

    def tell(self, run: str, result: Mapping[str, float]) -> None:
        """Tells clients a result of the run of this name, for its curves."""
        self.actor.tell.remote(run, {name: result[metric] for name, metric in CURVE_METRICS.items()})

    def close(self) -> None:
        """Ends the hub."""
        ray.kill(self.actor)


def hub_name() -> str:
    """A name for the hub of a run, under which its workers find it."""
    return f"serl-hub-{uuid.uuid4().hex}"


def start_hub(name: str, options: OperatorOptions, positives_dir: str | None) -> HubOfRun:
    """Starts the hub of a run on this node.

    Args:
        name: name of its actor.
        options: address of its page.
        positives_dir: folder whose images its page offers for review; None for none.

    Raises:
        OSError: the address or the port cannot be had.
    """
    from serl_ray.teleop.server import THIS_MACHINE, HubServer  # aiohttp, which takes long to import

    host, given = options.operator_host, options.operator_port
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    hub = ray.remote(HubServer).options(name=name, num_cpus=0, max_restarts=-1, scheduling_strategy=here)
    others = [node for node in ray.nodes() if node["Alive"]]
    for_robots = ray.util.get_node_ip_address() if len(others) > 1 and host == THIS_MACHINE else None
    review = _review_of(positives_dir, len(others)) if positives_dir else {}
    for tries_left in reversed(range(1 if given else PORT_TRIES)):
        port = given or _free_port(host)
        _check_free(host, port)
        actor = hub.remote(host, port, new_root(), for_robots, **review)
        pages = [actor.page.remote(role) for role in (ClientRole.OPERATOR, ClientRole.DEVICE)]
        try:
            page, for_devices = ray.get(pages, timeout=HUB_SECONDS)
            break
        except ActorDiedError:
            if not tries_left:
                raise
            ray.kill(actor)  # frees its name
    return HubOfRun(actor, page, for_devices, port)


def _review_of(positives_dir: str, num_nodes: int) -> dict[str, Any]:
    """The arguments of `HubServer` for the review of images."""
    folder = Path(absolute(positives_dir))
    place = f"Only from the disk of {socket.gethostname()}: run serl review on other machines, or share the folder."
    sorter = ReviewSorter(folder, default_output(folder), place=place if num_nodes > 1 else "")
    return {"tabs": ("drive", "fleet", "review"), "sorter": sorter}


def operated_env(env: gymnasium.Env, layout: ActionLayout, settings: Mapping[str, Any]) -> OperatedEnv:
    """A guarded env with the run's operators; `settings` are those of `operator_settings`."""
    limits = Limits(settings["motion_norm"], settings["motion_slew"])
    twist_map = TwistMap.from_env(env, layout, settings["setup_mode"])
    session = HandsOffSession if settings["hands_off"] else Session
    robot = session(layout, limits, settings["attended"], twist_map=twist_map)
    return OperatedEnv(env, robot, asks=settings["asks"])


def link(operated: OperatedEnv, robot: str, settings: Mapping[str, Any]) -> Link:
    """The link of an env to the run's hub, wherever that is at the moment."""
    from serl_ray.teleop.link import Link

    described = operated.described(settings["control_hz"])
    return Link(operated, robot, partial(_address, settings["hub"]), described)


def _address(hub: str) -> dict[str, str]:
    """The address and secret of the hub for robots; ConnectionError where it is not there."""
    try:
        address: dict[str, str] = ray.get(ray.get_actor(hub).robots.remote(), timeout=HUB_SECONDS)
    except (ValueError, RayError) as error:
        raise ConnectionError(f"The run has no hub at the moment: {error}") from error
    return address


def operator_settings(hub: str, options: HybridOptions) -> dict[str, Any]:
    """The part of a worker's `env_config` that is about operators."""
    return {
        "hub": hub,
        "asks": options.resets.asks,
        "setup_mode": options.env.setup_mode,
        "control_hz": options.env.control_hz,
        "attended": options.operator.attended,
        "hands_off": False,
        "motion_norm": options.operator.motion_norm,
        "motion_slew": options.operator.motion_slew,
    }


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _check_free(host: str, port: int) -> None:
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise OSError(
            f"The operators' page cannot be served on {host}:{port} ({error.strerror}). Choose another --operator_port."
        ) from error
