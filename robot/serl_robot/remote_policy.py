"""The policy of a server (`serl serve`), for robots whose computer cannot compute one."""

from __future__ import annotations

import inspect
import os
import socket
import struct
import time
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import connect

from serl_robot.policy import ContractPolicy, PolicyError, damage_of
from serl_robot.trainer import TOKEN_FILE, TOKEN_VARIABLE, UnknownTrainer, robot_token
from serl_robot.wire import MAX_BYTES, Message, WireError, pack, unpack

OPEN_SECONDS = 3.0
"""Seconds for a connection to open, and for the server's contract."""
UNPROXIED: dict[str, Any] = {"proxy": None} if "proxy" in inspect.signature(connect).parameters else {}
"""No proxy of the system's settings, which newer websockets use: server and robot are in one network."""


class RemotePolicy(ContractPolicy):
    """A policy that a server computes; its contract is checked here, before anything is sent.

    Args:
        url: address of the server, such as `ws://gpu-box:8775`.
        token: token of the server; None for that of SERL_ROBOT_TOKEN, else of ~/.serl/robot_token.
        seconds: time for an action, after which `act` raises.

    Raises:
        PolicyError: nobody answers there, or not as `serl serve` does.
        UnknownTrainer: the address or the token is wrong.
    """

    def __init__(self, url: str, token: str | None = None, seconds: float = 1.0) -> None:
        if urlsplit(url).scheme not in ("ws", "wss") or not urlsplit(url).hostname:
            raise UnknownTrainer(f"The address is {url!r}; it must look like ws://HOST:8775.")
        self._url, self._seconds, self._number = url, seconds, 0
        try:
            call = connect(
                f"{url.rstrip('/')}/policy",
                additional_headers={"Authorization": f"Bearer {robot_token(token)}"},
                compression=None,
                max_size=MAX_BYTES,
                open_timeout=OPEN_SECONDS,
                close_timeout=1.0,
                **UNPROXIED,
            )
            self._opened = ExitStack()
            self._socket = self._opened.enter_context(call)
            if os.name == "posix":  # where the limit of a send is a `struct timeval`
                limit = struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))
                self._socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        except InvalidStatus as error:
            if error.response.status_code in (401, 403):
                text = f"{url} refuses the token. Copy {TOKEN_FILE} of the server's computer to {TOKEN_FILE} here"
                raise UnknownTrainer(f"{text}, or set {TOKEN_VARIABLE}.") from error
            raise PolicyError(f"{url} serves no policy ({error}).") from error
        except (OSError, WebSocketException) as error:
            raise PolicyError(f"No policy is served at {url} ({error}). Start serl serve there.") from error
        contract = self._received(time.monotonic() + OPEN_SECONDS).fields
        if wrong := damage_of(contract):
            self.close()
            raise PolicyError(f"{url} serves a policy of another release ({wrong}). Install the same release.")
        super().__init__(contract)

    def close(self) -> None:
        """Leaves the server."""
        self._opened.close()

    def _infer(self, stacks: dict[str, np.ndarray]) -> np.ndarray:
        self._number += 1
        deadline = time.monotonic() + self._seconds
        arrays = {key: stack[0] for key, stack in stacks.items()}
        try:
            self._socket.send(pack(Message("infer", {"number": self._number}, arrays)))
        except (OSError, WebSocketException, WireError) as error:
            raise PolicyError(f"The policy's server at {self._url} is lost ({error}).") from error
        answer = self._received(deadline)
        while answer.fields.get("number") != self._number:  # of an observation whose time was over
            answer = self._received(deadline)
        if answer.kind != "action":
            raise PolicyError(f"{self._url} gives no action: {answer.fields.get('text', answer.kind)}")
        action = answer.arrays.get("action")
        is_ours = answer.fields.get("weights") == self.fingerprint
        if not is_ours or action is None or action.shape != (self.action_dim,) or action.dtype != np.float32:
            raise PolicyError(f"{self._url} acts with another policy than at the start. Start again.")
        return action

    def _received(self, deadline: float) -> Message:
        """The server's next message."""
        try:
            if (seconds := deadline - time.monotonic()) <= 0:  # a server may send old answers for ever
                raise TimeoutError
            raw = self._socket.recv(timeout=seconds)
            return unpack(raw if isinstance(raw, bytes) else b"")
        except TimeoutError as error:
            text = f"{self._url} has not answered in time ({self._seconds:g} s for an action)"
            raise PolicyError(f"{text}: check the network and the server's load.") from error
        except (OSError, WebSocketException, WireError) as error:
            raise PolicyError(f"The policy's server at {self._url} is lost ({error}).") from error
