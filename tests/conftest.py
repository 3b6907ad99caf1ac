"""One Ray for all tests that can share it; those that need a cluster of their own come first, and long files before
short ones."""

from __future__ import annotations

import os
import signal
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import ray
import torch
from forked_workers import with_forks
from ray._private.parameter import RayParams
from ray.rllib.algorithms import Algorithm, AlgorithmConfig
from tqdm.std import TqdmDefaultWriteLock, tqdm

from serl_ray.agents import arithmetic
from serl_ray.cluster.start import start_ray
from serl_ray.sweeps.run import SLOT

TESTS = Path(__file__).parent
PATHS = os.pathsep.join((str(TESTS.parent), str(TESTS)))
"""Where workers find the package and the envs of the tests."""
RAYS_OWN = RayParams.__init__


def pytest_configure() -> None:
    """Lets Ctrl-C interrupt, which a shell has ignored in what it runs in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips what needs a GPU where there is none, and orders the tests.

    Those with a cluster of their own come first: they take long, and the shared Ray starts once. Then files come by
    their number of slow tests: with a long file at the end, one of two processes would wait for the other.
    """
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a GPU"))
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(
        key=lambda item: ({"own_cluster", "desk"}.isdisjoint(getattr(item, "fixturenames", ())), -slow[item.path])
    )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Frees the lock of progress bars and names the test that has left it held: tqdm does not free it where drawing
    raises, and the next bar of another thread, or Ray's print, would wait for ever."""
    result = yield
    while TqdmDefaultWriteLock.th_lock._is_owned():
        tqdm.get_lock().release()
        warnings.warn(f"{item.nodeid} has left the lock of progress bars held.", stacklevel=1)
    return result


@pytest.fixture(scope="session", autouse=True)
def float32() -> Iterator[None]:
    """Learners compute in float32 on every machine, unless a test asks for bfloat16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arithmetic, "multiplies_bfloat16", lambda device: False)
        yield


@pytest.fixture(scope="session")
def python_path() -> Iterator[str]:
    """The PYTHONPATH of every process that the tests start, set in this one; their threads wait without taking a
    core, Ray's workers are forked, and Ray Train looks often whether its workers have ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RayParams, "__init__", with_forks(RAYS_OWN))
        patch.setenv("PYTHONPATH", PATHS)
        patch.setenv("OMP_WAIT_POLICY", "passive")
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        yield PATHS


@pytest.fixture(scope="session")
def shared_ray(python_path: str) -> Iterator[None]:
    """Ray as a training run starts it, with room for two trials of a population.

    It has few cores: it would start a process for each of them at once, and each imports for seconds.
    """
    start_shared_ray()
    yield
    ray.shutdown()


def start_shared_ray() -> None:
    start_ray(2, resources={SLOT: 2})


@contextmanager
def no_ray() -> Iterator[None]:
    """The block begins without Ray, and what it starts ends with it; the shared Ray is there again afterwards.

    Otherwise RLlib would start Ray by itself, and join the newest cluster on this machine, that of another process.
    """
    is_shared = ray.is_initialized()
    ray.shutdown()
    yield
    ray.shutdown()
    if is_shared:
        start_shared_ray()


@pytest.fixture
def real_workers(own_cluster: None) -> Iterator[None]:
    """Ray as `shared_ray`, whose workers start as a user's do, with imports of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RayParams, "__init__", RAYS_OWN)
        start_ray(2)
        yield


@pytest.fixture
def build() -> Iterator[Callable[[AlgorithmConfig], Algorithm]]:
    """Builds algorithms, which end with the test."""
    with ExitStack() as algorithms:

        def build(config: AlgorithmConfig) -> Algorithm:
            algorithm = config.build_algo()
            algorithms.callback(algorithm.stop)
            return algorithm

        yield build


@pytest.fixture
def own_cluster(python_path: str) -> Iterator[None]:
    """No Ray yet, and none of what the test starts afterwards."""
    with no_ray():
        yield
