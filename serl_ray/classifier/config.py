"""Options of the reward classifier's training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Self

from annotated_types import Ge, Interval
from pydantic import AfterValidator, FiniteFloat, model_validator

from serl_ray.utils.options import Alias, Options, Role, each_once


class ClassifierOptions(Options):
    """Train a reward classifier on success and failure images, and report how far it can be trusted."""

    title: ClassVar[str] = "reward classifier"

    success_dir: Annotated[str, Role.DATA, Role.PATH]
    """Success images: a folder of .pkl, .parquet, .png or .jpg files, or a pattern of them, such as
    'classifier_data/*success*.pkl'."""
    failure_dir: Annotated[str, Role.DATA, Role.PATH]
    """Failure images: a folder, or a pattern, of other files than those of success_dir."""
    image_keys: Annotated[tuple[str, ...], AfterValidator(each_once), Role.DATA] = ("image",)
    """Cameras of the classifier."""
    save_dir: Annotated[Path, Alias("output_dir")] = Path("classifier_ckpt")
    """Folder for the classifier and its report, new or empty."""
    hard_negatives: Annotated[tuple[str, ...], Role.DATA, Role.PATH] = ()
    """Folders of reviewed failures that a classifier took for successes; they are never held out."""
    num_classes: Annotated[int, Ge(2), Role.DATA] = 2
    """Number of classes: 2 for failure and success; with more, files hold the labels and the last class is success."""
    batch_size: Annotated[int, Ge(2)] = 64
    """Number of images in each step, with equal numbers of each class."""
    num_epochs: Annotated[int, Ge(1)] = 150
    """Largest number of epochs."""
    patience: Annotated[int, Ge(1)] = 20
    """Number of epochs without a better held-out loss after which training stops."""
    lr: Annotated[FiniteFloat, Ge(0.0)] = 1e-4
    """Step size of Adam."""
    held_out: Annotated[FiniteFloat, Interval(gt=0.0, le=0.5), Role.DATA] = 0.3
    """Share of held-out images, by whole episodes; a small share cannot promise a low false-positive rate."""
    max_false_positive_rate: Annotated[FiniteFloat, Interval(gt=0.0, le=1.0)] = 0.01
    """Largest share of failure images classified as a success; the threshold is chosen for it."""
    trunk: Annotated[str, Role.DATA] = "random"
    """Image trunk: random, imagenet, or a file with weights."""
    frozen: Annotated[bool, Role.DATA] = True
    """Keep the weights of the image trunk and encode each image once; otherwise the trunk is trained, best on a GPU."""
    augment_crops: Annotated[int, Ge(1), Role.DATA] = 2
    """Number of random crops of each image that a frozen trunk encodes."""
    num_workers: Annotated[int, Ge(1)] = 1
    """Number of training processes, each with its share of the images."""
    device: str = "auto"
    """Device of the training: auto (cuda where each process has a GPU, else mps, else cpu), cpu, cuda, cuda:1 or
    mps."""
    seed: Annotated[int, Ge(0), Role.DATA] = 0
    """Seed of the split, the initial weights and the batches."""

    @model_validator(mode="after")
    def _check_sizes(self) -> Self:
        if not self.image_keys:
            raise ValueError("image_keys is empty: name the cameras that the classifier sees.")
        if self.device not in ("auto", "cpu", "cuda") and self.num_workers > 1:
            raise ValueError(
                f"device is {self.device}, for one process, and num_workers is {self.num_workers}: choose auto."
            )
        if self.batch_size < (least := self.num_classes * self.num_workers):
            raise ValueError(
                f"batch_size is {self.batch_size}; it must be at least {least}, num_classes times num_workers."
            )
        return self
