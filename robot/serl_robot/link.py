"""The link to a trainer: one thread, which dials, hands orders to the control loop, and stops the robot at once."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Callable, Mapping

import numpy as np
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from serl_robot.brake import Brake
from serl_robot.dialling import Dialler
from serl_robot.orders import Order, check_order
from serl_robot.wire import Message, WireError, pack, unpack

logger = logging.getLogger(__name__)

REDIAL_SECONDS = (0.1, 1.0)
"""Seconds before the second round of calls, and the longest before a later one."""
LASTING_SECONDS = 5.0
"""Seconds of a connection after which its loss is dialled again at once."""
CLOSE_SECONDS = 4.0
"""Seconds for a connection to close when the robot's process ends."""
MOVES = ("reset", "step")
"""Orders that move the robot."""


class Link:
    """The link of a robot; it dials again where the trainer is gone.

    Args:
        dialler: finds a trainer that takes the robot.
        orders: queue of the control loop.
        brake: stop of the robot, which is pulled where the link is lost.
        action_dim: number of an action's numbers.
        live_frames: the env's `live_frames`; None without one.
    """

    def __init__(
        self,
        dialler: Dialler,
        orders: queue.Queue[Order],
        brake: Brake,
        action_dim: int,
        live_frames: Callable[[], Any] | None = None,
    ) -> None:
        self._dialler, self._orders, self._brake, self._action_dim = dialler, orders, brake, action_dim
        self._live_frames = live_frames
        self._cameras = ThreadPoolExecutor(1, "live frames")
        self._index, self._newest_move = 0, -1
        self._loop = asyncio.new_event_loop()
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name="link", daemon=True)

    def start(self) -> None:
        """Begins to dial."""
        self._thread.start()

    def close(self) -> None:
        """Ends the connection."""
        if self._thread.is_alive():
            with suppress(RuntimeError):  # the link has just ended by itself
                self._loop.call_soon_threadsafe(self._cancel)
            self._thread.join(CLOSE_SECONDS)
        self._cameras.shutdown(wait=False)

    def _cancel(self) -> None:
        self._is_closing = True  # because `asyncio.wait_for` may swallow a cancellation before Python 3.12
        if self._task is not None:
            self._task.cancel()

    def _run(self) -> None:
        try:
            self._task = self._loop.create_task(self._dial_for_ever())
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # the robot must not go on without its trainer
            self._put("ended", error=error)
            self._brake.pull(self._index)
        finally:
            self._loop.close()

    async def _dial_for_ever(self) -> None:
        pause = REDIAL_SECONDS[0]
        while True:
            socket = await self._dialler.call_all()
            if self._is_closing:
                return await socket.close() if socket is not None else None
            if socket is None:
                await asyncio.sleep(pause)
                pause = min(2 * pause, REDIAL_SECONDS[1])
                continue
            began = self._loop.time()
            await self._talk(socket)
            lasted = self._loop.time() - began > LASTING_SECONDS
            pause = REDIAL_SECONDS[0] if lasted else min(2 * pause, REDIAL_SECONDS[1])
            await asyncio.sleep(pause)

    async def _talk(self, socket: ClientConnection) -> None:
        """Hands orders over until the connection is lost."""
        outbox: asyncio.Queue[bytes] = asyncio.Queue()
        sending = self._loop.create_task(_send_all(socket, outbox))
        self._put("joined", answer=self._answering(outbox))
        self._newest_move = -1
        cause, code = "the trainer has closed it", 1000
        is_over = False
        try:
            async for raw in socket:
                is_over = self._take(raw, outbox)
                if is_over:
                    break
        except WireError as error:
            cause, code = str(error), 1002
        except ConnectionClosed as error:
            cause = str(error)
        finally:
            self._put("lost")
            self._brake.pull(self._index)  # before anything that waits for the trainer
            sending.cancel()
            await socket.close(code, cause.encode()[:120].decode(errors="ignore") if code == 1002 else "")
        if is_over:
            logger.warning("The run has ended. The robot is stopped, and waits for the next run.")
        else:
            logger.warning("The link to the trainer is lost (%s). The robot is stopped; dialling again.", cause)

    def _take(self, raw: Any, outbox: asyncio.Queue[bytes]) -> bool:
        """Takes a message in; true for the farewell of a run that has ended.

        Raises:
            WireError: the message is none of this protocol.
        """
        if not isinstance(raw, bytes):
            raise WireError("The trainer sent text; messages are binary.")
        message = unpack(raw)
        check_order(message, self._action_dim)
        if message.kind == "stop":
            self._index += 1
            self._brake.pull(self._index)
        elif message.kind == "look":
            self._loop.create_task(self._look(message.fields["number"], outbox))
        elif message.kind != "close":
            self._check_turn(message)
            self._put(message.kind, message, self._answering(outbox))
        return message.kind == "close"

    def _check_turn(self, message: Message) -> None:
        """Raises WireError for a step or a reset that is not newer than the last one of this connection."""
        if message.kind in MOVES:
            number = message.fields["number"]
            if number <= self._newest_move:
                text = f"The trainer sent {message.kind} {number} after {self._newest_move}; numbers must rise"
                raise WireError(f"{text}, so that none is executed twice.")
            self._newest_move = number

    def _put(self, kind: str, message: Message | None = None, answer: Any = None, error: Any = None) -> None:
        self._index += 1
        self._orders.put(Order(self._index, kind, message, answer, error))

    def _answering(self, outbox: asyncio.Queue[bytes]) -> Callable[[bytes], None]:
        """The function by which another thread sends on a connection; what comes after its end is dropped."""

        def answer(packed: bytes) -> None:
            try:
                self._loop.call_soon_threadsafe(outbox.put_nowait, packed)
            except RuntimeError:  # the loop is closed
                logger.debug("An answer came after the end of the link.")

        return answer

    async def _look(self, number: int, outbox: asyncio.Queue[bytes]) -> None:
        """Answers with the env's live frames; after an exception they are not asked for again."""
        fields: dict[str, Any] = {"number": number}
        images: Mapping[str, np.ndarray] = {}
        if self._live_frames is None:
            fields["text"] = "The env has no live frames, or they have failed."
        else:
            try:
                images = await self._loop.run_in_executor(self._cameras, self._live_frames)
                packed = pack(Message("views", fields, {key: np.asarray(image) for key, image in images.items()}))
                outbox.put_nowait(packed)
                return
            except Exception as error:  # the owner's code, whose faults must not end the link
                logger.exception("The env's live_frames() has failed, and is not called again.")
                fields["text"] = f"live_frames() has failed ({type(error).__name__}: {error})"[:200]
                self._live_frames = None
        outbox.put_nowait(pack(Message("views", fields)))


async def _send_all(socket: ClientConnection, outbox: asyncio.Queue[bytes]) -> None:
    while True:
        await socket.send(await outbox.get())
