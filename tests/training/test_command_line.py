"""What a person at the shell sees: results, one clear line on errors, exit codes, and no noise."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from app.bundle.manifest import PoolingMode
from tests.data.make_tiny import make_sources
from training.__main__ import POOLINGS, main

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
    assert "int8 for CPUs: " in trained.stderr  # made, or refused with a reason
    assert "packed fp16 for CUDA: vectors within" in trained.stderr
    assert "arn" not in trained.stderr.replace("learn", "")  # no Warning of any library
    assert judged.returncode == 0
    assert "tiny-classifier@1: accuracy" in judged.stdout
    assert (built.returncode, built.stderr) == (0, "tiny-classifier: version 1 is there\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nowhere.toml"], "nowhere.toml: cannot be read: No such file or directory"),
        (["train", "good.toml", "--set", "sed=3"], "good.toml: sed is not a key; did you mean seed?"),
        (["import", "./nothing-here"], "encoder.source: there is no folder nothing-here"),
        (["import", "./nothing-here", "--name", "Big One"], "'Big One' cannot name a bundle"),
        (["build", "empty"], "empty holds no recipes (*.toml)"),
        (["evaluate", "good.toml"], "good has no [data], so there is nothing to evaluate it on"),
        (["validate", "notes.txt"], 'notes.txt: ".txt" is not a kind of data file'),
    ],
    ids=["no recipe", "unknown key", "no folder", "bad name", "no recipes", "no data", "unknown kind of file"],
)
def test_errors_are_told_in_a_line_and_exit_1(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "good.toml").write_text('name = "good"\n[encoder]\nsource = "x"\n[head]\ntask = "embed"\n')
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")

    code = main(arguments)

    said = capsys.readouterr()
    assert (code, said.out) == (1, "")
    assert "encodery: " in said.err
    assert message in said.err


def test_poolings_of_import_are_those_of_the_format() -> None:
    assert get_args(PoolingMode) == POOLINGS


@pytest.mark.parametrize("arguments", [[], ["fly"], ["train"], ["validate", "a.csv", "--column", "txt=a"]])
def test_wrong_usage_exits_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)

    assert end.value.code == 2
    assert "usage: python -m training" in capsys.readouterr().err


def test_a_start_without_work_loads_no_torch(tmp_path: Path) -> None:
    """The service asks for missing bundles at every start."""
    (tmp_path / "tiny.toml").write_text('name = "tiny-encoder"\n[encoder]\nsource = "x"\n[head]\ntask = "embed"\n')
    code = (
        "import sys; from training.__main__ import main;"
        f"code = main(['build', {str(tmp_path)!r}, '--models', {str(ROOT / 'tests' / 'data')!r}]);"
        "sys.exit(code or 'torch' in sys.modules)"
    )

    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert (run.returncode, run.stderr) == (0, "tiny-encoder: version 1 is there\n")


@pytest.mark.parametrize(
    ("number", "end"),
    [(signal.SIGINT, (130, "encodery: interrupted\n")), (signal.SIGTERM, (143, "encodery: terminated\n"))],
)
def test_a_signal_ends_a_command_with_the_exit_code_of_shells(
    number: signal.Signals, end: tuple[int, str], tmp_path: Path
) -> None:
    """The recipe is a pipe: once it is opened, the command waits for it for ever."""
    recipe = tmp_path / "recipe.toml"
    os.mkfifo(recipe)
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        f"from training.__main__ import main; sys.exit(main(['build', {str(tmp_path)!r}]))"
    )

    with (
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True) as process,
        recipe.open("w") as pipe,  # opens when the other side does
    ):
        process.send_signal(number)
        pipe.close()  # a signal just before the other side's read would wait for it to end
        _out, said = process.communicate()

    assert (process.returncode, said) == end


@pytest.mark.slow
def test_a_training_that_is_terminated_leaves_a_checkpoint_and_goes_on_from_it(tmp_path: Path) -> None:
    make_sources(tmp_path)
    command = [sys.executable, "-m", "training", "train", "tiny.toml", "--models", "m", "--set", "budget.epochs=1000"]
    changes = ["--set", "baselines=false", "--resume"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    for begins in ("no checkpoint in m/runs/tiny-classifier; starting from the beginning", "going on from step-"):
        with subprocess.Popen(
            [*command, *changes], cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stderr is not None
            assert any(line.startswith(begins) for line in process.stderr)
            assert any("dev rows: " in line for line in process.stderr)
            process.send_signal(signal.SIGTERM)
            said = process.stderr.read()
        assert process.returncode == 143
        assert "encodery: stopped by SIGTERM; the checkpoint is m/runs/tiny-classifier/step-" in said
