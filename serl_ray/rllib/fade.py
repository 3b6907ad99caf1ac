"""The fade of imitation, which waits and turns back where the policy alone gets worse."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass

logger = logging.getLogger(__name__)

UNIT = 10_000
"""Success rates are whole numbers of this fraction, as all counters of a checkpoint are whole numbers."""
RECENT, USUAL = 8, 40
"""Episodes over which the recent and the usual success are averaged, exponentially."""
WAITING, FALL = 1_000, 1_500
"""Least falls of the recent success below the best usual one, in `UNIT`, from which the fade waits and turns back."""
CHANCE = 2.5
"""Deviations by which the recent success must fall to turn back, so that a policy that often fails is weaned as
well."""
LEAST_SHARE, GOOD = 0.1, 9_000
"""Share of imitation that is kept until the recent success, in `UNIT`, is this good: without any, young critics
mislead."""
RETURN_SPEED = 2
"""Factor by which imitation comes back faster than it fades, because a failing policy costs robot time."""


@dataclass
class Fade:
    """Progress of the fade in env steps, and autonomous success since it began.

    An episode counts as a success if it succeeds without an intervention. Progress grows by every env step, waits while
    the recent success is somewhat below the best, and shrinks while it is far below: the critics learn on in that time,
    and imitation brings the policy back. The last part of imitation goes only while the policy is good
    alone. Both averages start at the first episode's outcome.

    Attributes:
        fade_progress: env steps of the fade, from 0 to `warmup_steps`.
        fade_recent: success over about the last `RECENT` episodes.
        fade_usual: success over about the last `USUAL` episodes.
        fade_best: greatest `fade_usual` so far.
        fade_episodes: number of episodes.
    """

    fade_progress: int = 0
    fade_recent: int = 0
    fade_usual: int = 0
    fade_best: int = 0
    fade_episodes: int = 0

    @property
    def turns_back(self) -> bool:
        """True while autonomous success has fallen."""
        chance = CHANCE * math.sqrt(self.fade_best * (UNIT - self.fade_best) / (2 * RECENT - 1))
        return self.fade_recent < self.fade_best - max(FALL, chance)

    def share(self, warmup_steps: int) -> float:
        """Share of imitation in the actor's loss, in [0, 1]."""
        return max(1.0 - self.fade_progress / warmup_steps, 0.0)

    def step(self, env_steps: int, warmup_steps: int) -> None:
        """Moves the fade by some env steps."""
        speed = -RETURN_SPEED if self.turns_back else int(self.fade_recent >= self.fade_best - WAITING)
        end = warmup_steps if self.fade_recent >= GOOD else round((1.0 - LEAST_SHARE) * warmup_steps)
        moved = self.fade_progress + speed * env_steps
        self.fade_progress = max(min(moved, max(end, self.fade_progress)), 0)

    def add_episode(self, success: bool) -> None:
        """Takes in the outcome of an episode; a warning says when imitation begins to come back."""
        turned_back, self.fade_episodes = self.turns_back, self.fade_episodes + 1
        self.fade_recent = _averaged(self.fade_recent, success, min(RECENT, self.fade_episodes))
        self.fade_usual = _averaged(self.fade_usual, success, min(USUAL, self.fade_episodes))
        if self.fade_episodes >= RECENT:
            self.fade_best = max(self.fade_best, self.fade_usual)
        if self.turns_back and not turned_back:
            logger.warning(
                "Success without interventions has fallen to %.2f from %.2f, so imitation comes back until it "
                "recovers. Where this lasts, the critics mislead the actor: see actor/entropy and critic/q_over_bound, "
                "add demonstrations or interventions, or fade more slowly with a greater --warmup_steps.",
                self.fade_recent / UNIT,
                self.fade_best / UNIT,
            )

    def counts(self) -> dict[str, int]:
        """The counters of a checkpoint."""
        return asdict(self)


def _averaged(average: int, success: bool, episodes: int) -> int:
    return average + round((UNIT * success - average) / episodes)


FADE_COUNTERS = tuple(Fade().counts())
