"""Pictures show what they are said to show."""

import numpy as np
from PIL import Image

from serl_ray.runs.plots import interventions, plot_learning_curve


def results(*counts):
    known = enumerate(counts, start=1)
    return [{"env/steps": 50.0 * i, "buffer/interventions": count, "env/success_rate": 0.5} for i, count in known]


def test_interventions_are_found_where_they_were():
    assert interventions(results(0.0, 25.0, 25.0, 75.0), "env/steps") == [(50.0, 100.0, 0.5), (150.0, 200.0, 1.0)]
    assert interventions([{"env/steps": 50.0}, *results(0.0)], "env/steps") == []


def test_a_run_without_a_result_has_a_plot_too(tmp_path):
    for number, few in enumerate(([], [{"env/steps": 4.0, "learner/steps": 0.0}])):
        plot_learning_curve(few, tmp_path / f"{number}.png")
        assert np.asarray(Image.open(tmp_path / f"{number}.png")).std() > 0


def test_steps_with_interventions_have_another_background(tmp_path):
    shares = []
    for counts in ((0.0, 0.0, 0.0, 0.0), (0.0, 50.0, 50.0, 50.0), (0.0, 50.0, 50.0, 100.0)):
        plot_learning_curve(results(*counts), tmp_path / "curve.png")
        red, green, blue = np.moveaxis(np.asarray(Image.open(tmp_path / "curve.png"))[..., :3].astype(int), -1, 0)
        shares.append(float(((red - blue > 60) & (red > 200) & (green > 150)).mean()))
    assert shares[0] == 0.0 and shares[1] > 0.02 and 1.6 < shares[2] / shares[1] < 2.4


def test_returns_have_a_panel_where_they_are_not_the_success_rate(tmp_path):
    heights = []
    for earned in (0.5, -150.0):
        more = {"env/mean_return": earned, "env/mean_steps": 9.0}
        plot_learning_curve([r | more for r in results(0.0, 0.0)], tmp_path / "curve.png")
        heights.append(Image.open(tmp_path / "curve.png").height)
    assert heights[1] == 2 * heights[0]
