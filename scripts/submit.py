"""Sends a command and this project to a Ray cluster, and follows what it says."""

from __future__ import annotations

import asyncio
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from ray.job_submission import JobStatus, JobSubmissionClient

from serl_ray.cluster.jobs import Package, runtime_env

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Submit:
    """Sends a command and this project to a Ray cluster, and follows what it says. Ctrl-C leaves the job alone."""

    command: Annotated[tuple[str, ...], tyro.conf.Positional]
    """What to run there, after --: python scripts/train_hybrid.py and its flags, with data and checkpoints by URI."""
    address: str = "http://127.0.0.1:8265"
    """Of the cluster's dashboard."""
    submission_id: str | None = None
    """A name for the job; by default one is made up."""
    gpus: float = 0.0
    """What the command itself wants, which puts the learner on a node that has them; by default it runs on the head."""
    install: bool = False
    """Whether the nodes first install what this project needs; otherwise they have it."""


def main(args: Submit) -> int:
    """Submits, follows the log to its end, and returns 0 where the job has succeeded."""
    package = Package.of(ROOT)
    package.check()
    print(f"{package} go to {args.address}.", flush=True)
    client = JobSubmissionClient(args.address)
    job = client.submit_job(
        entrypoint=shlex.join(args.command),
        entrypoint_num_gpus=args.gpus,
        submission_id=args.submission_id,
        runtime_env=runtime_env(ROOT, args.install),
    )
    print(f"Job {job}. To stop it, which saves the run: ray job stop --address {args.address} {job}", flush=True)
    asyncio.run(_follow(client, job))
    status = client.get_job_status(job)
    print(f"Job {job}: {status.lower()}.")
    return 0 if status == JobStatus.SUCCEEDED else 1


async def _follow(client: JobSubmissionClient, job: str) -> None:
    async for text in client.tail_job_logs(job):
        print(text, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Submit, use_underscores=True)))
