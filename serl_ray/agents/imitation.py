"""Imitation losses of the actor and the grasp critic.

`bc` is behaviour cloning: minus the log-likelihood of the demonstrated action. `awac` weights it by exp(A /
ADVANTAGE_TEMPERATURE) (arXiv 2006.09359, eq. 13) with A(s, a) = Q(s, a) - Q(s, mode of pi), so that better demonstrated
actions count more. A is bounded by +-ADVANTAGE_TEMPERATURE: the errors of critics that know little yet would otherwise
leave a handful of a batch's actions to imitate.

The grasp critic acts by its largest value. Its imitation loss makes the demonstrated choice the largest: the
cross-entropy of softmax(Q / CHOICE_TEMPERATURE), the discrete case of CQL's regulariser (arXiv 2006.04779, eq. 4).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from serl_ray.agents import losses
from serl_ray.networks.actor_critic import Critic, TanhNormal

ADVANTAGE_TEMPERATURE = 0.1
"""Temperature of the advantages in `awac`, for returns in [0, 1]."""
IMITATION_WEIGHT = 0.3
"""Weight of the actor's imitation loss next to values in [0, 1], so that SAC takes over in the last third of a fade."""
CHOICE_TEMPERATURE = 0.1
"""Temperature of the softmax over choices: a lead in value by this much makes a choice e times as likely."""
CHOICE_WEIGHT = 1.0
"""Weight of the cross-entropy next to the squared error of values in [0, 1]."""
FULL_SCALE = 0.98
"""Bound of demonstrated actions in imitation, because tanh reaches 1 only at infinity."""


def actor_imitation_loss(
    policy: TanhNormal,
    critic: Critic,
    latents: torch.Tensor,
    actions: torch.Tensor,
    is_demo: torch.Tensor,
    weighted: bool,
) -> torch.Tensor:
    """The imitation loss of the continuous dimensions, a scalar.

    Args:
        policy: policy at the states.
        critic: critic ensemble that gives the advantages.
        latents: latents (B, D) of the states.
        actions: executed actions (B, A).
        is_demo: flags (B,), 1 for demonstrations, else 0.
        weighted: whether advantages weight the actions (`awac`); otherwise all count alike (`bc`).
    """
    weights = is_demo
    if weighted:
        with torch.no_grad():
            advantages = critic(latents, actions).mean(0) - critic(latents, policy.mode).mean(0)  # (B,)
            bounded = advantages.clamp(-ADVANTAGE_TEMPERATURE, ADVANTAGE_TEMPERATURE)
            weights = is_demo * losses.advantage_weights(bounded, ADVANTAGE_TEMPERATURE)
    return losses.imitation_loss(policy.log_prob(actions.clamp(-FULL_SCALE, FULL_SCALE)), weights)


def choice_imitation_loss(q: torch.Tensor, grasp_ids: torch.Tensor, is_demo: torch.Tensor) -> torch.Tensor:
    """The imitation loss of the grippers, a scalar; q (B, K), grasp_ids and is_demo (B,).

    A choice that n demonstrations of the batch have counts 1 / sqrt(n) in each of them: a gripper that closes once in
    40 steps would otherwise never be the likeliest to close, and one weighed fully would close too early.
    """
    log_prob = -F.cross_entropy(q / CHOICE_TEMPERATURE, grasp_ids, reduction="none")
    counts = is_demo @ F.one_hot(grasp_ids, q.shape[1]).to(is_demo.dtype)  # (K,)
    weights = is_demo * counts.clamp(min=1.0).rsqrt()[grasp_ids]
    return CHOICE_WEIGHT * losses.imitation_loss(log_prob, weights)
