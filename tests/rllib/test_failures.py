"""Failures of rollout workers in words."""

from types import SimpleNamespace

import pytest

from serl_ray.data.episodes import EnvFault
from serl_ray.rllib.failures import BrokenEnvError, raise_failure, reporting


@pytest.mark.parametrize(
    ("kind", "words"), [("timeout", "is late"), ("lost", "loses its robot"), ("not_finite", "breaks the contract")]
)
def test_an_env_that_is_late_or_lost_is_not_said_to_break_the_contract(kind, words):
    @reporting
    def collect(worker):
        raise EnvFault(kind, "The reason.")

    with pytest.raises(BrokenEnvError, match=f"rollout worker 3 {words} again and again. The reason."):
        raise_failure(collect(SimpleNamespace(worker_index=3)))
