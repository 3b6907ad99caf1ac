"""A trainer whose every word the test says, and an env that records what is asked of it."""

import pytest
from robot_trainers import RecordingArm, scripted_trainer


@pytest.fixture
def trainer():
    with scripted_trainer() as trainer:
        yield trainer


@pytest.fixture
def arm():
    return RecordingArm()
