import numpy as np
import pytest
from stamped import stamped_segment

from serl_ray.data.demo_scale import scale_of_demos
from serl_ray.data.demos import write_demos
from serl_ray.data.errors import DemoError
from serl_ray.data.formats.lerobot.writer import write_lerobot
from serl_ray.data.formats.parquet import write_shards
from serl_ray.types import ActionScale

ONE, OTHER = ActionScale((0.5, 2.0), (0.0, 0.0), ()), ActionScale((0.5, 3.0), (0.0, 0.0), ())


def shards(folder, scale):
    folder.mkdir()
    write_shards(folder, [stamped_segment(1, 0, 3, done=True)], scale)
    return str(folder)


def test_a_scale_is_that_of_all_demonstrations_that_have_one(tmp_path):
    write_lerobot(tmp_path / "set", [stamped_segment(1, 0, 3, done=True)])
    write_demos(tmp_path / "demos.pkl", [stamped_segment(1, 0, 3)])
    unscaled = [shards(tmp_path / "own", None), str(tmp_path / "set"), str(tmp_path / "demos.pkl")]
    assert scale_of_demos(unscaled) is None
    first, second = (shards(tmp_path / name, ONE) for name in ("a", "b"))
    assert scale_of_demos([*unscaled, first, second]) == ONE
    with pytest.raises(
        DemoError, match=r"c/shard-00000\.parquet: its actions were divided by other numbers than those of .*/a/"
    ):
        scale_of_demos([first, shards(tmp_path / "c", OTHER)])


def test_a_damaged_scale_is_named(tmp_path):
    folder = shards(tmp_path / "a", ActionScale((np.inf, 1.0), (0.0, 0.0), ()))
    with pytest.raises(
        DemoError, match=r"shard-00000\.parquet: the scale of the actions is damaged .* Copy the file again"
    ):
        scale_of_demos(folder)
    assert scale_of_demos(folder, skip_bad=True) is None
