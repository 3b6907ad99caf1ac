"""Envs of runs with operators: one keeps on disk what it has executed, another goes on when it is stopped."""

from __future__ import annotations

import json
import threading
import uuid
from pathlib import Path
from typing import Any

import numpy as np
from hub_peers import SECONDS
from line_envs import LineEnv


class DiaryEnv(LineEnv):
    """Writes each executed action, exactly, to a file of its own in a folder; a reset is written as null."""

    def __init__(self, folder: str, horizon: int = 30) -> None:
        super().__init__(cameras=("front",), horizon=horizon)
        self._diary = Path(folder) / f"{uuid.uuid4().hex}.jsonl"

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self._write(None)
        return super().reset(seed=seed)

    def step(self, action: np.ndarray) -> Any:
        self._write(np.asarray(action, np.float32).tolist())
        return super().step(action)

    def _write(self, entry: list[float] | None) -> None:
        with self._diary.open("a") as file:
            file.write(json.dumps(entry) + "\n")


class EndlessDiaryEnv(DiaryEnv):
    """Has a goal that is out of reach, so that its episodes end by a word of somebody alone."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder, horizon=10**9)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.goal = self.point + 15.0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> Any:
        self.steps %= 255  # which is the greatest brightness of its images
        return super().step(action)


class PatientEnv(LineEnv):
    """Makes the third step of its first episode when it is stopped, and all others at once.

    Args:
        waits: whether it does so; otherwise it makes all steps at once.
    """

    def __init__(self, waits: bool = True) -> None:
        super().__init__(cameras=("front",))
        self._waits, self._is_stopped = waits, threading.Event()

    def step(self, action: np.ndarray) -> Any:
        if self._waits and self.steps == 2:
            assert self._is_stopped.wait(SECONDS)
            self._waits = False
        return super().step(action)

    def stop(self) -> None:
        self._is_stopped.set()


def executed_episodes(folder: Path) -> list[np.ndarray]:
    """The executed actions (n, A) of all episodes with a step."""
    episodes: list[list[list[float]]] = []
    for diary in folder.glob("*.jsonl"):
        for line in diary.read_text().splitlines():
            entry = json.loads(line)
            if entry is None:
                episodes.append([])
            else:
                episodes[-1].append(entry)
    return [np.array(episode, np.float32) for episode in episodes if episode]
