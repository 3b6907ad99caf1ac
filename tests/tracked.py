"""What trackers have been told, read from what they keep."""

from __future__ import annotations

import json
import time
from pathlib import Path

from mlflow import MlflowClient
from wandb.proto.wandb_internal_pb2 import Record

BLOCK, HEADER, FILE_HEADER = 32768, 7, 7
"""Bytes of a .wandb file's blocks, and of the headers of a record's parts and of the file (the log format of
LevelDB)."""


def wandb_runs(folder: Path) -> dict[str, dict]:
    """{run's id: its name, project, group, config, and rows of history} of the offline runs in a folder."""
    runs: dict[str, dict] = {}
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for record in _whole(file):
            if record.HasField("run"):
                new = {"name": record.run.display_name, "project": record.run.project, "group": record.run.run_group}
                run = runs.setdefault(record.run.run_id, {"config": {}, "rows": []}) | new
                run["config"] |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
                runs[record.run.run_id] = run
            if record.HasField("history"):
                row = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item
                }
                run["rows"].append(row)
            if record.HasField("exit"):
                run["exit"] = record.exit.exit_code
    return runs


def mlflow_runs(uri: str, experiment: str) -> dict[str, dict]:
    """{run's id: its name, status, params, and {metric: {step: value}}} of an experiment."""
    client, runs = MlflowClient(uri), {}
    for run in client.search_runs([client.get_experiment_by_name(experiment).experiment_id]):
        history = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
        metrics = {name: {point.step: point.value for point in points} for name, points in history.items()}
        told = {"name": run.info.run_name, "status": run.info.status, "params": run.data.params, "metrics": metrics}
        runs[run.info.run_id] = told
    return runs


def _whole(file: Path) -> list[Record]:
    """All records, once the last is there: a run ends a little before its file does."""
    ends = time.monotonic() + 30
    while True:
        records = [Record.FromString(data) for data in _records(file.read_bytes())]
        if any(record.HasField("exit") for record in records) or time.monotonic() > ends:
            return records
        time.sleep(0.1)


def _records(data: bytes) -> list[bytes]:
    records, at, started = [], FILE_HEADER, b""
    while at < len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        started += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # whole, or the last part
            records.append(started)
            started = b""
    return records
