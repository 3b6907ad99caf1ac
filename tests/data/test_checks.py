"""What is odd about demonstrations, which training survives, is named with its effect."""

import logging
import re
from dataclasses import replace

import numpy as np
import pytest
from cases import segment

from serl_ray.data.checks import DemoChecks, large_scale, small_scale
from serl_ray.data.demos import read_demos, read_file, segments, write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.observations import Selection
from serl_ray.data.schema import Segment


def warnings(*found: Segment, grippers=(1,)) -> list[str]:
    checks = DemoChecks(grippers)
    for each in found:
        checks.add(each)
    return list(checks.warnings())


def gripped(*commands: float, **changes) -> Segment:
    """An episode with these commands of the gripper, the second number of its actions."""
    good = segment(len(commands), **changes)
    return replace(good, actions=np.stack([good.actions[:, 0], commands], 1))


GOOD = gripped(-1, 0, 1, 0)


def observed(**arrays) -> Segment:
    return replace(GOOD, observations={**GOOD.observations, **arrays})


def test_good_demonstrations_have_nothing_odd():
    assert warnings(GOOD, gripped(0, 0, 0, 0, number=1)) == []
    assert warnings() == []


STEPS = np.arange(5.0, dtype=np.float32)[:, None]
ODD = {
    "degrees": (observed(state=STEPS * 45), "`state` reaches 180: scale it to about 1"),
    "encoder ticks": (observed(ticks=(STEPS * 512).astype(np.int64)), "`ticks` reaches 2.05e\\+03: scale it"),
    "a small state": (observed(state=STEPS / 200), "`state` never exceeds 0.02: scale it to about 1"),
    "a state of one buffer": (observed(state=np.ones((5, 3), np.float32)), "`state` never changes: .*store copies"),
    "a camera of one buffer": (
        observed(front=np.broadcast_to(GOOD.observations["front"][4], (5, 4, 6, 3))),
        r"Camera `front` always shows the same image: .*image\.copy\(\)",
    ),
    "a black camera": (observed(front=np.zeros((5, 4, 6, 3), np.uint8)), "Camera `front` is always black"),
    "a number alone": (
        observed(grip=STEPS[:, 0]),
        r"`grip` .* no agent can read\. Make a single number",
    ),
    "a matrix": (observed(pose=np.ones((5, 2, 2))), r"`pose` is .*, which no agent can read\. Flatten a matrix"),
    "actions of one buffer": (
        replace(GOOD, actions=np.full((4, 2), 1)),
        r"Every action is the same: .*action\.copy\(\)",
    ),
    "never closed": (
        gripped(0, 0, 1, 0),
        r"action\[1\] is a gripper's and never closes it: the policy learns no such command",
    ),
    "never closed, flags": (
        gripped(0, 0, 1, 0),
        r"It has 0 and 1 alone: where these .* --rescale_actions --gripper_values 0 1",
    ),
    "never opened": (gripped(0, -1, 0, 0), r"action\[1\] is a gripper's and never opens it"),
    "never moved": (gripped(0, 0, 0, 0), r"action\[1\] is a gripper's and never closes or opens it"),
    "gripper values": (gripped(-1, 0.3, 1, 0.37), r"has 2 value\(s\) off -1, 0 and 1, such as 0\.3, which are rounded"),
    "a mask at a success": (
        replace(GOOD, masks=np.ones(4)),
        r"1 of 1 episodes that end with a reward have a mask of 1.*Set masks to 0",
    ),
    "no end": (replace(GOOD, dones=np.zeros(4), masks=np.ones(4)), "No episode ends: set dones"),
    "no reward": (replace(GOOD, rewards=np.zeros(4)), "There is no reward above 0"),
    "a reward that goes on": (
        replace(GOOD, rewards=[0, 1, 1, 1]),
        r"The reward is 1 and the episode goes on, in 2 step\(s\): end it at success",
    ),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_is_said_once(name):
    found, says = ODD[name]
    assert len(warnings(found)) == 1, warnings(found)
    assert re.search(says, warnings(found)[0]), warnings(found)


def test_ends_whose_flags_or_rewards_disagree_are_odd():
    failed = replace(GOOD, rewards=np.zeros(4), masks=np.ones(4))
    [mask] = warnings(GOOD, failed)
    assert mask.startswith("1 of 2 episodes end with a mask of 1, and not by a time-out: values go on behind the end.")
    assert warnings(GOOD, replace(failed, truncateds=failed.dones)) == []
    succeeded = replace(GOOD, rewards=np.zeros(4), success=True)
    [success] = warnings(GOOD, succeeded)
    assert success.startswith("1 of 2 episodes end with a success in info, and without a reward above 0")
    assert warnings(GOOD, replace(succeeded, success=False), replace(GOOD, success=True)) == []


def test_every_step_an_episode_is_odd():
    listed = [GOOD.slice(t, t + 1) for t in range(4)]
    ended = [
        replace(each, dones=[True], masks=[0], rewards=[1], first_step=0, episode=t) for t, each in enumerate(listed)
    ]
    assert warnings(*ended) == ["Every step ends an episode: dones is 1 in the last transition of an episode alone."]


def test_transitions_that_do_not_continue_each_other_are_odd():
    alone = [GOOD.slice(t, t + 1) for t in range(3)]
    assert "3 of 4 segments are a single transition" in warnings(*alone, GOOD)[0]


def test_oddities_of_some_episodes_are_those_of_none():
    """A camera that moves in one episode is no still camera, a gripper that opens in one opens."""
    still = observed(front=np.broadcast_to(GOOD.observations["front"][4], (5, 4, 6, 3)))
    assert warnings(replace(still, actions=gripped(0, -1, 0, 0).actions), GOOD) == []
    assert (
        large_scale("state", 10.0) is None and small_scale("state", 0.05) is None and small_scale("state", 0.0) is None
    )


def test_a_vector_that_is_large_at_times_is_not_odd():
    """The distance to an object, in steps, is large at the start alone; a state in degrees is large as a rule."""
    far = np.zeros((5, 3), np.float32)
    far[0] = 12.0
    far[1:] = 1.0
    assert warnings(observed(state=far), GOOD) == []
    assert warnings(observed(state=far + 20.0), GOOD) == [large_scale("state", 32.0)]
    assert warnings(observed(state=far * 10.0), GOOD) == [large_scale("state", 120.0)]


def test_what_is_odd_is_a_warning_when_demonstrations_are_read(tmp_path, shared_ray, caplog):
    write_demos(tmp_path / "demos", [observed(state=STEPS * 45)])
    with caplog.at_level(logging.WARNING):
        assert len(list(segments(read_demos(str(tmp_path / "demos")), DemoChecks((1,))))) == 1
    found = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Demonstrations: ")]
    assert found == ["Demonstrations: `state` reaches 180: scale it to about 1, as the network does not scale it."]


@pytest.mark.parametrize("shape", [(5,), (5, 2, 2)])
def test_what_is_no_vector_is_no_state(tmp_path, shape):
    other = observed(odd=np.ones(shape, np.float32))
    write_demos(tmp_path / "demos", [other])
    file = str(tmp_path / "demos" / "shard-00000.parquet")
    with pytest.raises(DemoError, match=r"The state cannot be joined of state \(5, 3\), odd .*: each must be a vector"):
        list(read_file(file, select=Selection((), ("state", "odd"))))
    with pytest.raises(DemoError, match=r"(expected a vector \(D,\) in each step, found)|(The state cannot be joined)"):
        list(read_file(file, select=Selection((), ("odd",))))


def test_pickles_are_held_to_the_same(tmp_path):
    write_demos(tmp_path / "demos.pkl", [observed(state=STEPS * 45)])
    assert warnings(*read_file(str(tmp_path / "demos.pkl"))) == [large_scale("state", 180.0)]
