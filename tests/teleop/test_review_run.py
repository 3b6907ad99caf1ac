"""A whole run with a reward classifier and an operator: what is vetoed there is first in the review."""

from __future__ import annotations

import http.client
import json
import time
from contextlib import closing

import pytest
from hub_peers import SECONDS, HubClient
from operated_robots import POLICY, Background
from small_runs import SMALL

from serl_ray.files.pickles import load_pickle
from serl_ray.networks.classifier import RewardClassifier
from serl_ray.rllib import SERLConfig

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("shared_ray")]

OPTIONS = SMALL | {"training_starts": 4000, "random_steps": 4000, "evaluate_every": 0, "control_hz": 20}
BELIEVED = 4
"""Step that the classifier calls a success."""


def config(folder):
    RewardClassifier(["front"], device="cpu").save(folder)
    config = SERLConfig().training(
        env_name="page_robots:EndlessEnv",
        env_kwargs={"cameras": ("front",)},
        setup_mode="single-arm-learned-gripper",
        classifier=str(folder),
        positives_dir=str(folder / "positives"),
        **OPTIONS,
    )
    return config.operator(operator_port=0).env_runners(num_env_runners=0).debugging(seed=3)


def ask(page, method, path, **fields):
    """The answer of the hub to an operator's request for the review."""
    host, _, fragment = page.removeprefix("http://").partition("/#")
    headers = {"Authorization": f"Bearer {fragment.partition('secret=')[2]}"}
    with closing(http.client.HTTPConnection(host, timeout=30)) as connection:
        connection.request(method, f"/sorting/{path}", json.dumps(fields) if fields else None, headers)
        response = connection.getresponse()
        assert response.status == 200, response.reason
        return json.loads(response.read())


def veto(page):
    """Vetoes what is shown until a success of the classifier was among it; makes it a hard negative."""
    with closing(HubClient(page)) as client:
        while not client.robots:
            client.robots = client.next("welcome").fields["robots"]
        client.watch(next(iter(client.robots)))
        ends = time.monotonic() + SECONDS
        while True:
            assert time.monotonic() < ends, f"no veto has come to pass: {client.state}"
            client.display()
            client.command(False, POLICY)
            client.next("frame")
            if client.state["holder"] != client.name:
                client.press("request")
            elif client.state["step"] == BELIEVED:
                client.press("veto")
            items = ask(page, "GET", "items")["items"]
            if items and items[0]["note"] == "vetoed":
                ask(page, "POST", "sort", id=items[0]["id"], label=items[0]["label"])
                return len(items)


def test_a_veto_is_first_in_the_review_of_the_run(build, tmp_path, monkeypatch):
    believed = lambda self, seen: (0.75, bool(seen["front"].max() >= BELIEVED))  # noqa: E731
    monkeypatch.setattr(RewardClassifier, "predict_success", believed)
    algorithm = build(config(tmp_path))
    vetoing = Background(lambda: veto(algorithm.hub.page))
    while vetoing.is_running:
        algorithm.training_step()
        time.sleep(0.01)  # so that the other thread of this process has its turn
    assert vetoing.result() >= 1
    algorithm.wait_for_requests()
    [path] = (tmp_path / "positives_reviewed").rglob("*.pkl")
    assert path.relative_to(tmp_path / "positives_reviewed").parts[0] == "failure"
    [frame] = load_pickle(path)
    assert frame["labels"] == 0 and (frame["observations"]["front"] == BELIEVED).all()
