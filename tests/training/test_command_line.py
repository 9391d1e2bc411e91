"""What a person at the shell sees: results, one clear line on errors, exit codes, and no noise."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data.make_tiny import make_sources

ROOT = Path(__file__).parents[2]


def _run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    command = [sys.executable, "-m", "training", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_train_evaluate_and_build_from_the_shell(tmp_path: Path) -> None:
    """The real exporters, with their warnings, in processes of their own."""
    make_sources(tmp_path)
    (tmp_path / "recipes").mkdir()
    (tmp_path / "tiny.toml").rename(tmp_path / "recipes" / "tiny.toml")
    (tmp_path / "sentences.jsonl").rename(tmp_path / "recipes" / "sentences.jsonl")

    trained = _run("train", "recipes/tiny.toml", "--models", "m", "--set", "baselines=false", cwd=tmp_path)
    judged = _run("evaluate", "recipes/tiny.toml", cwd=tmp_path, ENCODERY_MODELS_DIR="m")
    built = _run("build", "recipes", "--models", "m", cwd=tmp_path)

    assert (trained.returncode, trained.stdout) == (0, "m/store/tiny-classifier/1\n")
    assert "dynamo + ort_fusions; fused: 2 Attention, 2 BiasGelu, 4 SkipLayerNormalization" in trained.stderr
    assert "arn" not in trained.stderr.replace("learn", "")  # no Warning of any library
    assert judged.returncode == 0
    assert "tiny-classifier@1: accuracy" in judged.stdout
    assert (built.returncode, built.stderr) == (0, "tiny-classifier: version 1 is there\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.toml"], "nowhere.toml: cannot be read: No such file or directory"),
        (["train", "bad.toml"], "bad.toml: head.tusk is not a key; did you mean head.task?"),
        (["import", "./nothing-here"], "encoder.source: there is no folder nothing-here"),
        (["build", "empty"], "empty holds no recipes (*.toml)"),
        (["evaluate", "good.toml"], "good has no [data], so there is nothing to evaluate it on"),
        (["validate", "notes.txt"], 'notes.txt: ".txt" is not a kind of data file'),
    ],
    ids=["no recipe", "unknown key", "no folder", "no recipes", "no data", "unknown kind of file"],
)
def test_errors_are_told_without_a_traceback(arguments: list[str], message: str, tmp_path: Path) -> None:
    good = 'name = "good"\n[encoder]\nsource = "x"\n[head]\ntask = "embed"\n'
    (tmp_path / "good.toml").write_text(good)
    (tmp_path / "bad.toml").write_text(good.replace("task", "tusk"))
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")

    run = _run(*arguments, cwd=tmp_path)

    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("encodery: ")
    assert message in run.stderr
    assert "Traceback" not in run.stderr


@pytest.mark.parametrize("arguments", [[], ["fly"], ["train"], ["validate", "a.csv", "--column", "text"]])
def test_wrong_usage_exits_2(arguments: list[str], tmp_path: Path) -> None:
    run = _run(*arguments, cwd=tmp_path)

    assert run.returncode == 2
    assert "usage: python -m training" in run.stderr
