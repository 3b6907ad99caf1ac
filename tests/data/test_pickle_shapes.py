"""Demonstrations in the shapes in which people pickle them, which all mean the same."""

import bz2
import collections
import gzip
import pickle

import numpy as np
import pytest
import torch
from recordings import dump, transitions

from serl_ray.data.demos import find_files, read_file
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.hil_serl import read_first_transition
from serl_ray.data.summary import format_of

EPISODES = [transitions(4, seed=1), transitions(3, seed=2)]


def rows(episode, last=True):
    """An episode as a dict of arrays, with the observation after the last action."""
    steps = [t["observations"] for t in episode] + [episode[-1]["next_observations"]] * last
    return {
        "observations": {key: np.concatenate([step[key] for step in steps]) for key in steps[0]},
        **{key: np.stack([t[key] for t in episode]) for key in ("actions", "rewards", "masks", "dones")},
        "infos": [t["infos"] for t in episode],
    }


def with_next(episode):
    following = {key: np.concatenate([t["next_observations"][key] for t in episode]) for key in ("wrist", "state")}
    return {**rows(episode, last=False), "next_observations": following}


def as_lists(episode):
    """A defaultdict of lists, as it grows step by step."""
    listed = collections.defaultdict(list)
    for transition in episode:
        for key, value in transition.items():
            listed[key].append(value)
    return listed


def appended(*values):
    return b"".join(map(pickle.dumps, values))


