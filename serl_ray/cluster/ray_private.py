"""The private names of Ray that serl_ray needs, all of them; a new release of Ray is tried against this file first."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import ray
from ray._private import ray_constants, utils
from ray._private.internal_api import node_stats
from ray._private.node import Node
from ray._private.utils import resolve_object_store_memory
from ray.exceptions import RayError

if TYPE_CHECKING:
    from gymnasium import Space
    from ray import tune
    from ray.rllib.env.env_runner_group import EnvRunnerGroup

logger = logging.getLogger(__name__)

NO_PRESTART = {"enable_worker_prestart": False, "prestart_worker_first_driver": False}
"""Ray's settings with which it starts a process when there is work for it, not one for each core at once."""
TAG = "serl_ray"
"""Tag of our asynchronous requests to RLlib's workers: results of a user's own are not taken."""
TESTED = ("2.59", "2.60")
"""Minor releases of Ray on which the tests pass."""


def warn_if_untested() -> None:
    """Warns where another release of Ray is installed than those that the tests pass on."""
    if not ray.__version__.startswith(TESTED):
        logger.warning("Ray %s is installed; serl_ray is tested with Ray %s.", ray.__version__, ", ".join(TESTED))


@contextmanager
def on_this_machine_alone() -> Iterator[None]:
    """Ray that is started in the block listens on 127.0.0.1 only, as it does by itself on macOS, and has neither a
    process that adds nodes nor one for the dashboard.

    Without a dashboard, the latter would only report usage to Ray's makers, and Ray's start would wait for it. The
    agent of the node takes any free port: beside another Ray, the start would wait for seconds for the one it always
    takes. What the agent imports comes with serl_ray, and is not imported in this process to find out.
    """
    with ExitStack() as stack:
        for owner, name, value in (
            (ray_constants, "ENABLE_RAY_CLUSTER", False),
            (Node, "start_monitor", lambda node: None),
            (Node, "start_api_server", _choose_any_port),
            (utils, "get_dashboard_dependency_error", lambda: None),
        ):
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, value)
        yield


def _choose_any_port(node: Any, **options: Any) -> None:
    """Takes the place of the dashboard's start, which comes before that of the node's agent."""
    node._ray_params.dashboard_agent_listen_port = 0


@contextmanager
def without_token_notice() -> Iterator[None]:
    """Ray that starts in the block does not report that it asks for a token."""
    log = logging.getLogger("ray._private.authentication")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def configs_by_value() -> Iterator[None]:
    """RLlib's workers that are started in the block get their config by value.

    By itself RLlib passes a reference, of which Ray prints that a worker cannot be replaced once it is lost.
    """
    from ray.rllib.env.env_runner_group import EnvRunnerGroup

    group: Any = EnvRunnerGroup
    make_worker = group._make_worker

    def make(self: EnvRunnerGroup, *, config: Any, **options: Any) -> Any:
        return make_worker(self, config=ray.get(config) if isinstance(config, ray.ObjectRef) else config, **options)

    group._make_worker = make
    try:
        yield
    finally:
        group._make_worker = make_worker


@contextmanager
def spaces_given(spaces: tuple[Space, Space] | None) -> Iterator[None]:
    """RLlib's workers that are created in the block have these spaces of observations and actions, where they are
    given.

    By itself RLlib waits until a remote worker has started, to ask it.
    """
    from ray.rllib.env import INPUT_ENV_SPACES
    from ray.rllib.env.env_runner_group import EnvRunnerGroup
    from ray.rllib.policy.sample_batch import DEFAULT_POLICY_ID

    group: Any = EnvRunnerGroup
    ask = group.get_spaces
    if spaces is not None:
        group.get_spaces = lambda group: dict.fromkeys((DEFAULT_POLICY_ID, INPUT_ENV_SPACES), spaces)
    try:
        yield
    finally:
        group.get_spaces = ask


def default_object_store(free_memory: int) -> int:
    """Bytes of the object store that Ray would choose by itself, had its node so many free."""
    return int(resolve_object_store_memory(free_memory))


def remote_workers(group: EnvRunnerGroup | None) -> list[int]:
    """The indices of a group's remote workers, healthy or not."""
    return [] if group is None else list(group._worker_manager.actor_ids())


def ready_results(group: EnvRunnerGroup, timeout: float) -> Iterator[tuple[int, Any | RayError]]:
    """Results of requests with our `TAG` within `timeout` seconds, by worker; the group's own method drops failed
    ones."""
    results: Any = group._worker_manager.fetch_ready_async_reqs(tags=TAG, timeout_seconds=timeout, mark_healthy=True)
    for result in results:
        yield result.actor_id, result.get()


def replace_callbacks(tuner: tune.Tuner, callbacks: list[tune.Callback]) -> None:
    """Gives a restored sweep new callbacks in place of those with which it began."""
    local: Any = tuner._local_tuner
    local.get_run_config().callbacks = callbacks


def object_store_bytes() -> int:
    """Bytes in use in the object store of a cluster with one node."""
    [node] = ray.nodes()
    stats = node_stats(node["NodeManagerAddress"], node["NodeManagerPort"], include_memory_info=False)
    return int(stats.store_stats.object_store_bytes_used)


def wandb_logger() -> type[Any]:
    """Ray's logger callback for Weights & Biases, whose process ends when everything is on disk: Ray kills it then."""
    from ray.air.integrations.wandb import WandbLoggerCallback, _WandbLoggingActor

    class Actor(_WandbLoggingActor):
        def run(self) -> None:
            super().run()
            self._wandb.teardown()

    class Logger(WandbLoggerCallback):
        _logger_actor_cls = Actor

    return Logger


def current_key(name: str) -> str:
    """RLlib's present name of a configuration key, which may have had another in older releases, as `num_workers`
    has."""
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

    return AlgorithmConfig._translate_special_keys(name, warn_deprecated=False)


def is_registered_env(name: str) -> bool:
    """True for an env that this process has registered by `tune.register_env`."""
    from ray.tune.registry import ENV_CREATOR, _global_registry

    return bool(_global_registry.contains(ENV_CREATOR, name))


def has_forgotten(group: EnvRunnerGroup, worker: int, in_flight: int) -> bool:
    """True if fewer requests with our `TAG` to a worker are under way than were asked for: RLlib drops them where
    another call finds the worker dead."""
    states: Any = group._worker_manager._remote_actor_states
    return int(states[worker].get_num_in_flight_requests(TAG)) < in_flight
