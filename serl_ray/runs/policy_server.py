"""A server that acts for robots: an observation comes in, an action goes out, in batches across robots."""

from __future__ import annotations

import asyncio
import hmac
import logging
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from aiohttp import WSMsgType, hdrs, web

from serl_ray.agents.agent import Agent
from serl_ray.envs.remote.token import TOKEN_FILE, TOKEN_VARIABLE
from serl_ray.teleop.server import THIS_MACHINE, reachable_host
from serl_ray.teleop.wire import MAX_BYTES, Message, WireError, pack, unpack

logger = logging.getLogger(__name__)

Inputs = dict[str, np.ndarray]
"""Stacks (T, ...) of each part of an observation."""
POLICY_PATH = "/policy"
MAX_CLIENTS = 64
PING_SECONDS = 5.0
"""Seconds between two pings, so that a robot that is gone is noticed."""


class Batcher:
    """Collects requests for a moment, and computes them at once, in a thread of its own.

    Args:
        act: function from inputs (B, T, ...) to actions (B, n).
        max_batch: greatest number of requests in a batch.
        wait_seconds: time that the first request of a batch waits for others.
    """

    def __init__(self, act: Callable[[Inputs], np.ndarray], max_batch: int, wait_seconds: float) -> None:
        self._act, self._max_batch, self._wait_seconds = act, max_batch, wait_seconds
        self._requests: asyncio.Queue[tuple[Inputs, asyncio.Future[np.ndarray]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, "policy")

    async def infer(self, inputs: Inputs) -> np.ndarray:
        """The action (n,) for one robot's inputs; it raises what `act` raises."""
        future: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
        await self._requests.put((inputs, future))
        return await future

    async def run(self) -> None:
        """Computes batches until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            batch = await self._next()
            stacked = {key: np.stack([inputs[key] for inputs, _ in batch]) for key in batch[0][0]}
            try:
                actions = await loop.run_in_executor(self._thread, self._act, stacked)
            except Exception as error:  # whatever the networks raise belongs to those who asked
                actions = [error] * len(batch)  # type: ignore[assignment]
            for (_, future), action in zip(batch, actions, strict=True):
                if not future.done():  # the robot may have left
                    future.set_exception(action) if isinstance(action, Exception) else future.set_result(action)

    async def _next(self) -> list[tuple[Inputs, asyncio.Future[np.ndarray]]]:
        batch = [await self._requests.get()]
        ends = asyncio.get_running_loop().time() + self._wait_seconds
        while len(batch) < self._max_batch:
            try:
                left = ends - asyncio.get_running_loop().time()
                batch.append(await asyncio.wait_for(self._requests.get(), left))
            except TimeoutError:
                break
        return batch


def agent_batcher(agent: Agent, max_batch: int, wait_seconds: float) -> Batcher:
    """The batcher of an agent's best actions, in the units of its robot; for the arguments see `Batcher`."""
    return Batcher(
        lambda inputs: agent.in_robot_units(agent.sample_actions(inputs, argmax=True)), max_batch, wait_seconds
    )


def how_to_ask(host: str, port: int, control_hz: float | None) -> str:
    """Sentences for the person at the robot's computer, with the command that asks a server of this computer.

    Args:
        host: address that the server listens on.
        port: port that it listens on.
        control_hz: steps a second of the policy's training; None where it is not known.
    """
    reached = reachable_host(host)
    command = f"serl-robot-act ws://{reached}:{port} my_robot:make_env --hz {control_hz or 10:g}"
    text = f"On the robot's computer run `{command}`, with the token of {TOKEN_FILE} or {TOKEN_VARIABLE} of this one."
    if reached == THIS_MACHINE:
        tunnel = f"ssh -N -L {port}:{THIS_MACHINE}:{port} HOST"
        text += f" From another computer, first run `{tunnel}` there, or serve with --host 0.0.0.0."
    return f"{text} Ctrl-C ends it."


class PolicyServer:
    """The web application of a policy.

    Args:
        contract: contract of the policy (`export.policy_contract`).
        batcher: what computes the actions.
        token: token that robots must have.

    Attributes:
        app: the application, which runs the batcher.
    """

    def __init__(self, contract: Mapping[str, Any], batcher: Batcher, token: str) -> None:
        self._contract, self._batcher = dict(contract), batcher
        self._header = f"Bearer {token}".encode()
        self._num_clients = 0
        self.app = web.Application()
        self.app.add_routes([web.get(POLICY_PATH, self._robot)])
        self.app.cleanup_ctx.append(self._batching)

    async def serve(self, host: str, port: int, ended: threading.Event, say: Callable[[int], None]) -> None:
        """Listens until an event is set.

        Args:
            host: address to listen on.
            port: port to listen on; 0 for a free one.
            ended: event that ends it.
            say: called with the port once robots can ask.

        Raises:
            OSError: the address or the port cannot be had.
        """
        runner = web.AppRunner(self.app, shutdown_timeout=1.0, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            text = f"No policy can be served at {host}:{port} ({error.strerror})"
            raise OSError(f"{text}. Choose another --port.") from error
        say(int(runner.addresses[0][1]))
        await asyncio.to_thread(ended.wait)
        await runner.cleanup()

    async def _batching(self, app: web.Application) -> Any:
        task = asyncio.create_task(self._batcher.run())
        yield
        task.cancel()

    async def _robot(self, request: web.Request) -> web.WebSocketResponse:
        given = request.headers.get(hdrs.AUTHORIZATION, "").encode(errors="replace")
        if not hmac.compare_digest(given, self._header):
            logger.warning("Somebody at %s has a wrong token, and was sent away.", request.remote)
            raise web.HTTPUnauthorized(text="The token is wrong.")
        if self._num_clients >= MAX_CLIENTS:
            raise web.HTTPServiceUnavailable(text=f"{MAX_CLIENTS} robots are served already.")
        socket = web.WebSocketResponse(heartbeat=PING_SECONDS, max_msg_size=MAX_BYTES)
        self._num_clients += 1
        try:
            await socket.prepare(request)
            await socket.send_bytes(pack(Message("contract", self._contract)))
            async for message in socket:
                if message.type is not WSMsgType.BINARY:
                    break
                await socket.send_bytes(pack(await self._answer(message.data)))
        except (WireError, ConnectionError) as error:
            logger.warning("The robot at %s is not served any more: %s", request.remote, error)
        finally:
            self._num_clients -= 1
            await socket.close()
        return socket

    async def _answer(self, raw: bytes) -> Message:
        """The action for a request, or what is wrong with it; WireError where it is no request."""
        message = unpack(raw)
        number = message.fields.get("number")
        if message.kind != "infer" or type(number) is not int:
            raise WireError(f"a {message.kind!r:.40} message with the number {number!r:.40}")
        if wrong := self._refusal(message.arrays):
            return Message("refused", {"number": number, "text": wrong})
        try:
            action = await self._batcher.infer(message.arrays)
        except FloatingPointError as error:
            return Message("refused", {"number": number, "text": str(error)})
        fields = {"number": number, "weights": self._contract["weights"]}
        return Message("action", fields, {"action": np.asarray(action, np.float32)})

    def _refusal(self, arrays: Mapping[str, np.ndarray]) -> str:
        """A sentence on what is not as the contract has it; nothing where all is."""
        stack = self._contract["frame_stack"]
        wanted = {key: ("uint8", (stack, *shape)) for key, shape in self._contract["images"].items()}
        if self._contract["state_dim"]:
            wanted["state"] = ("float32", (stack, self._contract["state_dim"]))
        if arrays.keys() != wanted.keys():
            return f"The policy reads {', '.join(wanted)}, and got {', '.join(arrays) or 'nothing'}."
        for key, (dtype, shape) in wanted.items():
            if (arrays[key].dtype.name, arrays[key].shape) != (dtype, shape):
                return f"{key!r} is {arrays[key].dtype} of shape {arrays[key].shape}; the policy reads {dtype} {shape}."
        return ""
