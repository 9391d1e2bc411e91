"""Training in several processes, each forked from one that has torch loaded.

`python -m tests.training.ranks FOLDER` reads `FOLDER/jobs.json`, jobs by name, and runs every one in `WORLD` processes;
each writes its weights and its history to `FOLDER/<name>-<rank>.safetensors` and `.json`.
"""

import json
import os
import signal
import socket
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save_file

from tests.training.test_loop import QuietProgress, run
from tests.training.tiny import intent_splits, pair_splits
from training.errors import StoppedError
from training.parallel import joined
from training.recipe import Recipe

WORLD = 2


@dataclass(frozen=True, slots=True)
class Job:
    """One run.

    Args:
        recipe: as JSON.
        runs: the name of the folder of its checkpoints.
        terminated: the last rank alone gets SIGTERM in this step; 0: none does.
    """

    recipe: str
    runs: str
    terminated: int = 0
    resume: bool = False


def work(folder: Path, name: str, job: Job, rank: int) -> int:
    """One rank of one job; its exit code."""
    recipe = Recipe.model_validate_json(job.recipe)
    splits = pair_splits() if recipe.head.task == "embed" else intent_splits()
    progress = QuietProgress(
        job.terminated if rank == WORLD - 1 else None, end=lambda: os.kill(os.getpid(), signal.SIGTERM)
    )
    try:
        with joined():
            ran = run(recipe, splits, folder / job.runs, resume=job.resume, progress=progress)
    except StoppedError as stopped:
        return stopped.exit_code
    save_file(ran.model.state_dict(), folder / f"{name}-{rank}.safetensors")
    (folder / f"{name}-{rank}.json").write_text(json.dumps(ran.trained.history))
    return 0


def run_job(folder: Path, name: str, job: Job) -> list[int]:
    """The exit codes of its ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": str(WORLD)}
    children = []
    for rank in range(WORLD):
        if not (pid := os.fork()):
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            code = 1
            try:
                code = work(folder, name, job, rank)
            except BaseException:
                traceback.print_exc()
            os._exit(code)
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def main(folder: Path) -> None:
    """All jobs; their exit codes go to `FOLDER/codes.json`."""
    jobs = {name: Job(**job) for name, job in json.loads((folder / "jobs.json").read_text()).items()}
    codes = {name: run_job(folder, name, job) for name, job in jobs.items()}
    (folder / "codes.json").write_text(json.dumps(codes))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
