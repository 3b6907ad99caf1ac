"""`serl submit`: a command on a Ray cluster."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Self

from annotated_types import Ge
from pydantic import FiniteFloat, model_validator

from serl_ray.cli.parser import given_options
from serl_ray.utils.options import Options, Role

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient


class Submit(Options):
    """Send a command and this project to a Ray cluster, and follow its log. Ctrl-C leaves the job alone."""

    title: ClassVar[str] = "job"

    command: Annotated[tuple[str, ...], Role.POSITIONAL]
    """Command to run there, after --, such as: -- serl train and its flags, with data and checkpoints by URI."""
    address: str = "http://127.0.0.1:8265"
    """Address of the cluster's dashboard."""
    submission_id: str | None = None
    """Name of the job; by default Ray chooses one."""
    gpus: Annotated[FiniteFloat, Ge(0.0)] = 0.0
    """GPUs for the command itself, which put the learner on a node that has them; by default it runs on the head
    node."""
    install: bool = False
    """Install what this project needs on the nodes first; otherwise they must have it."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.command:
            raise ValueError("command is missing: give it after --, such as -- serl train --preset tabletop.")
        return self


def main(argv: Sequence[str]) -> int:
    """Submits, follows the log to its end, and returns 0 where the job has succeeded."""
    options = Submit(**given_options("serl submit", argv, Submit))

    from ray.job_submission import JobStatus, JobSubmissionClient

    from serl_ray.cluster.jobs import Package, runtime_env

    root = Path(__file__).resolve().parents[2]
    package = Package.of(root)
    package.check()
    print(f"{package} go to {options.address}.", flush=True)
    client = JobSubmissionClient(options.address)
    job = client.submit_job(
        entrypoint=shlex.join(options.command),
        entrypoint_num_gpus=options.gpus,
        submission_id=options.submission_id,
        runtime_env=runtime_env(root, options.install),
    )
    print(f"Job {job}. To stop it, which saves the run: ray job stop --address {options.address} {job}", flush=True)
    asyncio.run(_follow(client, job))
    status = client.get_job_status(job)
    print(f"Job {job}: {status.lower()}.")
    return 0 if status == JobStatus.SUCCEEDED else 1


async def _follow(client: JobSubmissionClient, job: str) -> None:
    async for text in client.tail_job_logs(job):
        print(text, end="", flush=True)
