"""Start of Ray, or joining of a cluster."""

from __future__ import annotations

import socket

import pytest
import ray

from serl_ray.cluster.start import check_answers, start_ray


@pytest.mark.usefixtures("own_cluster")
def test_a_cluster_that_does_not_answer_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_answers(address)
        check_answers(f"ray://{address}")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(ConnectionError, match=f"RAY_ADDRESS is {address}, where no cluster answers .*unset RAY_ADDRESS"):
        start_ray(0)
    assert not ray.is_initialized()
