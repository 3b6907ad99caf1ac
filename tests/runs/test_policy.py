"""The classifier of a run that was moved."""

from __future__ import annotations

import pytest

from serl_ray.networks.classifier import RewardClassifier
from serl_ray.networks.config import EncoderConfig
from serl_ray.rllib.agreement import classifier_id
from serl_ray.runs.policy import find_classifier


@pytest.fixture
def project(tmp_path):
    """A project's folder with a run in it, and two classifiers, the second in a folder of its own."""
    for seed, name in enumerate(("project/classifier", "project/data/door")):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        encoder = EncoderConfig(trunk_width=8, image_size=(32, 32))
        RewardClassifier(["front"], threshold=0.4 + 0.1 * seed, encoder=encoder, device="cpu").save(folder)
    (tmp_path / "project" / "runs" / "one" / "checkpoints" / "step-000000030").mkdir(parents=True)
    return tmp_path / "project"


@pytest.mark.parametrize("is_absolute", [False, True])
@pytest.mark.parametrize("name", ["classifier", "data/door"])
def test_a_classifier_is_found_where_it_was_and_where_its_project_is_now(project, monkeypatch, name, is_absolute):
    monkeypatch.chdir(project)
    named = str(project / name) if is_absolute else name
    identity, checkpoint = classifier_id(named), "runs/one/checkpoints/step-000000030"
    assert find_classifier(project / checkpoint, named, identity) == named
    moved = project.rename(project.with_name("moved"))
    monkeypatch.chdir(moved.parent)
    assert find_classifier(moved / checkpoint, named, identity) == str(moved / name)


def test_a_classifier_that_is_gone_or_another_is_asked_for(project):
    checkpoint, folder = project / "runs" / "one" / "checkpoints" / "step-000000030", project / "classifier"
    ours, theirs = classifier_id(str(folder)), classifier_id(str(project / "data/door"))
    gone, anew = "is neither there nor beside the run", "has been trained anew since"
    for place, identity, what in (
        ("elsewhere", ours, gone),
        ((project / "elsewhere").as_uri(), ours, gone),
        (str(folder), theirs, anew),
    ):
        says = rf"{checkpoint} was trained with the classifier {place}, which {what}.*--classifier FOLDER"
        with pytest.raises(FileNotFoundError, match=says):
            find_classifier(checkpoint, place, identity)
