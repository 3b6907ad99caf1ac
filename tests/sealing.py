"""Checkpoints and classifiers that somebody has changed on purpose, sealed anew: what is checked behind the seals is
tested."""

from __future__ import annotations

import json
from pathlib import Path

from serl_ray.files.digests import SEAL, sha256_of, write_sealed

DESCRIPTIONS = ("agent/agent.json", "agent.json", "classifier.json", "run.json")
"""The sealed files of a folder, in the order in which they are written."""


def reseal(folder: Path) -> None:
    """Makes the seals in a folder, and the digests of the files that are there, fit what is in it now."""
    for path in (folder / name for name in DESCRIPTIONS if (folder / name).is_file()):
        value = json.loads(path.read_text())
        value["sha256"] = {
            name: sha256_of(path.parent / name) if (path.parent / name).is_file() else digest
            for name, digest in value.get("sha256", {}).items()
        }
        write_sealed(path, {name: part for name, part in value.items() if name != SEAL})
