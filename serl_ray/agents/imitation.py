"""What an actor and a grasp critic learn from demonstrations directly, beside the critics' verdict.

`bc` is behaviour cloning: minus the log-likelihood of the demonstrated action. `awac` weighs it by exp(A / ADVANTAGE_TEMPERATURE)
(arXiv 2006.09359, eq. 13), so that the better of what was shown counts for more; A(s, a) = Q(s, a) - Q(s, mode of pi).
The grasp critic, which acts by its greatest value, keeps its values and learns that the demonstrated choice has the greatest one:
cross-entropy of softmax(Q / CHOICE_TEMPERATURE), the discrete case of CQL's regulariser (arXiv 2006.04779, eq. 4).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from serl_ray.agents import losses
from serl_ray.networks.actor_critic import Critic, TanhNormal

ADVANTAGE_TEMPERATURE = 0.1
"""Of `awac`, for returns in [0, 1]."""
CHOICE_TEMPERATURE = 0.1
"""A choice whose value leads by as much is e times as likely."""
CHOICE_WEIGHT = 0.1
"""Of the cross-entropy, beside the squared error of values in [0, 1]."""
FULL_SCALE = 0.98
"""Demonstrated actions are imitated up to here: tanh reaches 1 at infinity only."""


def actor_imitation_loss(
    policy: TanhNormal, critic: Critic, latents: torch.Tensor, actions: torch.Tensor, is_demo: torch.Tensor, weighted: bool
) -> torch.Tensor:
    """The imitation loss of the continuous dimensions, a scalar.

    Args:
        latents: (B, D), of the states, as the critic sees them.
        actions: (B, A), what was done there.
        is_demo: (B,), 1 where it was a demonstration, else 0.
        weighted: by the advantages (`awac`), else all alike (`bc`).
    """
    weights = is_demo
    if weighted:
        with torch.no_grad():
            advantages = critic(latents, actions).mean(0) - critic(latents, policy.mode).mean(0)  # (B,)
            weights = is_demo * losses.advantage_weights(advantages, ADVANTAGE_TEMPERATURE)
    return losses.imitation_loss(policy.log_prob(actions.clamp(-FULL_SCALE, FULL_SCALE)), weights)


def choice_imitation_loss(q: torch.Tensor, grasp_ids: torch.Tensor, is_demo: torch.Tensor) -> torch.Tensor:
    """The imitation loss of the grippers, a scalar, from the values (B, K) of choices and the demonstrated ones (B,)."""
    log_prob = -F.cross_entropy(q / CHOICE_TEMPERATURE, grasp_ids, reduction="none")
    return CHOICE_WEIGHT * losses.imitation_loss(log_prob, is_demo)
