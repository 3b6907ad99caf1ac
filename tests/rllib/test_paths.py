"""Paths that a run is given are those of the folder that it was started in, whatever folder a worker's node works
in."""

from __future__ import annotations

from serl_ray.options.sets import options_in
from serl_ray.rllib import SERLConfig

GIVEN = {"classifier": "judge", "positives_dir": "found", "episodes_dir": "kept"}


def test_a_worker_elsewhere_finds_what_was_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = SERLConfig().training(env_name="line_envs:LineEnv", image_keys=("image",), trunk="trunk.pkl", **GIVEN)
    config.validate()
    monkeypatch.chdir("/")
    learned = config.env_config["learned_reward"]
    found = {
        **{name: learned[name] for name in ("classifier", "positives_dir")},
        "episodes_dir": config.env_config["episodes_dir"],
    }
    assert found == {name: str(tmp_path / path) for name, path in GIVEN.items()}
    assert options_in(config).encoding()["trunk"] == str(tmp_path / "trunk.pkl")


def test_a_uri_is_left_as_it_is():
    config = SERLConfig().training(env_name="line_envs:LineEnv", image_keys=("image",), classifier="s3://lab/judge")
    config.validate()
    assert config.env_config["learned_reward"]["classifier"] == "s3://lab/judge"
    assert options_in(config).encoding()["trunk"] == "random"
