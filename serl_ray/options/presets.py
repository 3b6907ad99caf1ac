"""Named departures from the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

from serl_ray.data.rewards import DEFAULT_BOUND, SUCCESS_RETURN
from serl_ray.utils.options import Options, check_names, names_of

PresetName = Literal["none", "hil-serl", "tabletop"]
RewardKind = Literal["sparse", "dense"]

PRESETS: dict[str, dict[str, Any]] = {
    "none": {},
    "hil-serl": {
        "discount": 0.97,
        "max_return": None,
        "n_step": 1,
        "utd_ratio": 1.0,
        "tau": 0.005,
        "batch_size": 256,
        "critic_ensemble_size": 2,
        "image_latent_dim": 256,
        "action_gain": 1.0,
        "augment_crops": 4,
    },
    "tabletop": {"fragment_length": 30},
}
"""Options by preset. The defaults are what learns fastest. `hil-serl` has the original's hyper-parameters (REFERENCE
section 7) in their place. `tabletop` asks rollout workers less often, for a simulator's fast steps."""

REWARD_DEFAULTS: dict[RewardKind, dict[str, Any]] = {
    "sparse": {
        "max_return": DEFAULT_BOUND.max_return,
        "success_return": SUCCESS_RETURN,
        "discount": None,
    },
    "dense": {"max_return": None, "success_return": None, "discount": 0.98},
}
"""Defaults that follow from the kind of reward. Dense rewards add up to returns without a known bound, say
nothing about success, and are worth a longer view than the way to a single reward."""


def preset(name: str, options: type[Options]) -> dict[str, Any]:
    """The values of a preset for those options that a training has.

    Raises:
        OptionError: there is no such preset.
    """
    check_names([name], get_args(PresetName), "preset")
    return {option: value for option, value in PRESETS[name].items() if option in names_of(options)}


def with_reward_defaults(given: Mapping[str, Any], options: type[Options]) -> dict[str, Any]:
    """The given options, and those of `options` that follow from their `reward` where they leave them open."""
    kind: Any = given.get("reward")
    implied = {name: value for name, value in REWARD_DEFAULTS.get(kind, {}).items() if name in names_of(options)}
    return {**implied, **given}
