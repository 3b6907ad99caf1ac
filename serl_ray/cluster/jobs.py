"""Package of a job for a Ray cluster: this project and its requirements."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pathspec

IGNORE_FILES = (".gitignore", ".rayignore")
"""Ray leaves out what either names."""
MAX_PACKAGE = 100 * 2**20
"""Bytes; Ray itself takes five times as many, and copies them to every node."""

STOP_SECONDS = 60
"""Seconds between the SIGTERM that stops a job and its end. A run is saved meanwhile, for which Ray's own 3 are too
few."""


@dataclass(frozen=True)
class Package:
    """The files of a folder that travel.

    Attributes:
        root: the folder.
        sizes: bytes by path.
    """

    root: Path
    sizes: dict[Path, int]

    @classmethod
    def of(cls, root: Path) -> Package:
        """The files of a folder that Ray would upload."""
        lines = [
            line for name in IGNORE_FILES if (root / name).exists() for line in (root / name).read_text().splitlines()
        ]
        names = pathspec.GitIgnoreSpec.from_lines([*lines, ".git/"]).match_tree_files(root, negate=True)
        return cls(root, {Path(name): (root / name).stat().st_size for name in sorted(names)})

    @property
    def nbytes(self) -> int:
        return sum(self.sizes.values())

    def check(self) -> None:
        """Raises ValueError where it is so large that something is in it that should not be."""
        if self.nbytes > MAX_PACKAGE:
            largest = sorted(self.sizes, key=self.sizes.__getitem__, reverse=True)[:3]
            named = ", ".join(f"{path} ({self.sizes[path] / 2**20:.0f} MiB)" for path in largest)
            raise ValueError(
                f"{self.root} has {self.nbytes / 2**20:.0f} MiB that would travel, of which {MAX_PACKAGE / 2**20:.0f} "
                f"may: {named}. "
                "Name what should stay here in .rayignore, and give data by URI."
            )

    def __str__(self) -> str:
        return f"{len(self.sizes)} files, {self.nbytes / 2**20:.1f} MiB"


def runtime_env(root: Path, install: bool) -> dict[str, Any]:
    """The job's surroundings.

    Args:
        root: folder of the project, whose code runs on every node.
        install: whether nodes install what pyproject.toml asks for, beside Ray, which they have.
    """
    environment: dict[str, Any] = {
        "working_dir": str(root),
        "env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)},
    }
    if install:
        needed = tomllib.loads((root / "pyproject.toml").read_text())["project"]["dependencies"]
        environment["pip"] = [requirement for requirement in needed if not requirement.startswith("ray")]
    return environment
