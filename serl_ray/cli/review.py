"""`serl review`: what a reward classifier called a success, sorted by an operator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from serl_ray.cli.parser import given_options
from serl_ray.options.operator import PageOptions
from serl_ray.utils.options import OptionError, Options, Role

if TYPE_CHECKING:
    from serl_ray.teleop.review import Judge


class Review(Options):
    """Sort the images that a reward classifier called a success, in a browser: into true successes, and false ones from
    which train-classifier learns. The address of the page is printed; Ctrl-C ends it."""

    title: ClassVar[str] = "review"

    positives_dir: Annotated[Path, Role.POSITIONAL]
    """Folder that a run's --positives_dir has filled; it is only read."""
    output: Path | None = None
    """Folder for sorted images, in its folders success, failure and left_out; by default POSITIVES_DIR with _reviewed
    at its end. What is there already is not shown again."""
    classifier: Annotated[str | None, Role.PATH] = None
    """Folder or URI of a reward classifier whose probabilities order the images, in place of those of the run."""
    page: PageOptions = Field(default_factory=PageOptions)


def main(argv: Sequence[str]) -> int:
    """Serves the page until it is interrupted, and prints what was sorted."""
    options = Review.of(**given_options("serl review", argv, Review))

    from serl_ray.cli.terminal import stop_on_signals
    from serl_ray.data.positives import read_positives
    from serl_ray.teleop.review import ReviewSorter, default_output
    from serl_ray.teleop.server import HubServer, how_to_reach

    folder = options.positives_dir.expanduser()
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: there is no such folder. Give the --positives_dir of a run.")
    if not (positives := read_positives(folder)):
        raise FileNotFoundError(f"{folder}: no images there as EPISODE/CAMERA/STEP.png, as --positives_dir has them.")
    output = options.output.expanduser() if options.output else default_output(folder.absolute())
    judge = _judge(options.classifier, {camera for positive in positives for camera in positive.cameras})
    sorter = ReviewSorter(folder, output, judge)
    if judge:
        print(f"{options.classifier} looks at {len(positives)} images.", flush=True)
    sorter.items()
    with stop_on_signals("Stopping.") as interrupted:
        server = HubServer(options.page.operator_host, options.page.operator_port, tabs=("review",), sorter=sorter)
        print(how_to_reach(server.page(), server.port, "Review the images"), flush=True)
        interrupted.wait()
        server.close()
    counts = ", ".join(f"{count} {label.replace('_', ' ')}" for label, count in sorter.counts().items())
    print(f"{output}: {counts}.")
    return 0


def _judge(classifier: str | None, cameras: set[str]) -> Judge | None:
    """The classifier as a function of images; OptionError where they lack one of its cameras."""
    if classifier is None:
        return None

    from serl_ray.files.uris import local_copy
    from serl_ray.networks.classifier import RewardClassifier

    network = RewardClassifier.load(local_copy(classifier), device="cpu")
    if missing := [key for key in network.image_keys if key not in cameras]:
        raise OptionError(
            f"classifier is {classifier}, which sees {', '.join(network.image_keys)}; the images have no "
            f"{', '.join(missing)}, but {', '.join(sorted(cameras))}. Leave it out, or give the one of the run."
        )
    return lambda images: float(network.predict_success(images)[0])
