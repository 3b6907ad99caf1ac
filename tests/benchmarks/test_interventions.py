"""The scripted person of the benchmark of interventions: when it drives, and what is made of the runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from serl_ray.benchmarks import interventions
from serl_ray.benchmarks.interventions import Interventions, first_at_goal, intervention_table, read_outcomes
from serl_ray.benchmarks.person import (
    AGREED,
    PATIENCE,
    REACTION_STEPS,
    AtRandom,
    Person,
    Sight,
    Straying,
    way_left,
)
from serl_ray.envs.tabletop import TabletopEnv
from serl_ray.types import ActionLayout

PICK_UP, PEG = "single-arm-learned-gripper", "single-arm-fixed-gripper"
LAYOUT = ActionLayout.from_setup(PICK_UP, 7)
DOWN = np.array([0, 0, -1, 0, 0, 0, 0], np.float32)
CLOSE = np.array([0, 0, 0, 0, 0, 0, -1], np.float32)


def sight(step, way, wanted=None, executed=None, action=DOWN):
    return Sight(1, step, way, action, wanted, executed)


def first_takeover(ways):
    """The step of the first sight at which the person drives."""
    rule = Straying()
    return next((step for step, way in enumerate(ways) if rule(sight(step, way), False)), None)


def test_the_person_takes_over_its_reaction_after_the_policy_has_strayed():
    comes_nearer = [20.0 - step for step in range(6)]
    strays = [15.0 + step for step in range(1, 30)]
    assert first_takeover(comes_nearer + strays) == 5 + PATIENCE + REACTION_STEPS


def test_a_policy_that_comes_nearer_again_in_time_is_left_alone():
    waits = [9.0] * PATIENCE
    assert first_takeover([10.0, 9.0, *waits[1:], 8.0, *waits[1:], 7.0, 6.0]) is None


def test_a_change_that_cannot_be_seen_is_no_progress():
    assert first_takeover([10.0 - 1e-6 * step for step in range(40)]) == PATIENCE + REACTION_STEPS


def drives_until(wanted):
    """Steps after its takeover in which the person drives before a policy that wants some motions in turn."""
    rule, drives, driven = Straying(), False, 0
    for step in range(100):
        motion = next(wanted) if drives else UP
        drives = rule(sight(step, 10.0, motion, DOWN if drives else None), drives)
        driven += drives
        if driven and not drives:
            return driven
    return None


UP = -DOWN


def test_the_person_lets_go_its_reaction_after_the_policy_wants_the_same():
    agrees = iter([DOWN] * 90)
    assert drives_until(agrees) == AGREED + REACTION_STEPS


def test_the_person_does_not_let_go_of_a_policy_that_wants_the_same_now_and_then():
    assert drives_until(iter([DOWN, DOWN, UP] * 40)) is None


def test_standing_still_is_no_agreement_and_a_motion_of_the_policy_alone_neither():
    assert sight(5, 1.0, DOWN, CLOSE).agreement() is None
    assert sight(5, 1.0, DOWN, None).agreement() is None
    assert sight(5, 1.0, UP, DOWN).agreement() is False and sight(5, 1.0, DOWN, DOWN).agreement() is True


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_random_interventions_have_the_share_and_the_length_that_are_asked_for(share):
    rule, drives, driven, number = AtRandom(share, 8.0, np.random.default_rng(0)), False, 0, 0
    for step in range(1, 20_000):
        before, drives = drives, rule(sight(step, 10.0), drives)
        driven, number = driven + drives, number + (drives and not before)
    assert driven / 20_000 == pytest.approx(share, rel=0.1)
    assert driven / number == pytest.approx(8.0, rel=0.1)


def test_a_gripper_is_pressed_only_with_a_clutch_that_is_held_and_once_a_sight():
    person = Person(lambda sight, drives: True, LAYOUT, 0.0, np.random.default_rng(0))
    assert person.look(sight(1, 2.0, action=CLOSE)).presses == {}
    hands = person.look(sight(2, 2.0, action=CLOSE))
    assert hands.presses == {0: -1} and hands.clutch and not hands.action.any()
    assert person.look(sight(2, 2.0, action=CLOSE)).presses == {}


@pytest.mark.parametrize("mode", [PICK_UP, PEG])
def test_the_way_becomes_short_under_the_expert(mode):
    env = TabletopEnv(setup_mode=mode)
    observation, _ = env.reset(seed=3)
    ways, done = [way_left(mode, observation["object_state"])], False
    while not done:
        observation, _, done, is_late, _ = env.step(env.expert_action())
        ways.append(way_left(mode, observation["object_state"]))
        assert not is_late
    assert ways[0] > 2.5 and min(ways) == ways[-1] < 0.7


def outcome(mode, condition, seed, successes, interventions_each=4):
    points = [
        {
            "steps": 250 * number,
            "success": success,
            "interventions": interventions_each * number,
            "intervened": 10 * interventions_each * number,
            "stored": 250 * number,
            "training_success": 0.0,
        }
        for number, success in enumerate(successes, start=1)
    ]
    return {"setup_mode": mode, "condition": condition, "seed": seed, "points": points}


def test_one_lucky_evaluation_is_not_the_goal():
    points = outcome(PEG, "person", 0, [0.9, 0.5, 0.95, 0.9])["points"]
    assert first_at_goal(points)["steps"] == 750
    assert first_at_goal(points[:3]) is None


def test_the_table_has_medians_and_counts_what_did_not_succeed_as_more():
    outcomes = [
        outcome(PEG, "person", 0, [0.0, 0.9, 0.9]),
        outcome(PEG, "person", 1, [0.9, 0.9]),
        outcome(PEG, "person", 2, [0.0, 0.0, 0.9, 1.0]),
        outcome(PEG, "none", 0, [0.0, 0.0], interventions_each=0),
    ]
    table = intervention_table(outcomes)
    two = intervention_table([*outcomes[:1], outcome(PEG, "person", 1, [0.0, 0.0, 0.0, 0.0])])
    assert "| peg | person | 2 | > 750 (500 to > 1,000) |" in two
    assert "| peg | person | 3 | 500 (250 to 750) | 8 (4 to 12) | 8 (4 to 12) |" in table
    assert "| peg | none | 1 | > 500 | 0 | 0 |" in table


def test_runs_that_have_ended_are_not_made_again(tmp_path, monkeypatch, capsys):
    made = []

    def make(self, mode, condition, seed, before):
        made.append((condition, seed, len(before)))
        return outcome(mode, condition, seed, [0.9, 0.9])

    monkeypatch.setattr(Interventions, "_outcome", make)
    section = {"save_dir": tmp_path, "setup_modes": (PEG,), "conditions": ("person", "none")}
    Interventions(**section, seeds=(0,)).run()
    Interventions(**section, seeds=(0, 1)).run()
    assert made == [("person", 0, 0), ("none", 0, 1), ("person", 1, 2), ("none", 1, 3)]
    assert len(read_outcomes(tmp_path)) == 4 and (tmp_path / "interventions.png").stat().st_size > 1000
    assert "| peg | person | 2 | 250 |" in capsys.readouterr().out


def test_random_help_needs_the_share_of_a_person(tmp_path):
    section = Interventions(save_dir=tmp_path, setup_modes=(PEG,), conditions=("random",), seeds=(0,))
    with pytest.raises(ValueError, match="no run with a person yet"):
        section.run()


@pytest.mark.slow
@pytest.mark.usefixtures("shared_ray")
def test_a_person_helps_at_the_socket_and_at_random_as_often(tmp_path, monkeypatch):
    """The person's steps are stored as such, none is a hold, and the run ends as a line."""
    monkeypatch.setattr(interventions, "GOAL", 2.0)
    settings = {"batch_size": 8, "augment_crops": 1, "critic_ensemble_size": 2, "image_keys": ("wrist",)}
    sizes = {"demos": 1, "max_steps": 120, "evaluate_every": 60, "episodes": 1}
    Interventions(
        save_dir=tmp_path,
        setup_modes=(PICK_UP,),
        conditions=("person", "random"),
        seeds=(0,),
        settings=settings,
        **sizes,
    ).run()
    person, at_random = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [len(run["points"]) for run in (person, at_random)] == [2, 2]
    assert person["points"][-1]["intervened"] > 20 and person["holds"] == at_random["holds"] == 0
    assert at_random["points"][-1]["interventions"] > 0
    assert person["options"]["batch_size"] == 8 and person["machine"]["torch"]
