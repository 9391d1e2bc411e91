"""A run that is told to end ends after a step, with a checkpoint from which it goes on to the same bits."""

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.training.test_loop import Ran, run, same_weights
from tests.training.tiny import MakeRecipe
from training import checkpoint
from training.checkpoint import Checkpoint, list_checkpoints, load
from training.data.rows import Splits
from training.errors import StoppedError
from training.modeling import Model
from training.objectives.supervised import Supervised
from training.signals import Stop, noted


class Calls:
    """Sends this process `number` in the call of that many."""

    def __init__(self, number: signal.Signals, call: int) -> None:
        self.number = number
        self.call = call

    def __call__(self) -> None:
        self.call -= 1
        if self.call == 0:
            os.kill(os.getpid(), self.number)


@pytest.fixture
def whole(make_recipe: MakeRecipe, intents: Splits, tmp_path: Path) -> Ran:
    return run(make_recipe(), intents, tmp_path / "whole")


def stop(make_recipe: MakeRecipe, intents: Splits, folder: Path) -> tuple[StoppedError, Checkpoint]:
    with pytest.raises(StoppedError) as stopped:
        run(make_recipe(), intents, folder)
    assert "--resume" in str(stopped.value)
    newest = list_checkpoints(folder)[0]
    assert str(newest) in str(stopped.value)
    return stopped.value, load(newest)


def goes_on_to(whole: Ran, make_recipe: MakeRecipe, intents: Splits, folder: Path) -> bool:
    resumed = run(make_recipe(), intents, folder, resume=True)
    return same_weights(whole.model, resumed.model) and whole.trained == resumed.trained


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_within_a_step_waits_for_its_end(
    number: signal.Signals,
    code: int,
    whole: Ran,
    make_recipe: MakeRecipe,
    intents: Splits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, loss = Calls(number, 8), Supervised.loss

    def told(self: Supervised, *arguments: object) -> object:
        calls()
        return loss(self, *arguments)  # type: ignore[arg-type]  # passed on as they are

    with monkeypatch.context() as patched:
        patched.setattr(Supervised, "loss", told)
        error, found = stop(make_recipe, intents, tmp_path / "told")

    assert error.exit_code == code
    assert (found.place.step, found.place.epoch, found.place.batch) == (8, 1, 2)
    assert goes_on_to(whole, make_recipe, intents, tmp_path / "told")


@pytest.mark.parametrize("call", [1, 3, 6])
def test_a_signal_within_a_save_never_spoils_it(
    call: int,
    whole: Ran,
    make_recipe: MakeRecipe,
    intents: Splits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first save, of four files, stands after step 3; the second ends an epoch, so that the run may end there."""
    calls, fsync = Calls(signal.SIGTERM, call), checkpoint._fsync_file

    def told(path: Path) -> None:
        calls()
        fsync(path)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "_fsync_file", told)
        _, found = stop(make_recipe, intents, tmp_path / "told")

    assert found.place.step == (4 if call < 4 else 6)
    assert load(list_checkpoints(tmp_path / "told")[1]).place.step == 3
    assert goes_on_to(whole, make_recipe, intents, tmp_path / "told")


@pytest.mark.parametrize("times", [1, 2], ids=["once", "and again when resumed"])
def test_dev_rows_do_not_hold_up_the_end(
    times: int,
    whole: Ran,
    make_recipe: MakeRecipe,
    intents: Splits,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[bool] = []
    score = Supervised.score

    def told(self: Supervised, model: Model) -> Mapping[str, float]:
        os.kill(os.getpid(), signal.SIGTERM)
        ended.append(True)
        return score(self, model)

    with monkeypatch.context() as patched:
        patched.setattr(Supervised, "score", told)
        _, found = stop(make_recipe, intents, tmp_path / "told")
        for _ in range(1, times):
            with pytest.raises(StoppedError):
                run(make_recipe(), intents, tmp_path / "told", resume=True)

    assert ended == []
    assert (found.place.epoch, found.place.batch) == (0, 6)
    assert goes_on_to(whole, make_recipe, intents, tmp_path / "told")


def test_a_signal_within_the_last_save_is_obeyed_after_it(
    whole: Ran, make_recipe: MakeRecipe, intents: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remove = checkpoint.remove

    def told(paths: list[Path]) -> None:
        remove(paths)
        if any(path.name.endswith("18") for path in list_checkpoints(tmp_path / "told")):
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "remove", told)
        _, found = stop(make_recipe, intents, tmp_path / "told")

    assert found.place.epoch == 3
    assert goes_on_to(whole, make_recipe, intents, tmp_path / "told")


def test_signals_mean_what_they_did_once_the_run_is_over() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]

    with noted(Stop()) as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)

    assert stop.signal is signal.SIGTERM
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_an_ignored_signal_stays_ignored() -> None:
    """`nohup` and the background of a shell set this."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with noted(Stop()) as stop:
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)

    assert stop.signal is None


def test_a_signal_after_openvino_is_handled() -> None:
    """In a process of its own: without the care, it dies of a segmentation fault."""
    code = """
        import os, signal
        import numpy as np, openvino as ov
        from openvino import opset13
        from training.signals import signal_stack_kept

        def compiled():
            values = opset13.parameter([-1, 4], np.float32)
            return ov.Core().compile_model(ov.Model([opset13.relu(values)], [values]), "CPU")

        with signal_stack_kept():
            first, second = compiled(), compiled()
            del first
            del second
        signal.signal(signal.SIGTERM, lambda *_: print("handled"))
        os.kill(os.getpid(), signal.SIGTERM)
    """
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)

    assert (run.returncode, run.stdout) == (0, "handled\n")
