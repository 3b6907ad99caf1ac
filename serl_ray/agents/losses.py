"""Losses of SAC and the grasp critic, as pure functions of tensors (REFERENCE section 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def td_target(
    rewards: torch.Tensor,
    masks: torch.Tensor,
    next_values: torch.Tensor,
    discount: float | torch.Tensor,
    max_return: float | None = None,
) -> torch.Tensor:
    """y = r + discount * mask * V(s'), all (B,), and at most `max_return`. A time-out has mask 1 and bootstraps.

    For n-step returns r is the discounted sum of n rewards, s' the state after them, and `discount` (B,) the discount
    to the power of n.

    The original has no bound. With rewards of 0 and 1 a return above 1 is an extrapolation error, which bootstrapping
    would feed back.
    """
    target = rewards + discount * masks * next_values
    return target if max_return is None else target.clamp(max=max_return)


def soft_min_value(
    target_q: torch.Tensor, subset: torch.Tensor | None = None, entropy_bonus: torch.Tensor | None = None
) -> torch.Tensor:
    """The next state's value (B,): the minimum of Q (E, B) over the ensemble or a subset (REDQ, arXiv 2101.05982).

    `entropy_bonus` (B,), -temperature * log pi(a'|s'), is a part of the value, so `td_target` discounts and masks it
    (arXiv 1812.05905, eq. 3). The original subtracts it from the reward instead (REFERENCE section 10.8).
    """
    value = (target_q if subset is None else target_q[subset]).min(dim=0).values
    return value if entropy_bonus is None else value + entropy_bonus


def critic_loss(q: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over ensemble and batch of (Q_i(s, a) - y)^2; q (E, B), target (B,)."""
    return F.mse_loss(q, target.expand_as(q))


def actor_loss(q: torch.Tensor, log_prob: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """Mean of temperature * log pi(a|s) - Q(s, a), with Q (E, B) averaged over the ensemble; log_prob (B,)."""
    return (temperature * log_prob - q.mean(dim=0)).mean()


def temperature_loss(temperature: torch.Tensor, log_prob: torch.Tensor, target_entropy: float) -> torch.Tensor:
    """temperature * (entropy - target entropy), with the entropy estimated from log pi(a'|s') (B,)."""
    entropy = -log_prob.mean()
    return temperature * (entropy - target_entropy)


def double_dqn_value(next_q: torch.Tensor, next_target_q: torch.Tensor) -> torch.Tensor:
    """Target Q (B,) of the online critic's best choice (arXiv 1509.06461, eq. 4); both inputs (B, K)."""
    return next_target_q.gather(1, next_q.argmax(dim=1, keepdim=True)).squeeze(1)


def grasp_critic_loss(q: torch.Tensor, grasp_ids: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean of (Q(s, choice) - y)^2; q (B, K), grasp_ids and target (B,)."""
    return F.mse_loss(q.gather(1, grasp_ids[:, None]).squeeze(1), target)


def imitation_loss(log_prob: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Mean of -log pi(a|s) (B,), weighted by `weights` (B,); 0 if all weights are 0."""
    return -(weights * log_prob).sum() / weights.sum().clamp(min=1e-8)


def advantage_weights(advantages: torch.Tensor, temperature: float) -> torch.Tensor:
    """Weights exp(A(s, a) / temperature) (B,), scaled to a maximum of 1 (AWAC, arXiv 2006.09359, eq. 13)."""
    return ((advantages - advantages.max()) / temperature).exp()
