"""The page's side of the wire against the package's, and what the page says of a robot; run by Node."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hub_peers import ROBOT

import serl_ray.teleop
from serl_ray.teleop.events import COUNT_OF, Client, ClientRole
from serl_ray.teleop.messages import command_of
from serl_ray.teleop.session import Session
from serl_ray.teleop.twists import Twist
from serl_ray.teleop.wire import Message, pack, unpack
from serl_ray.types import ActionLayout

NODE = shutil.which("node")
PAGE = Path(serl_ray.teleop.__file__).parent / "web"
JPEG = b"\xff\xd8\xff\xe0 no picture, but odd in length"

pytestmark = pytest.mark.skipif(NODE is None, reason="Node is not installed.")


def run_module(name: str, body: str, given: Any) -> Any:
    """The JSON that `body` returns: the body of a JavaScript function of a module's exports, `page`, and of `given`."""
    source = base64.b64encode((PAGE / name).read_bytes()).decode()
    script = f"""
        import {{ readFileSync }} from "node:fs";
        const page = await import("data:text/javascript;base64,{source}");
        const given = JSON.parse(readFileSync(0, "utf8"));
        const found = await (async () => {{ {body} }})();
        process.stdout.write(JSON.stringify(found));
    """
    command = [str(NODE), "--input-type=module", "-e", script]
    done = subprocess.run(command, input=json.dumps(given), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_page_reads_what_the_package_writes():
    fields = {"robot": "peg", "frame": 7, "seconds": None, "state": {"holder": "Zoë", "counts": {"holds": 2}}}
    arrays = {"odd": np.arange(3, dtype=np.uint8), "exact": np.array([[0.25, -1.0]], np.float32)}
    packed = pack(Message("frame", fields, arrays, {"wrist": JPEG}))
    body = """
        const { buffer } = Uint8Array.from(given.packed);
        const { kind, fields, arrays, jpegs } = page.unpack(buffer);
        const plain = (named) => Object.fromEntries(Object.entries(named).map(([name, array]) => [name, [...array]]));
        return { kind, fields, arrays: plain(arrays), jpegs: plain(jpegs) };
    """
    assert run_module("wire.js", body, {"packed": list(packed)}) == {
        "kind": "frame",
        "fields": fields,
        "arrays": {"odd": [0, 1, 2], "exact": [0.25, -1.0]},
        "jpegs": {"wrist": list(JPEG)},
    }


def test_the_package_reads_the_commands_of_the_page():
    device = {"epoch": 3, "frame": 41, "clutch": True, "source": "keyboard", "tail": False}
    fields = {**device, "arm": 0, "reference": "base"}
    twist = np.linspace(-1.0, 1.0, 6, dtype=np.float32)
    body = "return [...page.pack('command', given.fields, { twist: given.twist })];"
    packed = bytes(run_module("wire.js", body, {"fields": fields, "twist": twist.tolist()}))
    command = command_of(unpack(packed), Client("somebody", ClientRole.OPERATOR), ROBOT)
    assert {name: getattr(command, name) for name in device} == device
    assert isinstance(command.motion, Twist) and command.motion.numbers.tobytes() == twist.tobytes()


def test_the_page_refuses_damaged_messages():
    good = pack(Message("frame", {"frame": 1}, {"state": np.ones(2, np.float32)}, {"wrist": JPEG}))
    damaged = {
        "cut off": good[:-1],
        "too long": good + b"\0",
        "too short": good[:3],
        "a header beyond its end": b"\xff\xff\xff\x7f" + good[4:],
        "no JSON": good.replace(b'{"kind"', b'{"kind ', 1),
        "an object": good.replace(b"float32", b"object3", 1),
    }
    body = """
        return given.damaged.map((bytes) => {
            try {
                page.unpack(Uint8Array.from(bytes).buffer);
                return "read";
            } catch (error) {
                return error instanceof page.WireError ? "refused" : `${error}`;
            }
        });
    """
    found = run_module("wire.js", body, {"damaged": [list(packed) for packed in damaged.values()]})
    assert dict(zip(damaged, found, strict=True)) == dict.fromkeys(damaged, "refused")


def test_a_robot_seen_from_the_front_moves_away_from_its_viewer():
    body = "return page.turned([1, 0.5, 0.25, 1, 0, 0.75], 'front').map((value) => value + 0);"
    assert run_module("layout.js", body, None) == [-1, -0.5, 0.25, -1, 0, 0.75]


def test_numbers_of_an_action_are_axes_or_joints():
    robot = {"action_dim": 14, "arms": 2, "grippers": [6, 13], "references": ["base"], "converts": False}
    labels = run_module("layout.js", "return page.labelsOf(given);", robot)
    assert labels[:8] == ["L x", "L y", "L z", "L roll", "L pitch", "L yaw", "L grip", "R x"]
    labels = run_module("layout.js", "return page.labelsOf(given);", robot | {"converts": True})
    assert labels[:8] == [*(f"L joint {n}" for n in range(1, 7)), "L grip", "R joint 1"]


def test_the_tools_frame_is_a_choice_where_the_robot_understands_it():
    views = ["tool", "left", None, "above"]
    body = "return given.views.map((view) => page.viewFor({ references: given.references }, view));"
    known = {"views": views, "references": ["base", "tool"]}
    assert run_module("layout.js", body, known) == ["tool", "left", "behind", "behind"]
    assert run_module("layout.js", body, known | {"references": ["base"]}) == ["behind", "left", "behind", "behind"]
    body = "return page.turned([1, 0.5, 0.25, 1, 0, 0.75], 'tool');"
    assert run_module("layout.js", body, None) == [1, 0.5, 0.25, 1, 0, 0.75]


RUNNING = {
    "holder": "me",
    "epoch": 1,
    "is_intervening": False,
    "is_stopped": False,
    "is_paused": False,
    "may_move": True,
    "has_policy": True,
    "hands_off": False,
    "is_running": True,
    "episode": 1,
    "counts": {},
    "refusals": [],
}
SHOWN = {
    "model": {},
    "connection": {"state": "ready"},
    "silence": 0,
    "robot": "peg",
    "spec": {},
    "role": "operator",
    "isMine": True,
}


SITUATIONS = [
    ("POLICY ACTS", {}, {"actor": "policy"}),
    ("YOU DRIVE", {"is_intervening": True}, {"actor": "person"}),
    ("DRIVEN", {"is_intervening": True, "holder": "somebody"}, {"actor": "person", "isMine": False}),
    ("HOLD", {"is_intervening": True}, {"actor": "hold"}),
    ("EVALUATION", {"hands_off": True}, {"actor": "policy"}),
    ("EVALUATION", {"hands_off": True, "is_running": False}, {"actor": "policy"}),
    ("STOPPED", {"hands_off": True, "is_stopped": True, "may_move": False}, {"actor": "policy"}),
    ("WAITING", {"has_policy": False}, {"actor": "person"}),
    ("PAUSED", {"is_paused": True, "may_move": False}, {"actor": "hold"}),
    ("PAUSED", {"may_move": False}, {"actor": "policy"}),
    ("STOPPED", {"is_stopped": True, "is_paused": True, "may_move": False}, {"actor": "person"}),
    ("RESET", {"is_running": False}, {"actor": "policy"}),
    ("NO ROBOT", {}, {"spec": None}),
    ("NOT CONNECTED", {}, {"silence": 3001}),
    ("NOT CONNECTED", {"is_stopped": True}, {"connection": {"state": "waiting"}}),
]


def test_who_acts_is_said_in_large_letters():
    given = [SHOWN | {"state": RUNNING | changed} | beside for _, changed, beside in SITUATIONS]
    found = run_module("status.js", "return given.map((situation) => page.who(situation).label);", given)
    assert found == [label for label, _, _ in SITUATIONS]


def test_refusals_and_losses_are_told_once():
    counts = {"refused": 22, "losses": 1}
    before = RUNNING | {"counts": {"refused": 20}, "refusals": ["old is refused."] * 20}
    after = before | {"counts": counts, "is_paused": True, "refusals": [*["old is refused."] * 18, "a: no.", "b: no."]}
    body = "return [page.story(...given), page.story(given[1], given[1], 'me')].map((told) => told.map((t) => t.text));"
    first, second = run_module("story.js", body, [before, after, "me"])
    assert first == ["No command for 2 s: the episode was cut off, and the robot paused.", "A: no.", "B: no."]
    assert second == []


def test_every_label_that_is_counted_is_told():
    after = RUNNING | {"counts": {name: 1 for name in COUNT_OF.values()}}
    found = run_module("story.js", "return page.story(...given).map((told) => told.text);", [RUNNING, after, "me"])
    assert found == ["Success.", "Failure.", "Veto: no success.", "Discarded."]


def test_the_page_knows_what_a_session_says():
    state = Session(ActionLayout.from_setup("single-arm-fixed-gripper", 3)).state(now=0.0)
    assert RUNNING.keys() <= state.keys()


class Page(HTMLParser):
    """The attributes and scripts of the page."""

    def __init__(self) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str | None]] = []
        self.feed((PAGE / "index.html").read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs

    def values(self, name: str) -> set[str]:
        return {value or "" for attribute, value in self.attributes if attribute == name}


def test_the_page_works_under_a_strict_content_security_policy():
    page = Page()
    assert not [name for name, _ in page.attributes if name == "style" or name.startswith("on")]
    assert {(PAGE / name).is_file() for name in page.values("src") | page.values("href")} == {True}


def test_every_element_that_the_scripts_name_is_on_the_page():
    scripts = "".join(path.read_text(encoding="utf-8") for path in PAGE.glob("*.js"))
    named = set(re.findall(r'(?<![.\w])(?:find|write|show)\("([\w-]+)"', scripts))
    assert named and named <= Page().values("id")
