"""Start of Ray, or joining of a cluster."""

from __future__ import annotations

import socket

import pytest
import ray

from serl_ray.cli.main import main
from serl_ray.cluster import start
from serl_ray.cluster.start import check_answers, start_ray
from serl_ray.rllib import SERLConfig


@pytest.mark.usefixtures("own_cluster")
def test_a_cluster_that_does_not_answer_is_named(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        check_answers(address)
        check_answers(f"ray://{address}")
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(
        ConnectionError, match=f"RAY_ADDRESS is {address}, where no cluster answers .*unset RAY_ADDRESS"
    ):
        start_ray(0)
    assert not ray.is_initialized()


@pytest.mark.usefixtures("own_cluster")
def test_a_cluster_of_other_versions_is_named_in_one_line(monkeypatch):
    def joins(**options):
        raise RuntimeError("Version mismatch: The cluster was started with:\n    Ray: 1.0\n    Python: 3.7\n")

    monkeypatch.setattr(ray, "init", joins)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(ConnectionError) as caught:
        start_ray(0)
    assert str(caught.value) == (
        "RAY_ADDRESS is auto, and this process cannot join the cluster there: Version mismatch: The cluster was "
        "started with: Ray: 1.0 Python: 3.7 Use the cluster's versions of Ray and Python here, or unset RAY_ADDRESS to "
        "use this machine alone."
    )


@pytest.mark.usefixtures("own_cluster")
@pytest.mark.parametrize("address", ["", " "])
def test_an_empty_address_is_none(monkeypatch, address):
    started = []
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(start, "start_here", lambda **options: started.append(options))
    assert start_ray(0) and len(started) == 1


@pytest.mark.usefixtures("own_cluster")
def test_a_folder_for_temporary_files_with_a_long_name_is_named(monkeypatch, tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(
        ValueError, match=rf"{folder}, has {len(str(folder))} bytes in its name, too many .* TMPDIR=/tmp"
    ):
        start_ray(0)
    assert not ray.is_initialized()


@pytest.mark.usefixtures("own_cluster")
def test_an_algorithm_in_python_starts_ray_as_the_commands_do(monkeypatch):
    class Started(Exception):
        """Ray would start now."""

    def begin(num_processes):
        raise Started(num_processes)

    monkeypatch.setattr("serl_ray.rllib.base.start_ray", begin)
    config = SERLConfig().env_runners(num_env_runners=2).evaluation(evaluation_num_env_runners=1)
    with pytest.raises(Started) as caught:
        config.build_algo()
    assert caught.value.args == (3,) and not ray.is_initialized()


def test_training_on_windows_names_wsl(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("platform.system", lambda: "Windows")
    assert main(["train", "--env_name", "line_envs:LineEnv", "--save_dir", str(tmp_path / "run")]) == 2
    assert "serl train: error: Training needs Linux or macOS: on Windows run it in WSL" in capsys.readouterr().err
