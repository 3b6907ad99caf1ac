"""The requests for a sorter: who may look and who may sort, and what a wrong request is told."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from threading import Event

import pytest
from hub_peers import FakeRobot, HubClient
from sorters import ListSorter

from serl_ray.teleop import throttle
from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.server import HubServer
from serl_ray.teleop.sorting_routes import MAX_BODY

IMAGE = "/sorting/image/item-0/front"


@pytest.fixture
def sorter():
    return ListSorter(3)


@pytest.fixture(autouse=True)
def quick_refusals(monkeypatch):
    monkeypatch.setattr(throttle, "WRONG_SECONDS", 0.01)


@pytest.fixture
def server(sorter):
    with closing(HubServer(sorter=sorter)) as server:
        yield server


def secret_of(server, role=ClientRole.OPERATOR):
    return server.page(role).partition("secret=")[2]


def ask(server, method, path, body=None, secret=None, **headers):
    """Status, headers and body of a request, by default an operator's, whose path is sent as it is."""
    secret = secret_of(server) if secret is None else secret
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, raw, {"Authorization": f"Bearer {secret}", **headers})
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def sort(server, **fields):
    return ask(server, "POST", "/sorting/sort", fields)[0]


def test_an_operator_looks_sorts_and_takes_it_back(server, sorter):
    status, headers, body = ask(server, "GET", "/sorting/items")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body)["items"][1] == {
        "id": "item-1",
        "group": "episode 1, step 1",
        "cameras": ["front", "wrist"],
        "label": None,
        "is_sorted": False,
        "probability": None,
        "note": "",
    }
    status, headers, body = ask(server, "GET", IMAGE)
    assert (status, headers["Content-Type"], body) == (200, "image/png", sorter.image("item-0", "front"))
    assert sort(server, id="item-1", label="success") == sort(server, id="item-0", label="left_out") == 200
    assert sorter.pressed == [("item-1", "success"), ("item-0", "left_out")]
    assert json.loads(ask(server, "POST", "/sorting/undo")[2]) == {"id": "item-0"}
    assert sorter.pressed == [("item-1", "success")]
    assert ask(server, "POST", "/sorting/finish")[0] == 200 and sorter.is_finished
    assert ask(server, "POST", "/sorting/finish")[::2] == (409, b"It is stored already.")


def test_items_that_have_not_changed_are_not_sent_again(server):
    tag = ask(server, "GET", "/sorting/items")[1]["ETag"]
    assert ask(server, "GET", "/sorting/items", **{"If-None-Match": tag})[::2] == (304, b"")
    sort(server, id="item-1", label="success")
    assert ask(server, "GET", "/sorting/items", **{"If-None-Match": tag})[0] == 200


@pytest.mark.parametrize(("role", "status"), [(ClientRole.VIEWER, 200), (ClientRole.DEVICE, 403)])
def test_viewers_look_and_do_not_sort_and_devices_do_neither(server, sorter, role, status):
    secret = secret_of(server, role)
    assert ask(server, "GET", "/sorting/items", secret=secret)[0] == status
    assert ask(server, "GET", IMAGE, secret=secret)[0] == status
    for path in ("sort", "undo", "finish"):
        fields = {"id": "item-1", "label": "success"}
        assert ask(server, "POST", f"/sorting/{path}", fields, secret=secret)[0] == 403
    assert not sorter.pressed and not sorter.is_finished


def test_nobody_looks_without_a_secret(server, sorter):
    asked = [("GET", "/sorting/items"), ("GET", IMAGE), ("POST", "/sorting/sort"), ("POST", "/sorting/undo")]
    for (method, path), secret in zip(asked, ("", "0" * 64, "é" * 64, server.robots()["secret"]), strict=True):
        assert ask(server, method, path, secret=secret.encode().decode("latin-1"))[0] == 401
    assert not sorter.shown


def test_wrong_secrets_lock_nobody_out(server):
    for _ in range(10):
        assert ask(server, "GET", "/sorting/items", secret="0" * 64)[0] == 401
    assert ask(server, "GET", "/sorting/items")[0] == ask(server, "GET", IMAGE)[0] == 200


def test_pages_of_other_sites_may_not_ask(server):
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        assert ask(server, "GET", "/sorting/items", **headers)[0] == 403
        assert ask(server, "POST", "/sorting/undo", **headers)[0] == 403


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b"[" * 4000, 400),
        ([], 400),
        ({"id": "item-1"}, 400),
        ({"id": "item-1", "label": "success", "more": 1}, 400),
        ({"id": "item-1", "label": "good"}, 400),
        ({"id": "item-1", "label": ["success"]}, 400),
        ({"id": 1, "label": "success"}, 400),
        ({"id": "", "label": "success"}, 400),
        ({"id": "item-3", "label": "success"}, 404),
        ({"id": "../item-1", "label": "success"}, 404),
        (b" " * (MAX_BODY + 1), 413),
    ],
)
def test_a_wrong_request_is_refused(server, sorter, body, status):
    assert ask(server, "POST", "/sorting/sort", body)[0] == status
    assert not sorter.pressed


@pytest.mark.parametrize(
    "path",
    [
        "item-9/front",
        "item-0/side",
        "item-0/..%2Fwrist",
        "..%2Fitem-0/front",
        "%2Fetc/passwd",
        "item-0/%00",
        "a",
        "a/b/c",
    ],
)
def test_an_image_that_is_none_is_not_found(server, path):
    assert ask(server, "GET", f"/sorting/image/{path}")[0] == 404


def test_a_hub_without_a_sorter_has_none_of_it():
    with closing(HubServer()) as server:
        assert ask(server, "GET", "/sorting/items")[0] == 404


def test_a_slow_disk_keeps_no_robot_waiting(server, sorter, monkeypatch):
    asked, read = Event(), Event()

    def slow(item, camera):
        asked.set()
        assert read.wait(30)
        return b"\xff\xd8\xff"

    monkeypatch.setattr(sorter, "image", slow)
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        connection.request("GET", IMAGE, headers={"Authorization": f"Bearer {secret_of(server)}"})
        assert asked.wait(30)
        with closing(FakeRobot(server.robots())) as robot, closing(HubClient(server.page())) as client:
            while robot.name not in client.robots:
                client.robots = client.next("welcome").fields["robots"]
            robot.show(1)
            assert client.watch(robot.name).fields["frame"] == 1
        read.set()
        assert connection.getresponse().headers["Content-Type"] == "image/jpeg"


def test_a_file_that_cannot_be_written_is_named(server, sorter, monkeypatch):
    def full(item, label):
        raise OSError(28, "No space left on device", "success/a.png")

    monkeypatch.setattr(sorter, "sort", full)
    status, _, sentence = ask(server, "POST", "/sorting/sort", {"id": "item-0", "label": "success"})
    assert status == 500 and b"No space left on device" in sentence
