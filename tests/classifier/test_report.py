import numpy as np

from serl_ray.classifier.report import side_by_side


def test_cameras_of_different_sizes_are_shown_whole():
    front, wrist = np.full((6, 4, 3), 9, np.uint8), np.full((3, 5, 3), 7, np.uint8)
    shown = side_by_side([front, wrist])
    assert shown.shape == (6, 9, 3) and np.array_equal(shown[:, :4], front)
    assert np.array_equal(shown[:3, 4:], wrist) and not shown[3:, 4:].any()
