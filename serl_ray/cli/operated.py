"""An env that an operator drives from a browser, without a training run."""

from __future__ import annotations

from collections.abc import Sequence

import gymnasium

from serl_ray.options.operator import DeviceOptions, HubOptions
from serl_ray.teleop.devices.client import DeskAddress, DeviceClient, DeviceThread
from serl_ray.teleop.devices.finding import open_devices
from serl_ray.teleop.devices.hands import Grasp
from serl_ray.teleop.devices.motion import Device
from serl_ray.teleop.episodes import SessionEpisodes
from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.limits import Limits
from serl_ray.teleop.link import Link
from serl_ray.teleop.messages import Tab
from serl_ray.teleop.server import HubServer, how_to_reach
from serl_ray.teleop.session import Session
from serl_ray.teleop.sorting import Sorter
from serl_ray.teleop.twists import TwistMap
from serl_ray.teleop.wrapper import OperatedEnv
from serl_ray.types import ActionLayout


class DrivenEnv(OperatedEnv):
    """A guarded env that takes steps only while an operator drives it, with a hub of its own.

    Args:
        env: guarded env.
        name: name of the robot on the page.
        setup_mode: one of `types.SETUP_MODES`.
        control_hz: steps per second, for the page; None if unknown.
        hub: address of the page, and limits of motion.
        devices: devices at this computer that drive as well.
        episodes: episodes of the session; None for demonstrations.
        sorter: images that the operator sorts on the page; None for none.
        asks: sentence that asks the operator to put the scene in order before each episode; empty for none.

    Raises:
        OSError: a device cannot be opened, or the page cannot be served there.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        name: str,
        setup_mode: str,
        control_hz: float | None,
        hub: HubOptions,
        devices: DeviceOptions,
        episodes: SessionEpisodes | None = None,
        sorter: Sorter | None = None,
        asks: str = "",
    ) -> None:
        opened = open_devices(devices.operator_devices) if devices.operator_devices else []
        actions = env.action_space.shape
        assert actions is not None
        layout = ActionLayout.from_setup(setup_mode, actions[0])
        limits, twist_map = Limits(hub.motion_norm, hub.motion_slew), TwistMap.from_env(env, layout, setup_mode)
        episodes = episodes or SessionEpisodes(held_seconds=None)
        session = Session(layout, limits, has_policy=False, twist_map=twist_map, episodes=episodes)
        super().__init__(env, session, asks=asks)
        tabs: tuple[Tab, ...] = ("record", "label") if sorter else ("record",)
        self._server = HubServer(hub.operator_host, hub.operator_port, tabs=tabs, sorter=sorter)
        self._link = Link(self, name, self._server.robots, self.described(control_hz))
        for_devices = self._server.page(ClientRole.DEVICE)
        print(how_to_reach(self._server.page(), self._server.port, for_devices=for_devices), flush=True)
        self._devices = _driving(devices, opened, name, for_devices) if opened else None

    def close(self) -> None:
        """Ends the hub, and closes the env."""
        if self._devices:
            self._devices.close()
        self._link.close()
        self._server.close()
        super().close()


def _driving(options: DeviceOptions, opened: Sequence[Device], robot: str, page: str) -> DeviceThread:
    """The devices of these options, which drive a robot from a thread."""
    grasp = Grasp(options.operator_arm, options.operator_speed, options.seen_from)
    wanted = options.operator_devices
    address = DeskAddress.of(page)
    return DeviceThread(DeviceClient(address, opened, lambda: open_devices(wanted), grasp, robot))
