"""A warning where the policy's entropy rises far above its target."""

from __future__ import annotations

import logging
import math

logger = logging.getLogger(__name__)

RISE = 0.5
"""Rise of the entropy per action dimension from which a warning says so: the policy's deviation has grown by two
thirds."""


class EntropyWatch:
    """Warns once where the entropy is far above its target and has risen far above its least value.

    Args:
        target: target entropy of the policy.
        action_dim: number of continuous action dimensions.
    """

    def __init__(self, target: float, action_dim: int) -> None:
        self._target, self._rise = target, RISE * action_dim
        self._least, self._has_warned = math.inf, False

    def add(self, entropy: float) -> None:
        """Takes in the mean entropy of some updates; NaN where there were none."""
        if math.isnan(entropy):
            return
        self._least = min(self._least, entropy)
        if entropy > max(self._least, self._target) + self._rise and not self._has_warned:
            self._has_warned = True
            logger.warning(
                "The policy's entropy has risen to %.1f from %.1f, its target is %.1f: it acts more and more at "
                "random, because the critics' values hardly differ. More demonstrations or interventions, or a lower "
                "--init_temperature, help.",
                entropy, self._least, self._target,
            )  # fmt: skip
