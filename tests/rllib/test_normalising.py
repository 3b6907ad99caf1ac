"""The scale of the state in a run: from demonstrations, from the run before, or refused."""

from __future__ import annotations

import numpy as np
import pytest

from serl_ray.agents.config import SACConfig
from serl_ray.agents.make import make_agent
from serl_ray.networks.inputs import ObservationSpec
from serl_ray.options.sets import HybridOptions, OfflineOptions
from serl_ray.rllib.normalising import check_has_scale, fit_normaliser, with_scale_of
from serl_ray.types import ActionLayout


def normalises(options):
    return options.agent.networks.encoder.normalise_state


def test_offline_training_normalises_and_a_run_from_it_does_so_too():
    assert normalises(OfflineOptions.of()) and not normalises(HybridOptions.of())
    assert normalises(with_scale_of(OfflineOptions.of().flat(), HybridOptions.of()))
    assert not normalises(with_scale_of({}, HybridOptions.of()))


def test_without_demonstrations_a_scale_is_refused():
    with pytest.raises(
        ValueError, match="normalise_state takes the scale of the state from demonstrations, and there are none"
    ):
        check_has_scale(HybridOptions.of(normalise_state=True))
    check_has_scale(HybridOptions.of(normalise_state=True, demo_paths=("demos.pkl",)))
    check_has_scale(HybridOptions.of(normalise_state=True, init_from="offline_ckpt"))
    check_has_scale(HybridOptions.of())


def test_the_scale_is_that_of_the_demonstrated_states():
    def sample(size, rng):
        return {"observations": {"state": rng.normal([5.0, -1.0], [0.1, 2.0], (size, 1, 2))}}

    layout, spec = ActionLayout.from_sizes(6), ObservationSpec((), state_dim=2)
    agent = make_agent(layout, spec, SACConfig.of(normalise_state=True), device="cpu")
    fit_normaliser(agent, sample, seed=0)
    for networks in (agent.networks, agent.target):
        np.testing.assert_allclose(networks.encoder.normaliser.mean, [5.0, -1.0], atol=0.1)
        np.testing.assert_allclose(networks.encoder.normaliser.deviation, [0.1, 2.0], rtol=0.05)
    plain = make_agent(layout, spec, SACConfig(), device="cpu")
    fit_normaliser(plain, sample, seed=0)
    assert plain.networks.encoder.normaliser is None
