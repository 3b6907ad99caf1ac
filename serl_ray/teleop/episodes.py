"""The episodes of a session: which transition a displayed frame shows, and what operators say of an episode."""

from __future__ import annotations

import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from serl_ray.teleop.events import LABELLED, LABELS, Ending, Press, Pressed, Verdict

HELD_SECONDS = 2.0
"""Seconds after its end for which an episode may be labelled."""
STORED_ALREADY = "the displayed frame shows a transition that is stored already"
KEPT_SECONDS = 3.0
"""Seconds for which a transition of a long episode that goes on may still be labelled."""
HANDED_OVER = f"the episode ended more than {HELD_SECONDS:g} s ago, or has been handed over"
KEPT_ALREADY = "what was said of the episode is final: it has been kept, or the next one is driven"
FRAMES = 256
"""Number of newest frames that are known by their numbers."""


class _Shown(NamedTuple):
    """A frame: the episode it is of, the transitions before it, and when it was taken."""

    episode: int
    steps: int
    taken: float


@dataclass
class _Ended:
    """An episode that has ended, and may be labelled for a while."""

    number: int
    steps: int
    at: float
    num_stored: int
    verdict: Verdict | None = None
    is_handed_over: bool = False


class SessionEpisodes:
    """The running episode, and the one before it while it is held back.

    Args:
        held_seconds: seconds after its end for which an episode may be labelled; None until it is kept, or the next
            one is driven.

    Attributes:
        number: number of the newest episode, from 1; 0 before the first one.
        steps: number of its transitions so far.
        is_running: whether it goes on.
    """

    def __init__(self, held_seconds: float | None = HELD_SECONDS) -> None:
        self._held_seconds = held_seconds
        self.number = self.steps = 0
        self.is_running = False
        self._interventions = self._num_stored = 0
        self._ending: Ending | None = None
        self._labelled = 0
        self._ended: deque[_Ended] = deque(maxlen=2)
        self._executed: deque[float] = deque()
        self._frames: OrderedDict[int, _Shown] = OrderedDict()

    def begin(self) -> None:
        """An episode begins; one that runs is given up."""
        self.number += 1
        self.steps = self._interventions = self._num_stored = 0
        self.is_running, self._ending = True, None
        self._executed.clear()

    def hand_over(self, now: float, kept_seconds: float = 0.0) -> int:
        """The transitions of the running episode so far are stored, and can be labelled no more, except for those of
        the last `kept_seconds`, of `KEPT_SECONDS` at most, and where the episode is about to end.

        Returns:
            The number of transitions that are not stored.
        """
        if self._ending is None:
            kept = sum(now - executed < kept_seconds for executed in self._executed)
            self._num_stored = max(self._num_stored, self.steps - kept)
        return self.steps - self._num_stored

    def next_intervention(self) -> int:
        """The number of an intervention that begins, counted from 1 in its episode."""
        if self._held_seconds is None:
            for ended in self._ended:
                ended.is_handed_over = True
        self._interventions += 1
        return self._interventions

    def showed(self, frame: int, now: float) -> None:
        """A frame of the newest observation has been taken; frames are numbered in their order."""
        self._frames[frame] = _Shown(self.number, self.steps, now)
        while len(self._frames) > FRAMES:
            self._frames.popitem(last=False)

    def executed(self, done: bool, now: float) -> None:
        """A transition was executed; with `done` the env has ended the episode."""
        self.steps += 1
        self._executed.append(now)
        while now - self._executed[0] > KEPT_SECONDS:
            self._executed.popleft()
        if done:
            # A label that was pressed during the step is about a frame before it, and counts.
            self._close(self._ending if self._ending in LABELLED else None, now)

    def end(self, ending: Ending) -> None:
        """The running episode ends before its next step, unless it has been labelled already."""
        if self.is_running and self._ending is None:
            self._ending = ending

    def close_ended(self, now: float) -> Verdict | None:
        """The verdict of the running episode where it takes no further step; the episode is then over."""
        if not self.is_running or self._ending is None:
            return None
        return self._close(self._ending, now)

    def judge(self, pressed: Pressed, now: float) -> str | None:
        """A press about an episode.

        Returns:
            The reason where this is refused.
        """
        if pressed.press is Press.KEEP:
            return self.keep(now)
        if pressed.press in LABELS:
            return self.label(LABELS[pressed.press], pressed.frame, now)
        return "frames are marked in a recording of images for a classifier alone"

    def label(self, ending: Ending, frame: int, now: float) -> str | None:
        """Labels the episode that a displayed frame shows; the last label counts.

        Returns:
            The reason where this is refused.
        """
        shown = self._frames.get(frame)
        if shown is None:
            return "the displayed frame is too old"
        if shown.episode == self.number and self.is_running and shown.steps:
            if shown.steps <= self._num_stored:
                return STORED_ALREADY
            self._ending, self._labelled = ending, shown.steps
            return None
        ended = self._ended[-1] if self._ended else None
        # The first frame of an episode is what came of the one before it.
        number = shown.episode if shown.steps else shown.episode - 1
        if self._held_seconds is None and not shown.steps and ended is not None:
            number = ended.number  # which waits, however often the robot is reset meanwhile
        if ended is None or number != ended.number:
            return "the displayed frame shows no transition of an episode that can be labelled"
        if self.is_settled(ended.number, now):
            return KEPT_ALREADY if self._held_seconds is None else HANDED_OVER
        steps = shown.steps or ended.steps
        if steps <= ended.num_stored:
            return STORED_ALREADY
        ended.verdict = Verdict(ending, steps)
        return None

    def is_settled(self, number: int, now: float) -> bool:
        """True if an episode can be labelled no more; only the one that has ended last can be after its end."""
        if number == self.number and self.is_running:
            return False
        ended = self._ended[-1] if self._ended else None
        if ended is None or ended.number != number or ended.is_handed_over:
            return True
        is_late = self._held_seconds is not None and now - ended.at > self._held_seconds
        return is_late or not ended.steps

    @property
    def is_ending(self) -> bool:
        """True if the running episode takes no further step."""
        return self._ending is not None

    def keep(self, now: float) -> str | None:
        """Makes final what has been said of the episode that ended last.

        Returns:
            The reason where this is refused.
        """
        ended = self._ended[-1] if self._ended else None
        if ended is None or self.is_settled(ended.number, now):
            return "no episode waits for it"
        self._hand_over_ended(ended.number)
        return None

    def verdict(self, number: int) -> Verdict | None:
        """The verdict of operators on one of the two episodes that have ended last; None where they have not."""
        return next((ended.verdict for ended in self._ended if ended.number == number), None)

    def settle(self, number: int) -> Verdict | None:
        """The verdict on an episode that is handed over now, after which no label of it is taken any more."""
        self._hand_over_ended(number)
        return self.verdict(number)

    def taken(self, frame: int) -> float:
        """When a frame was taken; minus infinity where it is not known any more."""
        return self._frames[frame].taken if frame in self._frames else -math.inf

    def outdated(self, frame: int, now: float) -> float:
        """Seconds for which there has been a newer frame than this one; infinity where it is not known any more.

        It is counted from the newer one, because an env with slow steps has no newer one to show.
        """
        if frame not in self._frames:
            return math.inf
        newer = self._frames.get(frame + 1)
        return now - newer.taken if newer else 0.0

    def state(self, now: float) -> dict[str, Any]:
        """The episodes in JSON, for whoever watches."""
        ended = self._ended[-1] if self._ended else None
        held = None if ended is None or self.is_settled(ended.number, now) else ended
        return {
            "episode": self.number,
            "step": self.steps,
            "is_running": self.is_running,
            "held_episode": held.number if held else None,
            "held_seconds": self._held_seconds - (now - held.at) if held and self._held_seconds is not None else 0.0,
            "held_verdict": held.verdict.ending if held and held.verdict else None,
        }

    def _hand_over_ended(self, number: int) -> None:
        for ended in self._ended:
            ended.is_handed_over |= ended.number == number

    def _close(self, ending: Ending | None, now: float) -> Verdict | None:
        kept = self._labelled if ending in LABELLED else self.steps
        verdict = Verdict(ending, kept) if ending else None
        if self.steps or self._held_seconds is not None:  # without steps, it leaves the one that waits as it is
            self._ended.append(_Ended(self.number, self.steps, now, self._num_stored, verdict))
        self.is_running, self._ending = False, None
        return verdict
