"""Who is let in by the hub: secrets, roles, hosts, origins, and the files of the page."""

from __future__ import annotations

import http.client
import socket
from contextlib import ExitStack, closing

import aiohttp
import pytest
from hub_peers import ROBOT, FakeRobot, HubClient, Peer

from serl_ray.teleop import hub, throttle
from serl_ray.teleop.events import ClientRole
from serl_ray.teleop.server import EVERYWHERE, HubServer
from serl_ray.teleop.throttle import Throttle
from serl_ray.teleop.wire import Message, pack

CLIENTS, ROBOTS = "/ws", "/robot"
ROBOT_ROLE = {"robot": "r", "described": ROBOT}


@pytest.fixture(autouse=True)
def quick_refusals(monkeypatch):
    monkeypatch.setattr(throttle, "WRONG_SECONDS", 0.01)


def secret_of(server, role):
    return server.page(role).partition("secret=")[2]


def closed_with(server, path, raw):
    """The code with which the hub closes a connection after its first message; None sends nothing."""
    with closing(Peer(f"ws://127.0.0.1:{server.port}{path}")) as peer:
        if raw is not None:
            peer.send_raw(raw)
        return peer.close_code()


def hello(**fields):
    return pack(Message("hello", fields))


def test_every_role_comes_in_by_its_own_secret(server):
    for role in ClientRole:
        with closing(HubClient(server.page(role))) as client:
            assert client.name.startswith(role)


def test_a_hub_on_all_addresses_names_one_by_which_it_answers():
    with closing(HubServer("0.0.0.0")) as server:
        assert server.host not in EVERYWHERE and server.robots()["url"] == f"ws://{server.host}:{server.port}/robot"
        for address in (server.page(), server.page().replace(server.host, "127.0.0.1")):
            with closing(HubClient(address)) as client:
                assert client.name


def test_clients_are_told_which_tabs_the_hub_offers():
    with closing(HubServer(tabs=("record", "label"))) as server, closing(HubClient(server.page())) as client:
        assert client.tabs == ["record", "label"]


@pytest.mark.parametrize(
    "first",
    [
        lambda server: hello(secret="0" * 64, role="operator"),
        lambda server: hello(secret=secret_of(server, ClientRole.VIEWER), role="operator"),
        lambda server: hello(secret=secret_of(server, ClientRole.OPERATOR), role="viewer"),
        lambda server: hello(secret=server.robots()["secret"], role="operator"),
        lambda server: hello(secret=server.robots()["secret"], role="robot"),
        lambda server: hello(secret=server.robots()["secret"], **ROBOT_ROLE),
        lambda server: hello(secret=secret_of(server, ClientRole.OPERATOR)),
        lambda server: hello(secret=secret_of(server, ClientRole.OPERATOR), role="operator", more=1),
        lambda server: hello(secret=["a"], role="operator"),
        lambda server: hello(secret="é" * 64, role="operator"),
        lambda server: pack(Message("watch", {"secret": secret_of(server, ClientRole.OPERATOR), "role": "operator"})),
        lambda server: "text",
        lambda server: b"garbage",
    ],
)
def test_a_client_with_a_wrong_first_message_is_sent_away(server, first):
    assert closed_with(server, CLIENTS, first(server)) == 4401


@pytest.mark.parametrize("role", ClientRole)
def test_the_secret_of_a_client_does_not_open_the_door_of_robots(server, role):
    assert closed_with(server, ROBOTS, hello(secret=secret_of(server, role), **ROBOT_ROLE)) == 4401
    assert closed_with(server, ROBOTS, hello(secret=secret_of(server, role), role=role)) == 4401


def test_who_says_nothing_is_sent_away(server, monkeypatch):
    monkeypatch.setattr(hub, "HELLO_SECONDS", 0.1)
    assert closed_with(server, CLIENTS, None) == closed_with(server, ROBOTS, None) == 4401


