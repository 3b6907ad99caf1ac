"""`serl serve`: a policy that acts for robots over the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, ClassVar

from annotated_types import Ge, Interval
from pydantic import FiniteFloat

from serl_ray.cli.parser import given_options
from serl_ray.utils.options import Options, Role


class Serve(Options):
    """Act for robots that ask over the network (docs/deploy.md), until Ctrl-C. Requests of several robots are computed
    together."""

    title: ClassVar[str] = "serving"

    checkpoint: Annotated[str, Role.POSITIONAL]
    """Run folder, whose checkpoint with the best evaluation acts; or one checkpoint in it; or the URI of its mirror."""
    newest: bool = False
    """Act with the newest checkpoint of the run in place of the best one."""
    host: str = "127.0.0.1"
    """Address of this machine to listen on; 0.0.0.0 for all of them."""
    port: Annotated[int, Interval(ge=0, le=65535)] = 8775
    """Port to listen on; 0 for a free one."""
    max_batch: Annotated[int, Ge(1)] = 16
    """Greatest number of observations that are computed together."""
    wait_ms: Annotated[FiniteFloat, Interval(ge=0.0, le=1000.0)] = 2.0
    """Milliseconds that an observation waits for those of other robots."""
    device: str = "auto"
    """Device that computes the actions: auto for the best one, cpu, cuda, cuda:1 or mps."""


def main(argv: Sequence[str]) -> int:
    """Serves until it is interrupted."""
    options = Serve(**given_options("serl serve", argv, Serve))

    import asyncio

    from serl_ray.cli.terminal import stop_on_signals
    from serl_ray.envs.remote.token import robot_token
    from serl_ray.runs.export import policy_contract, read_policy
    from serl_ray.runs.folder import choose_checkpoint
    from serl_ray.runs.mirror import local_run
    from serl_ray.runs.policy_server import PolicyServer, agent_batcher, how_to_ask
    from serl_ray.utils.device import device_named

    path, sentence = choose_checkpoint(local_run(options.checkpoint, options.newest), options.newest)
    print(sentence.replace("Playing", "Serving"))
    agent, shapes, about = read_policy(path, device_named(options.device))
    batcher = agent_batcher(agent, options.max_batch, options.wait_ms / 1000)
    contract = policy_contract(agent, shapes, about)
    server = PolicyServer(contract, batcher, robot_token())

    def say(port: int) -> None:
        print(how_to_ask(options.host, port, contract["control_hz"]), flush=True)

    with stop_on_signals("Stopping.") as interrupted:
        asyncio.run(server.serve(options.host, options.port, interrupted, say))
    return 0
