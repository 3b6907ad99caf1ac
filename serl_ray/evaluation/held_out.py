"""Evaluation on held-out demonstrations: errors of actions and values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from serl_ray.data.rewards import discounted_returns
from serl_ray.data.schema import Segment


@dataclass
class ValueCurve:
    """Values along a segment of n steps.

    Attributes:
        q: mean Q (n,) of the critics for the executed actions.
        returns: discounted returns (n,).
    """

    q: np.ndarray
    returns: np.ndarray


@dataclass
class Judgement:
    """Results of an agent on held-out segments.

    Attributes:
        action_errors: absolute differences (n, A) between the policy's mode and the executed actions.
        grasps_agree: flags (n,), true if all grippers agree with the executed action; empty without learned grippers.
        curves: value curves of the segments.
    """

    action_errors: np.ndarray
    grasps_agree: np.ndarray
    curves: list[ValueCurve]

    def metrics(self) -> dict[str, float]:
        q, returns = (np.concatenate([getattr(curve, name) for curve in self.curves]) for name in ("q", "returns"))
        metrics = {
            "held_out/action_error": float(self.action_errors.mean()),
            "held_out/q_mean": float(q.mean()),
            "held_out/q_max": float(q.max()),
            "held_out/value_error": float(np.abs(q - returns).mean()),
        }
        if len(self.grasps_agree):
            metrics["held_out/grasp_accuracy"] = float(self.grasps_agree.mean())
        return metrics


def judge(agent: Any, segments: Sequence[Segment], discount: float) -> Judgement:
    """Compares an agent with segments of its observations."""
    continuous, grippers = list(agent.layout.continuous_indices), list(agent.layout.gripper_indices)
    errors, agree, curves = [], [], []
    for segment in segments:
        observations = _observed(segment, agent.spec.frame_stack)
        actions = agent.sample_actions(observations, argmax=True)
        errors.append(np.abs(actions - segment.actions)[:, continuous])
        if grippers:
            agree.append((actions[:, grippers] == segment.actions[:, grippers].round()).all(axis=1))
        q = agent.q_values(observations, segment.actions).mean(axis=0)
        curves.append(ValueCurve(q, discounted_returns(segment.rewards, discount)))
    return Judgement(np.concatenate(errors), np.concatenate(agree) if agree else np.empty(0), curves)


def _observed(segment: Segment, frame_stack: int) -> dict[str, np.ndarray]:
    """Observations at n steps: (n, ...), or (n, T, ...) for stacks of T, in which the first one is repeated."""
    if frame_stack == 1:
        return {key: rows[:-1].copy() for key, rows in segment.observations.items()}  # arrays from Ray are read-only
    steps = np.arange(len(segment))[:, None] + np.arange(1 - frame_stack, 1)
    return {key: rows[steps.clip(min=0)] for key, rows in segment.observations.items()}
