"""The token of the robots of these tests."""

import pytest
from remote_robots import TOKEN


@pytest.fixture(autouse=True)
def token(monkeypatch):
    monkeypatch.setenv("SERL_ROBOT_TOKEN", TOKEN)
