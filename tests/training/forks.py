"""Training runs in processes that can be killed at a chosen point, each forked from one that has torch loaded.

`python -m tests.training.forks` reads a job a line and answers a line (JSON). A job trains on the intents of `tiny.py`
and is killed with SIGKILL, as by `kill -9`, at one point: the end of a step, or an event of a save – what Python
reports of files to `sys.addaudithook`, and the writing of each file of tensors, which is cut in half.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import PIPE, Popen
from typing import IO, Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Job:
    """One run.

    Args:
        recipe: as JSON.
        folder: of its checkpoints.
        step: be killed after this many steps of this process; 0: never.
        save: count the events of the save of this number; 0: of none.
        event: be killed at the event of this number, counted from 1; 0: only count.
        file_bytes: no file may become larger; None: no limit. Stands for a full disk.
    """

    recipe: str
    folder: str
    resume: bool = False
    step: int = 0
    save: int = 0
    event: int = 0
    file_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """`code` as `subprocess` has it: -9 when killed. `events` were counted; `error` is what the run ended with."""

    code: int
    events: int = 0
    error: str = ""


class Forks:
    """The other side: runs jobs in the process that forks."""

    def __init__(self, process: "Popen[str]") -> None:
        self._process = process

    def run(self, job: Job) -> Outcome:
        """What became of `job`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(asdict(job)), file=self._process.stdin, flush=True)
        return Outcome(**json.loads(self._process.stdout.readline()))


@contextmanager
def forks() -> Iterator[Forks]:
    """A process that forks, while this lasts."""
    command = [sys.executable, "-m", "tests.training.forks"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOKENIZERS_PARALLELISM": "false"}
    with Popen(command, cwd=ROOT, env=environment, stdin=PIPE, stdout=PIPE, text=True) as process:
        yield Forks(process)
        assert process.stdin is not None
        process.stdin.close()


def serve(jobs: IO[str], answers: IO[str]) -> None:
    """Answer jobs until there are no more."""
    import torch

    from tests.training import test_loop  # noqa: F401 - loaded once for all forks

    torch.set_num_threads(1)
    for line in jobs:
        print(json.dumps(asdict(_in_a_fork(Job(**json.loads(line))))), file=answers, flush=True)


def _in_a_fork(job: Job) -> Outcome:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        with os.fdopen(writer, "w") as answer:
            json.dump(asdict(_work(job)), answer)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Outcome(**json.loads(said)) if code == 0 else Outcome(code)


def _work(job: Job) -> Outcome:
    from tests.training.test_loop import QuietProgress, run
    from tests.training.tiny import intent_splits
    from training.errors import TrainingError
    from training.recipe import Recipe

    if job.file_bytes is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # or the signal would end what the error should
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.file_bytes, job.file_bytes))
    points = _Points(job)
    sys.addaudithook(points.audit)
    points.watch()
    progress = QuietProgress(job.step or None, end=_kill)
    try:
        run(
            Recipe.model_validate_json(job.recipe),
            intent_splits(),
            Path(job.folder),
            resume=job.resume,
            progress=progress,
        )
    except TrainingError as error:
        return Outcome(0, points.events, str(error))
    return Outcome(0, points.events)


class _Points:
    """Counts the events of one save, and kills at one of them."""

    def __init__(self, job: Job) -> None:
        self.events = 0
        self._job = job
        self._saves = 0
        self._is_saving = False

    def watch(self) -> None:
        """Know when a save begins and ends, and see the files that are written without Python."""
        import safetensors.torch

        from training import checkpoint, loop

        save, save_file = checkpoint.save, safetensors.torch.save_file

        def watched(folder: Path, kept: checkpoint.Checkpoint) -> Path:
            self._saves += 1
            self._is_saving = self._saves == self._job.save
            try:
                return save(folder, kept)
            finally:
                self._is_saving = False

        def cut(tensors: dict[str, Any], path: Path) -> None:
            save_file(tensors, path)
            if self._is_saving and self._is_next():
                os.truncate(path, path.stat().st_size // 2)
                _kill()

        loop.__dict__["save"] = watched
        checkpoint.__dict__["save_file"] = cut

    def audit(self, event: str, _arguments: tuple[object, ...]) -> None:
        """The hook: called before each event. A save touches no files but those of its folder."""
        if self._is_saving and event.startswith(("open", "os.", "shutil.")) and self._is_next():
            _kill()

    def _is_next(self) -> bool:
        self.events += 1
        return self.events == self._job.event


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