def test_the_right_secret_is_let_in_while_wrong_ones_wait_for_their_answer(server, monkeypatch):
    monkeypatch.setattr(throttle, "WRONG_SECONDS", 3600.0)
    with ExitStack() as stale:
        for _ in range(20):
            peer = stale.enter_context(closing(Peer(f"ws://127.0.0.1:{server.port}{CLIENTS}")))
            peer.send_raw(hello(secret="0" * 64, role="operator"))
            assert peer.inbox.empty(), "it has no answer yet"
        with closing(HubClient(server.page())) as client, closing(FakeRobot(server.robots())):
            while "fake" not in client.robots:
                client.robots = client.next("welcome").fields["robots"]


def test_the_messages_of_a_client_that_has_left_are_forgotten():
    throttle = Throttle(lambda: 0.0)
    assert [throttle.counts("a", 0.2) for _ in range(2)] == [True, False]
    throttle.forget("a")
    assert throttle.counts("a", 0.2)


def get(server, path, host="127.0.0.1", **headers):
    """Status, headers and body of a request with just these headers, whose path is sent as it is."""
    with closing(http.client.HTTPConnection(host, server.port, timeout=30)) as connection:
        connection.putrequest("GET", path, skip_host="Host" in headers)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        return response.status, response.headers, response.read()


def test_hosts_and_origins_of_others_are_refused(server):
    own = f"127.0.0.1:{server.port}"
    for headers, status in [
        ({"Host": own}, 200),
        ({"Host": "localhost:1234"}, 200),
        ({"Host": own, "Origin": f"http://{own}"}, 200),
        ({"Host": "localhost:1234", "Origin": "http://localhost:1234"}, 200),
        ({"Host": f"evil.example:{server.port}"}, 403),
        ({"Host": f"127.0.0.1.evil.example:{server.port}"}, 403),
        ({"Host": own, "Origin": "http://evil.example"}, 403),
        ({"Host": own, "Origin": "http://127.0.0.1:1"}, 403),
        ({"Host": own, "Origin": "null"}, 403),
    ]:
        assert get(server, "/", **headers)[0] == status, headers
        if status == 403:
            assert get(server, CLIENTS, **headers)[0] == get(server, ROBOTS, **headers)[0] == 403


def test_a_request_without_a_host_is_refused(server):
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=30)) as connection:
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert b" 403 " in connection.recv(100)


def test_a_page_of_another_site_cannot_connect(server):
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        Peer(f"ws://127.0.0.1:{server.port}{CLIENTS}", {"Origin": "http://evil.example"})
    assert refused.value.status == 403


def test_the_address_for_robots_serves_no_page():
    with closing(HubServer(for_robots="127.0.0.2")) as server:
        with closing(FakeRobot(server.robots())), closing(HubClient(server.page())) as client:
            while "fake" not in client.robots:
                client.robots = client.next("welcome").fields["robots"]
        assert server.robots()["url"] == f"ws://127.0.0.2:{server.port}/robot"
        for path in ("/", "/main.js", CLIENTS):
            assert get(server, path, "127.0.0.2")[0] == 403


def test_what_is_served_runs_nothing_of_others(server):
    for path in ("/", "/main.js"):
        status, headers, _ = get(server, path)
        assert status == 200
        assert "default-src 'self'" in headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "path",
    [
        "/../keys.py",
        "/..%2fkeys.py",
        "/%2e%2e/keys.py",
        "/%2e%2e%2fkeys.py",
        "/..\\keys.py",
        "/.%00./keys.py",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/main.js/../../keys.py",
        "/nothing",
    ],
)
def test_no_file_but_those_of_the_page_is_served(server, path):
    status, _, body = get(server, path)
    assert status in (400, 403, 404) and b"hmac" not in body and b"root:" not in body


def test_no_secret_is_in_what_is_served(server):
    assert not any(secret_of(server, role).encode() in get(server, "/")[2] for role in ClientRole)


def test_a_port_that_is_taken_is_named(server):
    with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{server.port}"):
        HubServer(port=server.port)


def test_a_hub_that_cannot_listen_for_robots_leaves_its_port_free():
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(OSError, match="cannot listen"):
        HubServer(port=port, for_robots="203.0.113.1")
    with closing(HubServer(port=port)) as server:
        assert server.port == port
