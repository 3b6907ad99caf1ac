"""Sweeps that are wrong are refused before Ray starts, and say where and what else to write."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from cases import Case, assert_refused, table

from serl_ray.classifier.config import ClassifierOptions
from serl_ray.cli.parser import parse_layers
from serl_ray.options.sets import HybridRun, OfflineRun
from serl_ray.sweeps import run
from serl_ray.sweeps.checks import read_sweep
from serl_ray.utils.options import OptionError

GOOD = {
    "trains": "hybrid",
    "metric": "evaluation/success_rate",
    "search": {"lr": {"loguniform": [1e-4, 1e-3]}},
    "settings": {"max_steps": 2000, "evaluate_every": 500},
    "trials": 8,
}
OFFLINE = {"trains": "offline", "settings": {"demo_paths": ["demos.pkl"], "evaluate_every": 500}}
CLASSIFIER = {"trains": "classifier", "metric": "auc", "settings": {}, "record": {"episodes": 4}}


def wrong(name: str, says: str, **keys) -> Case:
    """`keys` are put over a good sweep; None leaves one out."""

    def read(folder: Path) -> None:
        given = {key: value for key, value in {**GOOD, **keys}.items() if value is not None}
        (folder / "sweep.yaml").write_text(yaml.safe_dump(given))
        read_sweep(folder / "sweep.yaml")

    return Case(name, read, OptionError, rf"sweep\.yaml: {says}")


def text(name: str, content: str, says: str) -> Case:
    def read(folder: Path) -> None:
        (folder / "sweep.yaml").write_text(content)
        read_sweep(folder / "sweep.yaml")

    return Case(name, read, OptionError, says)


def search(name: str, says: str, **how) -> Case:
    return wrong(name, says, search=how)


KEYS = [
    wrong("an unknown key", "There is no option 'tirals'. Did you mean 'trials'", tirals=3),
    wrong("no search", "search is missing", search=None),
    wrong("an empty search", "search is empty: name options to try", search={}),
    wrong("no metric", "metric is missing", metric=None),
    wrong(
        "an unknown training",
        "trains is 'hibrid', a str; it must be one of hybrid, offline, classifier",
        trains="hibrid",
    ),
    wrong("a word for a number", "trials is 'many', a str; it must be a whole number", trials="many"),
    wrong("no trials", "trials is 0; it must be at least 1", trials=0),
    wrong("an unknown mode", "mode is 'maximum', a str; it must be one of max, min", mode="maximum"),
    wrong("an unknown searcher", "searcher is 'bayes', a str; it must be one of random, optuna", searcher="bayes"),
    wrong("a storage of an unknown kind", "storage: ftp://host/sweep: .*begins with s3://", storage="ftp://host/sweep"),
    wrong(
        "an unknown setting",
        "settings: There is no option 'discuont'. Did you mean 'discount'",
        settings={"discuont": 0.9},
    ),
    wrong("a setting out of bounds", "search and settings: tau is 2.0; it must lie in", settings={"tau": 2.0}),
    wrong(
        "a setting of a wrong type",
        "search and settings: batch_size is 'big', a str; it",
        settings={"batch_size": "big"},
    ),
    wrong("a setting twice", "lr is both set and searched", settings={"lr": 1e-4}),
    wrong(
        "an unknown metric",
        "metric: There is no metric 'evaluation/sucess'.*'evaluation/success_",
        metric="evaluation/sucess",
    ),
    wrong(
        "an unknown metric to stop at",
        "stop: There is no metric 'env/step'. Did you mean 'env/steps'",
        stop={"env/step": 9},
    ),
    wrong("a word to stop at", "stop: env/steps is 'soon'; it must be a number", stop={"env/steps": "soon"}),
    wrong(
        "no evaluation",
        "metric evaluation/success_rate is known after an evaluation only",
        settings={"evaluate_every": 0},
    ),
    wrong("an unknown resource", "resources: There is no option 'gpus'. Did you mean 'gpu'", resources={"gpus": 1}),
    wrong("a negative resource", "resources: gpu is -1; it must be", resources={"gpu": -1}),
    wrong("a wrong recording", "record: There is no option 'episode'. Did you mean 'episodes'", record={"episode": 3}),
    wrong("nothing to record", "record: episodes is 0; it must be at least 1", record={"episodes": 0}),
    wrong("a wrong smoke", "smoke: There is no option 'trails'. Did you mean 'trials'", smoke={"trails": 1}),
    wrong("a smoke of another kind", "smoke is True; it must be a mapping", smoke=True),
]
SEARCHES = [
    search("an unknown option", "search: There is no option 'larning_rate'.", larning_rate={"choice": [1, 2]}),
    search("no way to draw", r"search: lr: \[0.1\] is no way to draw: write one of choice, grid", lr=[0.1]),
    search("an unknown way", "search: lr: There is no way to draw 'logunifrom'. Did you mean 'loguni",
           lr={"logunifrom": [1, 2]}),
    search("two ways", "search: lr: .* is no way to draw", lr={"choice": [1], "grid": [2]}),
    search("an empty list", r"search: lr: choice is \[\]; it must be a list", lr={"choice": []}),
    search("no list", "search: lr: uniform is 0.1; it must be a list", lr={"uniform": 0.1}),
    search("three ends", "search: lr: uniform is .*; it must be two numbers", lr={"uniform": [1, 2, 3]}),
    search("the greatest first", "search: lr: uniform is .*; the least comes first", lr={"uniform": [2, 1]}),
    search("from zero", "search: lr: loguniform is .*; the least comes first, and is above 0",
           lr={"loguniform": [0.0, 1.0]}),
    search("a value twice", "search: lr: choice has a value twice", lr={"choice": [1, 1]}),
    search("an end out of bounds", "search and settings: discount is 1.2; it must lie in",
           discount={"uniform": [0.9, 1.2]}),
    search("fractions of a whole", "search and settings: batch_size is 32.0, a float",
           batch_size={"uniform": [32, 64]}),
    search(
        "a pair that does not fit", "search and settings: critic_subsample_size is 4 of an ensemble of 2",
        critic_ensemble_size={"choice": [2, 8]}, critic_subsample_size={"choice": [2, 4]},
    ),
    search("a range of data", "search: augment_crops decides what is read and shared",
           augment_crops={"randint": [1, 4]}),
    search("demonstrations", "search: demo_paths cannot be searched", demo_paths={"choice": [["a.pkl"], ["b.pkl"]]}),
    search("a grid of eight trials", "trials is 8, but lr are a grid", lr={"grid": [1, 2]}),
    wrong(
        "a grid by optuna", "searcher is optuna, which has no grid for seed",
        searcher="optuna", search={"seed": {"grid": [0, 1]}}, trials=1,
    ),
]  # fmt: skip
GRACE, EVERY = {"grace": 500}, {"every": 500}
SCHEDULERS = [
    wrong("an unknown scheduler", "scheduler: There is no option 'ahsa'. Did you mean 'asha'",
          scheduler={"ahsa": GRACE}),
    wrong("two schedulers", "scheduler: choose one of asha and pbt", scheduler={"asha": GRACE, "pbt": EVERY}),
    wrong("a scheduler without options", "scheduler: asha is None; it must be a mapping", scheduler={"asha": None}),
    wrong("an unknown option of it", "scheduler: asha: There is no option 'grce'. Did you mean",
          scheduler={"asha": {"grce": 1}}),
    wrong("an option missing", "scheduler: asha: grace is missing", scheduler={"asha": {"reduction": 3}}),
    wrong("no reduction", "scheduler: asha: reduction is 1; it must be above 1",
          scheduler={"asha": GRACE | {"reduction": 1}}),
    wrong("too large a quantile", "scheduler: pbt: quantile is 0.7; it must",
          scheduler={"pbt": EVERY | {"quantile": 0.7}}),
    wrong("before the first evaluation", "scheduler: grace is 100; it must be at least 500",
          scheduler={"asha": {"grace": 100}}),
    wrong("after the end", "scheduler: every is 9000; it must be .*at most max_steps, 2000",
          scheduler={"pbt": {"every": 9000}}),
    wrong(
        "networks by pbt", "search: critic_ensemble_size cannot be changed in a run that goes on",
        scheduler={"pbt": EVERY}, search={"critic_ensemble_size": {"choice": [2, 4]}},
    ),
    wrong("confirmed by pbt", "pbt ends with options that no trial had from the start",
          scheduler={"pbt": EVERY}, confirm=2),
    wrong(
        "a grid by pbt", "pbt changes options .* without grids",
        scheduler={"pbt": EVERY}, trials=1, search={"lr": {"grid": [1, 2]}},
    ),
]  # fmt: skip
OTHERS = [
    wrong(
        "offline without demonstrations",
        "settings: demo_paths is missing",
        trains="offline",
        metric="held_out/action_error",
    ),
    wrong("offline without an env", "metric evaluation/success_rate needs an env", **OFFLINE),
    wrong(
        "recorded and given",
        "demo_paths is given, and record too",
        settings={"demo_paths": ["a"]},
        record={"episodes": 2},
    ),
    wrong("a classifier without frames", "settings: success_dir is missing", **CLASSIFIER | {"record": None}),
    wrong(
        "a classifier's scheduler",
        "A classifier has its metrics only at its end",
        **CLASSIFIER,
        scheduler={"asha": {"grace": 1}},
    ),
    wrong(
        "a classifier's folder",
        "settings: There is no option 'output_dir'",
        **CLASSIFIER | {"settings": {"output_dir": "x"}},
    ),
    wrong("a preset for it", "preset is tabletop, and presets are for policies", **CLASSIFIER | {"preset": "tabletop"}),
    wrong("a policy's metric for it", "metric: There is no metric 'env/steps'", **CLASSIFIER | {"metric": "env/steps"}),
    text("no YAML", "search: [1, 2", r"sweep\.yaml: it is not YAML: .*line 1"),
    text("a list", "- 1\n", r"sweep\.yaml: it holds no options"),
    text("nothing", "", r"sweep\.yaml: it holds no options"),
    text("a key twice", "trials: 2\ntrials: 3\n", r'sweep\.yaml: found duplicate key "trials": name each key once'),
    text("a number for a key", "1: 2\n", r"sweep\.yaml: the key 1 is not a name"),
    text("much of little", "a: &a [1, 1]\nb: [*a, *a]\n", r"sweep\.yaml: it has aliases"),
    text("deep", "[" * 1500, r"sweep\.yaml: it is not YAML"),
    text(
        "Python",
        "trains: !!python/object/apply:os.system ['touch owned']\n",
        r"sweep\.yaml: it is not YAML: could not determine",
    ),
]


@table(KEYS + SEARCHES + SCHEDULERS + OTHERS)
def test_a_wrong_sweep_is_refused(case, tmp_path):
    assert_refused(case, tmp_path)


def test_no_file_and_no_sweep_to_resume(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "start_ray", None)
    with pytest.raises(FileNotFoundError, match="sweep.yaml: there is no such file"):
        run.run_sweep(tmp_path / "sweep.yaml", tmp_path / "out")
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(GOOD))
    with pytest.raises(FileNotFoundError, match="There is no sweep in .* to resume"):
        run.run_sweep(tmp_path / "sweep.yaml", tmp_path / "out", resume=True)


def test_what_is_right_is_let_pass_and_1e_4_is_a_number(tmp_path):
    (tmp_path / "sweep.yaml").write_text(
        "trains: hybrid\nmetric: evaluation/success_rate\nsearch: {lr: {loguniform: [1e-4, 1e-3]}}\n"
    )
    sweep, _ = read_sweep(tmp_path / "sweep.yaml")
    assert sweep.search["lr"]["loguniform"] == [1e-4, 1e-3] and sweep.default() == {"lr": 3e-4}


COMMANDS = {"train": HybridRun, "train-offline": OfflineRun, "train-classifier": ClassifierOptions}
FILES = {
    "an unknown option": ("discuont: 0.9", "best.yaml: There is no option 'discuont'. Did you mean 'discount'"),
    "a wrong type": ("batch_size: big", "best.yaml: batch_size is 'big', a str; it must be a whole number"),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("of", COMMANDS)
def test_a_wrong_file_of_options_is_refused(of, name, tmp_path):
    content, says = FILES[name]
    (tmp_path / "best.yaml").write_text(content.replace("discuont", "lrr") if of == "train-classifier" else content)
    says = says.replace("discuont", "lrr").replace("discount", "lr") if of == "train-classifier" else says
    with pytest.raises(ValueError, match=says):
        parse_layers(f"serl {of}", COMMANDS[of], ["--config", str(tmp_path / "best.yaml")])


def test_flags_count_before_the_file_and_it_before_the_preset(tmp_path):
    (tmp_path / "best.yaml").write_text("preset: tabletop\nlr: 1e-4\ntau: 0.02\nimage_keys: [image]\n")
    options = parse_layers("serl train", HybridRun, ["--config", str(tmp_path / "best.yaml"), "--lr", "0.001"])
    assert (options.agent.lr, options.agent.tau, options.learning.batch_size, options.env.image_keys) == (
        0.001,
        0.02,
        128,
        ("image",),
    )
