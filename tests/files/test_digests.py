"""Digests of files, and sealed JSON."""

from __future__ import annotations

import hashlib
import json

import pytest

from serl_ray.files.digests import check_files, check_seal, sha256_of, write_sealed


def test_a_file_that_is_not_what_was_written_is_named(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 1000)
    digests = {name: sha256_of(tmp_path / name) for name in ("a", "b")}
    assert digests["a"] == hashlib.sha256(b"a" * 1000).hexdigest()
    check_files(tmp_path, digests, ["a", "b"])
    (tmp_path / "b").write_bytes(b"b" * 999 + b"c")
    for known in (digests, {"a": digests["a"]}):
        with pytest.raises(
            ValueError, match=f"{tmp_path / 'b'} is damaged: it is not what was written, by its SHA-256"
        ):
            check_files(tmp_path, known, ["a", "b"])


def test_a_seal_fits_its_object_alone(tmp_path):
    path = tmp_path / "a.json"
    write_sealed(path, {"size": 1.0, "shape": (3, 4), "none": float("nan"), "names": {"ü": [None, True]}})
    value = json.loads(path.read_text())
    check_seal(path, value)
    for changed in ({**value, "size": 1}, {**value, "more": 0}, {"size": 1.0}):
        with pytest.raises(ValueError, match=f"{path} is damaged: .* by its SHA-256"):
            check_seal(path, changed)
