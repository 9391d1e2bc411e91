"""How many texts a second does each way reach that knows all texts in advance?"""

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from app.engine.cpu_plans import Setting
from benchmarks.ceiling import FINALISTS, Ceiling, open_plan
from benchmarks.peers.environments import OFFLINE, PEERS, SERVERS, Model, PeerError, prepare

SWEEP_SHARE = 5  # of the texts, one in so many finds the ways that are worth all of them


def ways(
    models_dir: Path, model: Model, plans: Sequence[Setting], texts: Sequence[str]
) -> Iterator[tuple[str, Callable[[], float]]]:
    """Name and measurement of each; a measurement raises PeerError or DeviceError where it cannot be had."""
    for plan in plans:
        yield f"encodery {plan}", partial(_ceiling, models_dir, model.name, plan, texts)
    yield "sentence-transformers", partial(_sentence_transformers, model, texts)


def _ceiling(models_dir: Path, model: str, plan: Setting, texts: Sequence[str]) -> float:
    ceiling = Ceiling(open_plan(models_dir, model, plan))
    best = [figures.plan for figures in ceiling.sweep(texts[: len(texts) // SWEEP_SHARE])[:FINALISTS]]
    return ceiling.best(texts, best).texts_per_s


def _sentence_transformers(model: Model, texts: Sequence[str]) -> float:
    peer = next(peer for peer in PEERS if peer.environment == "fastapi")
    program = [str(prepare(peer) / "bin" / "python"), str(SERVERS / "offline_st.py"), str(model.folder)]
    done = subprocess.run(program, input=json.dumps(texts), capture_output=True, text=True, env=os.environ | OFFLINE)
    if done.returncode != 0:
        raise PeerError((done.stderr.strip() or "no message").splitlines()[-1])
    return float(done.stdout)
