"""What the README tells people to type works, from a folder with nothing but the scripts in it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
COMMANDS = [line.strip() for line in README.splitlines() if line.startswith("    python scripts/")]
SMALLER = {
    "--episodes 20": "--episodes 2",
    "--episodes 50": "--episodes 2",
    "--max_steps 3000": "--max_steps 130 --evaluation_episodes 2",
    "--max_steps 4000": "--max_steps 130 --evaluation_episodes 2",
    "--max_steps 1500": "--max_steps 40 --steps_per_iteration 20 --evaluation_episodes 2",
    "--max_steps 2500": "--max_steps 130 --evaluation_episodes 2",
    "--episodes 40": "--episodes 10",
    "--output_dir classifier_ckpt": "--output_dir classifier_ckpt --num_epochs 8 --lr 0.001 --augment_crops 1",
    "tune_configs/hybrid.yaml": "tune_configs/hybrid.yaml --smoke",
    "--output data/judged.pkl": "--output data/judged.pkl --episodes 2",
}
ROBOT = "from fake_envs import FakeEnv\n\nclass Robot(FakeEnv):\n    pass\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the scripts and the package of a user's robot."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("scripts", "tune_configs"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "your_package").mkdir()
    (folder / "your_package" / "robot.py").write_text(ROBOT)
    return folder


def run(command, folder):
    environment = os.environ | {"PYTHONPATH": f"{folder}:{ROOT / 'tests'}", "OMP_NUM_THREADS": "1"}
    words = command.removeprefix("python ").split()
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def smaller(command):
    for size, small in SMALLER.items():
        command = command.replace(size, small)
    return command


def script(name):
    return next(smaller(command) for command in COMMANDS if f"scripts/{name}.py" in command)


def env_steps(output):
    return int(re.search(r"after (\d+) env steps", output)[1])


def test_record_train_resume_and_evaluate(folder):
    train = script("train_hybrid")
    assert "2 episodes" in run(script("record_demos"), folder)
    trained = env_steps(run(train, folder))
    resumed = env_steps(run(train.replace("--max_steps 130", "--max_steps 240 --resume"), folder))
    assert 130 <= trained < 240 <= resumed
    assert "in 2 episodes" in run(script("evaluate"), folder)
    run_folder, results = folder / "hybrid_ckpt", folder / "hybrid_ckpt" / "logs" / "results.jsonl"
    for left in (run_folder / "learning_curve.png", run_folder / "policy.mp4", folder / "out.mp4"):
        assert left.stat().st_size > 1000
    assert [json.loads(line)["env/steps"] for line in results.read_text().splitlines()][-1] == resumed


def test_look_at_demonstrations_convert_them_learn_from_them_alone_and_go_on(folder):
    if not (folder / "data" / "demos.pkl").exists():
        run(script("record_demos"), folder)
    assert "2 episodes" in run(script("inspect_demos"), folder)
    for command in COMMANDS:
        if "convert_demos" in command:
            assert "2 episodes" in run(command, folder)
    assert "action error" in run(script("train_offline"), folder)
    go_on = next(smaller(command) for command in COMMANDS if "--init_from" in command)
    assert env_steps(run(go_on, folder)) >= 130
    first = json.loads((folder / "online_ckpt" / "logs" / "results.jsonl").read_text().splitlines()[0])
    assert first["evaluation/at_step"] == 0 and first["env/steps"] == 0
    for left in ("data/demos.png", "offline_ckpt/learning_curve.png", "offline_ckpt/values.png", "online_ckpt/policy.mp4"):
        assert (folder / left).stat().st_size > 1000


def test_frames_classifier_and_a_policy_by_its_verdict(folder):
    frames, classifier, judged, train = (smaller(command) for command in COMMANDS if "classifier" in command)
    assert re.search(r"[1-9]\d* success and [1-9]\d* failure frames of 10 episodes", run(frames, folder))
    report = run(classifier, folder)
    assert float(re.search(r"AUC ([\d.]+)", report)[1]) > 0.9 and "too few to promise it" in report
    assert "2 episodes" in run(judged, folder)
    assert env_steps(run(train, folder)) >= 130


def test_a_sweep_and_a_run_with_the_best_of_it(folder):
    sweep, train = (smaller(command) for command in COMMANDS if "sweep" in command)
    assert "s beside its training" in run(sweep, folder)
    assert env_steps(run(train, folder)) >= 130


def test_check_env(folder):
    assert "keeps the contract" in run(script("check_env"), folder)


def test_every_flag_that_is_mentioned_exists(folder):
    names = sorted({"submit", *(re.search(r"scripts/(\w+)\.py", command)[1] for command in COMMANDS)})
    known = {flag for name in names for flag in re.findall(r"--\w+", run(f"python scripts/{name}.py --help", folder))}
    for section in ("learn", "objectives", "classifier", "offline", "soak"):
        known |= set(re.findall(r"--\w+", run(f"python scripts/benchmark.py {section} --help", folder)))
    ours = re.sub(r"(?m)^    .*\b(ray|tensorboard) .*$|`(ray|tensorboard) [^`]*`", "", README)
    assert set(re.findall(r"--\w\w+", ours)) <= known
