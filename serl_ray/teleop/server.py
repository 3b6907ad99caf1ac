"""A hub in a thread of its own: in the actor of a run, in `serl record`, and in tests."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping, Sequence

from aiohttp import web

from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.hub import ROBOTS, Hub
from serl_ray.teleop.keys import ROBOT_ROLE, HubKeys, new_root
from serl_ray.teleop.messages import Tab
from serl_ray.teleop.sorting import Sorter

THIS_MACHINE = "127.0.0.1"
LOCAL_NAMES = {THIS_MACHINE, "localhost", "::1"}
EVERYWHERE = {"0.0.0.0", "::"}
"""Addresses that stand for all of this machine's."""
START_SECONDS = 10.0


def how_to_reach(page: str, port: int, purpose: str = "Operate the robot", for_devices: str = "") -> str:
    """Sentences for the person at whose computer a hub has started, with the address of its page, and of devices."""
    text = f"{purpose} at {page}"
    if for_devices:
        text += f"\nOr run `serl devices --drive` at the robot, and give it {for_devices}"
    if f"//{THIS_MACHINE}:" not in page:
        return text
    tunnel = f"ssh -L {port}:{THIS_MACHINE}:{port} {socket.gethostname()}"
    return f"{text}\nFrom another computer run `{tunnel}` there, and open the same address."


def reachable_host(host: str) -> str:
    """The address by which others reach what listens on `host`: for all addresses, the one by which this machine goes
    out."""
    if host not in EVERYWHERE:
        return host
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # an address for documentation; nothing is sent
        except OSError:  # without a network there is this machine alone
            return THIS_MACHINE
        return str(probe.getsockname()[0])


class HubServer:
    """A hub that listens until it is closed.

    Args:
        host: address to listen on; 0.0.0.0 for all of this machine's.
        port: port to listen on; 0 for a free one.
        root: secret from which those of the roles are derived; None for a new one.
        for_robots: second address to listen on, with the same port, for robots of other machines alone; None for none.
        tabs: tabs of the page that clients are offered, in their order.
        sorter: images that operators sort; None for none.

    Raises:
        OSError: the address or the port cannot be had.

    Attributes:
        host: address by which others reach it.
        port: port that it listens on.
    """

    def __init__(
        self,
        host: str = THIS_MACHINE,
        port: int = 0,
        root: bytes | None = None,
        for_robots: str | None = None,
        tabs: Sequence[Tab] = ("drive", "fleet"),
        sorter: Sorter | None = None,
    ) -> None:
        self.host, self.port, self._for_robots = reachable_host(host), port, for_robots
        self._listens_on = host
        self._keys = HubKeys(root or new_root())
        self._loop = asyncio.new_event_loop()
        self._hub = Hub(self._keys, {*LOCAL_NAMES, self.host}, {for_robots} if for_robots else set(), tabs, sorter)
        self._runner = web.AppRunner(self._hub.app, shutdown_timeout=1.0, access_log=None)
        self._thread = threading.Thread(target=self._loop.run_forever, name="hub", daemon=True)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(START_SECONDS)
        except OSError as error:
            self.close()
            raise OSError(f"The hub cannot listen on {host}:{port} ({error.strerror}). Choose another port.") from error

    def page(self, role: ClientRole = ClientRole.OPERATOR) -> str:
        """The address of the page for a role; its secret is behind the `#`, which browsers do not send."""
        return f"http://{self.host}:{self.port}/#role={role}&secret={self._keys.of(role)}"

    def robots(self) -> dict[str, str]:
        """The address and the secret that robots connect with."""
        host = self._for_robots or self.host
        return {"url": f"ws://{host}:{self.port}{ROBOTS}", "secret": self._keys.of(ROBOT_ROLE)}

    def interrupt_robots(self) -> None:
        """Tells all robots that the run ends, so that those that wait for an operator wait no longer."""
        self._loop.call_soon_threadsafe(self._hub.interrupt_robots)

    def tell(self, name: str, result: Mapping[str, float]) -> None:
        """Tells clients a result of the run of this name, for its curves."""
        self._loop.call_soon_threadsafe(self._hub.tell, name, dict(result))

    def close(self) -> None:
        """Closes all connections, and ends the thread."""
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(START_SECONDS)
        self._end()

    async def _start(self) -> None:
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._listens_on, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        if self._for_robots:
            await web.TCPSite(self._runner, self._for_robots, self.port).start()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=START_SECONDS)
        self._loop.close()