WHOLE = EPISODES[0] + EPISODES[1]
SHAPES = {
    "a list": pickle.dumps(WHOLE),
    "a tuple": pickle.dumps(tuple(WHOLE)),
    "a list of episodes": pickle.dumps(EPISODES),
    "a pickle an episode": appended(*EPISODES),
    "a pickle an episode, of several protocols": pickle.dumps(EPISODES[0], 2) + pickle.dumps(EPISODES[1], 5),
    "a pickle a transition": appended(*WHOLE),
    "dicts of arrays": pickle.dumps([rows(episode) for episode in EPISODES]),
    "dicts of arrays, appended": appended(*map(rows, EPISODES)),
    "dicts with next observations": pickle.dumps([with_next(episode) for episode in EPISODES]),
    "dicts of lists": pickle.dumps([as_lists(episode) for episode in EPISODES]),
    "gzip": gzip.compress(pickle.dumps(WHOLE)),
    "gzip, appended": b"".join(gzip.compress(pickle.dumps(episode)) for episode in EPISODES),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_all_shapes_are_read_as_the_same(tmp_path, shape):
    path = tmp_path / "demos.pkl"
    path.write_bytes(SHAPES[shape])
    found = list(read_file(str(path)))
    assert [segment.dones.tolist() for segment in found] == [[False] * 3 + [True], [False] * 2 + [True]]
    for segment, truth in zip(found, EPISODES, strict=True):
        steps = [*(t["observations"] for t in truth), truth[-1]["next_observations"]]
        for key in ("wrist", "state"):
            np.testing.assert_array_equal(segment.observations[key], np.concatenate([step[key] for step in steps]))
        np.testing.assert_array_equal(segment.actions, np.stack([t["actions"] for t in truth]).astype(np.float32))
        assert segment.rewards.tolist() == [t["rewards"] for t in truth]
        assert segment.masks.tolist() == [t["masks"] for t in truth]
        np.testing.assert_allclose(segment.grasp_penalty, [t["infos"]["grasp_penalty"] for t in truth], rtol=1e-6)
    first = read_first_transition(str(path))
    assert len(first) == 1
    np.testing.assert_array_equal(first.observations["wrist"], found[0].observations["wrist"][:2])


def test_lists_end_episodes_that_no_flag_ends(tmp_path):
    cut = [[{**t, "dones": False, "masks": 1.0} for t in episode] for episode in EPISODES]
    for name, content in {"lists": pickle.dumps(cut), "appended": appended(*cut)}.items():
        (tmp_path / f"{name}.pkl").write_bytes(content)
        assert [len(segment) for segment in read_file(str(tmp_path / f"{name}.pkl"))] == [4, 3]


def test_a_compressed_pickle_is_found_by_either_name(tmp_path):
    for name in ("a.pkl.gz", "b.pickle.gz", "c.csv.gz"):
        (tmp_path / name).write_bytes(SHAPES["gzip"])
    files = find_files(str(tmp_path))
    assert [file.rsplit("/", 1)[1] for file in files] == ["a.pkl.gz", "b.pickle.gz"]
    assert format_of(files[0]) == "HIL-SERL pickle" and len(list(read_file(files[0]))) == 2


def test_a_bad_episode_among_dicts_of_arrays_drops_itself_only(tmp_path):
    bad = {**rows(EPISODES[0]), "rewards": np.zeros(2)}
    path, errors = dump(tmp_path / "demos.pkl", [bad, rows(EPISODES[1])]), []
    assert [len(segment) for segment in read_file(path, on_bad=errors.append)] == [3]
    assert str(errors[0]) == f"{path}: transition 0: rewards: expected 4 rows for 4 actions, found 2."


REFUSED = {
    "cut behind the first": (SHAPES["a pickle an episode"][:-9], r"cut off, or not a pickle behind byte \d+"),
    "gzip cut": (SHAPES["gzip"][:-20], "cut off, or damaged"),
    "bzip2": (bz2.compress(SHAPES["a list"]), "compressed by bzip2. Run bunzip2"),
    "torch.save": (b"PK\x03\x04rest", "a ZIP archive, as torch.save and np.savez write them"),
    "a pointer of Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:6\nsize 9\n",
        "Git LFS pointer; .*`git lfs pull`",
    ),
    "torch tensors": (
        pickle.dumps([{"actions": torch.zeros(7)}]),
        r"asks for torch.*Save torch tensors as arrays, tensor\.cpu",
    ),
    "an object array": (pickle.dumps(np.array([{}, None])), "dtype 'O8'.*Save numbers, np.asarray"),
    "a deque": (pickle.dumps(collections.deque(WHOLE)), "asks for collections.deque.*Save it as a list"),
    "a default of anything": (
        pickle.dumps(collections.defaultdict(set)),
        "a defaultdict of something other than lists",
    ),
    "a dict around them": (
        pickle.dumps({"demos": WHOLE}),
        "found a dict of demos. Save a list of transitions; a list of such",
    ),
    "a number behind them": (appended(WHOLE, 3), "expected a list of transitions, found a int"),
    "one observation too few": (
        pickle.dumps(rows(EPISODES[0], last=False)),
        r"observations\['wrist'\]: expected 5 rows for 4 actions, found 4. Add the observation after the last action",
    ),
    "other names": (
        pickle.dumps([{**{k: v for k, v in t.items() if k != "actions"}, "action": t["actions"]} for t in WHOLE]),
        "actions: expected a value, found only .*Rename action to actions",
    ),
    "no next observation": (
        pickle.dumps([{**WHOLE[0], "next_observations": None}]),
        "found a NoneType. Record the observation after the last action, or leave this transition out",
    ),
    "an array as observation": (
        pickle.dumps([{**WHOLE[0], "observations": np.zeros(3)}]),
        r"found a ndarray. Give it a name, observations = \{'state': array\}",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_shapes_are_refused_with_the_way_out(tmp_path, name):
    content, says = REFUSED[name]
    path = tmp_path / "demos.pkl"
    path.write_bytes(content)
    with pytest.raises(DemoError, match=says) as caught:
        list(read_file(str(path)))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


OBSERVED = {
    "a grey image": (np.zeros((8, 8), np.uint8), r"np\.repeat\(image\[\.\.\., None\], 3, axis=-1\)"),
    "channels first": (np.zeros((1, 3, 8, 8), np.uint8), r"np\.moveaxis\(image, 0, -1\)"),
    "floats": (np.zeros((1, 8, 8, 3), np.float32), r"\(255 \* image\)\.astype\(np\.uint8\)"),
    "depth": (np.zeros((1, 8, 8, 1), np.uint16), "found uint16 of shape .*Scale depth to bytes"),
    "a matrix": (np.zeros((2, 2)), r"Flatten a matrix, matrix\.ravel\(\)"),
    "PNG": (b"\x89PNG", r"Decode images, np\.asarray\(PIL\.Image\.open"),
    "text": ("pick", "Leave text out of the observations"),
}


@pytest.mark.parametrize("name", OBSERVED)
def test_what_is_no_observation_is_refused_with_the_way_out(tmp_path, name):
    value, says = OBSERVED[name]
    step = {**WHOLE[0], "observations": {"cam": value}, "next_observations": {"cam": value}}
    with pytest.raises(DemoError, match=rf"transition 0: observations\['cam'\]: .*{says}"):
        list(read_file(dump(tmp_path / "demos.pkl", [step])))


def test_a_single_number_is_a_vector_of_one(tmp_path):
    listed = [
        {**t, **{role: {**t[role], "grip": 0.5} for role in ("observations", "next_observations")}} for t in WHOLE
    ]
    first, _ = read_file(dump(tmp_path / "demos.pkl", listed))
    assert first.observations["grip"].tolist() == [[0.5]] * 5


def flagged(masks=None, dones=(0, 0, 0, 1), **flags):
    """An episode of four transitions with these flags."""
    listed = [{key: value for key, value in t.items() if key not in ("masks", "dones")} for t in EPISODES[0]]
    for t, transition in enumerate(listed):
        columns = {"masks": masks, "dones": dones, **flags}
        transition |= {
            name.replace("TimeLimit_", "TimeLimit."): column[t]
            for name, column in columns.items()
            if column is not None
        }
    return listed


LAST, NEVER = (0, 0, 0, 1), (0, 0, 0, 0)
ENDS = {
    "terminated": (flagged(), 0, False),
    "timed out, by its mask": (flagged(masks=(1, 1, 1, 1)), 1, True),
    "truncated": (flagged(truncated=LAST), 1, True),
    "timeouts": (flagged(timeouts=LAST), 1, True),
    "terminals beside dones": (flagged(terminals=NEVER), 1, True),
    "terminals alone": (flagged(dones=None, terminals=LAST), 0, False),
    "Gymnasium's two flags": (flagged(dones=None, terminated=NEVER, truncated=LAST), 1, True),
    "both at once": (flagged(dones=None, terminated=LAST, truncated=LAST), 0, True),
    "IQL's name of dones": (flagged(dones=None, dones_float=LAST), 0, False),
    "both names of dones": (flagged(dones_float=LAST, masks=(1, 1, 1, 1)), 1, True),
    "done as torch's bools": (flagged(dones=np.array(LAST, bool)), 0, False),
}


@pytest.mark.parametrize("name", ENDS)
def test_the_flags_of_an_end_are_understood(tmp_path, name):
    listed, mask, truncated = ENDS[name]
    [segment] = read_file(dump(tmp_path / "demos.pkl", listed))
    assert segment.masks.tolist() == [1, 1, 1, mask]
    assert segment.dones.tolist() == [False, False, False, True]
    assert segment.truncateds.tolist() == [False, False, False, truncated]


def test_a_time_limit_in_the_info_is_understood(tmp_path):
    listed = flagged()
    listed[-1]["infos"] = {"TimeLimit.truncated": True}
    [segment] = read_file(dump(tmp_path / "demos.pkl", listed))
    assert segment.masks.tolist() == [1, 1, 1, 1] and segment.truncateds[-1]


CONTRADICTIONS = {
    "a time-out in the info alone": (
        [each | {"infos": {"TimeLimit.truncated": True}} for each in flagged(truncateds=NEVER)],
        "TimeLimit.truncated: expected the value of truncateds, which means the same, found another",
    ),
    "masks of 2": (flagged(masks=(2, 1, -1, 0)), "transition 0: masks: expected 0 or 1, found 2"),
    "masks of a half": (flagged(masks=(1, 0.5, 1, 0)), "transition 1: masks: expected 0 or 1, found 0.5"),
    "inverted masks": (flagged(masks=LAST), "transition 0: masks: expected 1 where the episode goes on, found 0"),
    "a mask within": (flagged(masks=(1, 0, 1, 0)), "transition 1: masks: expected 1 where the episode goes on"),
    "dones like discounts": (flagged(dones=(0.9, 0.9, 0.9, 1)), "transition 0: dones: expected 0 or 1, found 0.9"),
    "terminated, not done": (
        flagged(dones=NEVER, terminals=LAST),
        "transition 3: terminateds: expected 0 where dones is 0",
    ),
    "terminated, masked": (
        flagged(masks=(1, 1, 1, 1), terminals=LAST),
        "masks: expected 0 where the episode terminated",
    ),
    "a timeout with a mask": (
        flagged(masks=(1, 1, 1, 0), terminals=NEVER),
        "masks: expected 1 where the episode did not",
    ),
    "no flag": (flagged(dones=None), "transition 0: dones: expected a value, found only"),
    "a time-out alone": (flagged(dones=None, truncated=LAST), "transition 0: dones: expected a value"),
    "two names": (
        flagged(done=NEVER),
        "transition 3: done: expected the value of dones, which means the same, found another",
    ),
    "an unknown name": (flagged(episode_end=LAST), "episode_end: expected a known name .*Rename it to dones"),
    "another unknown name": (flagged(time_outs=LAST), "time_outs: expected a known name"),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_flags_that_contradict_each_other_are_refused(tmp_path, name):
    listed, says = CONTRADICTIONS[name]
    with pytest.raises(DemoError, match=says):
        list(read_file(dump(tmp_path / "demos.pkl", listed)))


def test_names_that_only_sound_like_an_end_are_left_alone(tmp_path):
    listed = flagged(end_effector=NEVER, terminal_observation=NEVER, last_action=NEVER)
    [segment] = read_file(dump(tmp_path / "demos.pkl", listed))
    assert len(segment) == 4


def test_two_names_of_one_flag_may_agree(tmp_path):
    [segment] = read_file(dump(tmp_path / "demos.pkl", flagged(done=LAST, is_last=LAST)))
    assert segment.dones.tolist() == [False, False, False, True]


def test_several_episodes_in_one_dict_of_arrays_need_their_next_observations(tmp_path):
    rng = np.random.default_rng(0)
    columns = {"actions": rng.uniform(-1, 1, (6, 7)), "rewards": np.zeros(6), "dones": np.arange(6) % 3 == 2}
    together = {**columns, "observations": {"state": rng.normal(size=(7, 3)).astype(np.float32)}}
    with pytest.raises(
        DemoError, match="transition 2: dones: expected an end in the last row alone.*add next_observations"
    ):
        list(read_file(dump(tmp_path / "demos.pkl", together)))
    states = rng.normal(size=(7, 3)).astype(np.float32)
    whole = {**columns, "observations": {"state": states[:-1]}, "next_observations": {"state": states[1:]}}
    found = list(read_file(dump(tmp_path / "whole.pkl", whole)))
    assert sum(map(len, found)) == 6 and [bool(segment.dones[-1]) for segment in found] == [True, True]


def test_transitions_of_a_vectorised_env_are_no_episodes_of_one_step(tmp_path):
    listed = [{**t, "actions": t["actions"][None], "rewards": np.array([t["rewards"]])} for t in flagged()]
    with pytest.raises(DemoError, match=r"actions: expected a vector.*Leave its first axis out, action\[0\]"):
        list(read_file(dump(tmp_path / "demos.pkl", listed)))
