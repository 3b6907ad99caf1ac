"""The control loop of a robot: one thread, which alone steps the env, and holds it where steps fail to come."""

from __future__ import annotations

import logging
import queue
import time
from typing import Any, Callable, NoReturn

import numpy as np

from serl_robot.adapter import EnvFault, Outcome, RobotEnv
from serl_robot.brake import Brake, Braked
from serl_robot.orders import Order
from serl_robot.wire import Message, WireError, pack

logger = logging.getLogger(__name__)

ALIVE_SECONDS = 0.5
"""Seconds between two signs of life."""
OBSTACLE_SECONDS = 0.1
"""Seconds between two looks at what lets no episode begin."""
HOLD_PERIODS = 2
"""Periods without a step after which the robot is held."""


class Control:
    """The control loop.

    Args:
        env: env of the robot.
        brake: stop of the robot.
        orders: orders in the sequence of their arrival.
        hz: greatest number of steps a second.
        clock: monotonic clock in seconds.
    """

    def __init__(
        self,
        env: RobotEnv,
        brake: Brake,
        orders: queue.Queue[Order],
        hz: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._env, self._brake, self._orders, self._clock = env, brake, orders, clock
        self._period = 1.0 / hz
        self._answer: Callable[[bytes], None] | None = None
        self._tick = self._alive_at = self._answered_at = clock()
        self._hold_at: float | None = None
        self._is_running = self._is_excused = False
        self._is_held = True
        self._obstacle = ""

    def run(self) -> NoReturn:
        """Executes orders until an exception ends it, such as the end of the link."""
        handlers: dict[str, Callable[[Order], None]] = {
            "joined": self._joined,
            "lost": self._lost,
            "ended": self._ended,
            "reset": self._reset,
            "step": self._step,
            "hold": self._pause,
            "twist": self._twist,
        }
        while True:
            order = self._next()
            handlers[order.kind](order)

    def rest(self) -> None:
        """Stops the robot for good, in the thread of the loop."""
        self._brake.act()
        if self._needs_zeros:
            self._hold()

    @property
    def _needs_zeros(self) -> bool:
        """True for a robot that may move, and which neither `stop` nor `hold` keeps still."""
        return self._env.stop is None and self._env.hold is None and not self._is_held

    def _next(self) -> Order:
        """The next order; meanwhile the robot is held when a step is due, and shows that it is alive."""
        while True:
            now = self._clock()
            if self._hold_at is not None and now >= self._hold_at:
                self._hold()
            if self._answer is not None and now >= self._alive_at:
                self._alive_at = now + ALIVE_SECONDS
                self._answer(pack(Message("alive")))
            due = [at for at in (self._hold_at, self._alive_at if self._answer else None) if at is not None]
            try:
                return self._orders.get(timeout=max(0.0, min(due) - now) if due else None)
            except queue.Empty:
                continue

    def _joined(self, order: Order) -> None:
        self._answer, self._alive_at = order.answer, self._clock()

    def _lost(self, order: Order) -> None:
        self._answer, self._is_running = None, False

    def _ended(self, order: Order) -> None:
        assert order.error is not None
        raise order.error

    def _reset(self, order: Order) -> None:
        assert order.message is not None
        if self._waits(order):
            return
        try:
            self._brake.release(order.index)
            with self._brake.moving():
                self._is_running, self._is_held, self._hold_at = False, False, None
                outcome = self._env.reset(order.message.fields["seed"])
            packed = _packed("started", order, outcome)
        except Braked as braked:
            self._cut_short(order, braked)
        except (EnvFault, WireError) as error:
            self._stop_after(order, error)
        else:
            self._is_running, self._is_excused = True, True
            self._tick = self._clock()
            self._answered(order, packed)

    def _waits(self, order: Order) -> bool:
        """True for a reset that an operator's device does not let begin, which is looked at again a moment later."""
        obstacle = "" if self._brake.is_newer(order.index) else self._env.obstacle()
        if obstacle and obstacle != self._obstacle:
            logger.warning("%s The next episode waits for it.", obstacle)
        self._obstacle = obstacle
        if obstacle:
            time.sleep(OBSTACLE_SECONDS)
            self._orders.put(order)  # behind what has come meanwhile, such as the end of the link
        return bool(obstacle)

    def _step(self, order: Order) -> None:
        assert order.message is not None
        if (refusal := self._refusal()) is not None:
            self._fault(order, refusal)
        elif not self._is_late(order):
            self._wait_for_tick()
            self._execute(order, order.message.arrays["action"])

    def _refusal(self) -> str | None:
        if self._brake.is_on.is_set():
            how = self._brake.how and f" {self._brake.how}"
            return f"The robot is stopped{how}; the step was not executed. It takes none until the next reset."
        return None if self._is_running else "No episode is running; the step was not executed."

    def _is_late(self, order: Order) -> bool:
        """True for a step after which the robot was already held, which is answered."""
        if not self._is_held or self._is_excused:
            return False
        seconds = self._clock() - self._answered_at
        self._send(order, "late", {"seconds": seconds})
        return True

    def _wait_for_tick(self) -> None:
        while (seconds := self._tick - self._clock()) > 0:
            if self._brake.is_on.wait(seconds):
                return

    def _execute(self, order: Order, action: np.ndarray) -> None:
        began = self._clock()
        self._tick = began + self._period
        try:
            with self._brake.moving():
                self._is_held, self._hold_at = False, None
                outcome = self._env.step(action)
            packed = _packed("result", order, outcome, {"step_seconds": self._clock() - began})
        except Braked as braked:
            self._cut_short(order, braked)
        except (EnvFault, WireError) as error:
            self._stop_after(order, error)
        else:
            self._is_running = not (outcome.terminated or outcome.truncated)
            self._is_excused = False
            self._answered(order, packed)

    def _answered(self, order: Order, packed: bytes) -> None:
        """Sends an answer, after which the next step has its time."""
        assert order.answer is not None
        order.answer(packed)
        self._answered_at = self._clock()
        self._hold_at, self._is_held = self._answered_at + HOLD_PERIODS * self._period, False

    def _pause(self, order: Order) -> None:
        """Holds the robot on purpose, so that the next step is not late."""
        if not self._is_held:
            self._hold()
        self._is_excused = True

    def _hold(self) -> None:
        """Keeps the robot still, unless it is stopped already."""
        self._hold_at = None
        if not self._brake.is_on.is_set() or self._needs_zeros:
            try:
                with self._brake.resting():
                    self._env.rest()
            except EnvFault as error:
                logger.error("The robot could not be held: %s", error)
                self._brake.mark(0)
                self._brake.act()
                return
        self._is_held = True

    def _twist(self, order: Order) -> None:
        assert order.message is not None
        fields: dict[str, Any] = {"number": order.message.fields["number"]}
        arrays = {}
        try:
            if self._env.twist_to_action is None:
                raise EnvFault("The env has no twist_to_action.")
            twist = order.message.arrays["twist"]
            made = self._env.twist_to_action(order.message.fields["arm"], twist, order.message.fields["frame"])
            arrays["numbers"] = np.asarray(made, np.float32)
            packed = pack(Message("numbers", fields, arrays))
        except Exception as error:  # the owner's code, whose faults must not end the loop
            text = f"twist_to_action has failed ({type(error).__name__}: {error})"[:200]
            packed = pack(Message("numbers", {**fields, "text": text}))
        assert order.answer is not None
        order.answer(packed)

    def _stop_after(self, order: Order, error: Exception) -> None:
        """Stops the robot after a fault of the env, and tells the trainer."""
        self._is_running = False
        self._brake.mark(order.index)
        self._brake.act()
        self._hold_at = self._clock() if self._needs_zeros else None
        logger.error("The robot is stopped until the next reset. %s", error)
        self._fault(order, str(error), getattr(error, "kind", "wrong_result"))

    def _cut_short(self, order: Order, braked: Braked) -> None:
        """Tells the trainer that a step or a reset was not executed, or not to its end."""
        self._is_running = False
        self._hold_at = self._clock() if self._needs_zeros else None
        when, what = ("during", "does not count") if braked.has_moved else ("before", "was not executed")
        how = self._brake.how and f" {self._brake.how}"
        text = f"A stop{how} came {when} the {order.kind}, which {what}. The robot takes no step until the next reset."
        self._fault(order, text)

    def _fault(self, order: Order, text: str, kind: str = "error") -> None:
        self._send(order, "fault", {"text": text, "kind": kind})

    def _send(self, order: Order, kind: str, fields: dict[str, Any]) -> None:
        assert order.message is not None and order.answer is not None
        order.answer(pack(Message(kind, {"number": order.message.fields["number"], **fields})))


def _packed(kind: str, order: Order, outcome: Outcome, more: dict[str, Any] | None = None) -> bytes:
    """The answer to a step or a reset.

    Raises:
        WireError: the env returned what cannot be sent.
    """
    assert order.message is not None
    fields = {"number": order.message.fields["number"], "info": outcome.info, **(more or {})}
    if kind == "result":
        fields.update(reward=outcome.reward, terminated=outcome.terminated, truncated=outcome.truncated)
    arrays = {f"obs/{key}": array for key, array in outcome.observation.items()}
    arrays.update({f"info/{key}": array for key, array in outcome.info_arrays.items()})
    return pack(Message(kind, fields, arrays))
