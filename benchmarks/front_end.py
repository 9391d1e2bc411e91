"""How many requests does one front end answer a CPU-second, and what does a refusal cost it?

A front-end process as the service starts it, all parts at work – ids, metrics, a log line a request, admission,
tokenising, the frames to the engine –, on a real socket, over an engine that costs nothing (benchmarks/zero_engine.py).
Clients ask in a closed loop, one text of 14 words a request, answers in base64; every answer is checked. CPU seconds
are the front end's own, user and system, from /proc: neither engine nor clients are in them. For refusals the engine
answers nothing and one request fills the house, so that each of the others is refused by its head. The two take turns.
"""

import asyncio
import os
import random
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

import orjson
import uvloop

from app.bundle.store import current
from app.processes.child import engine_socket
from app.processes.process import Process
from app.serving.catalog import Catalog, ServedModel
from app.types import ModelKey
from benchmarks.client import HOST, connect, post
from benchmarks.corpus import corpus
from benchmarks.machine import ROOT, origin
from benchmarks.processes import cpu_times
from benchmarks.schema import FrontEnd, FrontEndRound

TARGET_PER_CPU_S, TARGET_REFUSAL_US = 4000, 100
CLIENTS = 64
WORDS, TOKENS_MAX = 14, 64
END_S = 5.0
FILLED_MS = 600_000  # the request that fills the house must not expire before the last round has ended

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Options:
    """What one run of the benchmark is asked for."""

    models_dir: Path
    model: str
    requests: int  # a round
    rounds: int


@dataclass(frozen=True, slots=True)
class Target:
    """A front end that runs, and what its answers have to begin with."""

    pid: int
    port: int
    expected: bytes


def measure(options: Options, arguments: Sequence[str], say: Say) -> FrontEnd:
    """Run it all; `say` gets a line for every round.

    Raises:
        BundleError, StartError, ValueError: with the reason.
    """
    store = options.models_dir / "store"
    catalog = Catalog.open(store, [ModelKey(options.model, current(store, options.model))])
    model = catalog.resolve(options.model, None, "embed")
    texts, tokens_mean = _texts(model, options.requests)
    bodies = [orjson.dumps({"model": options.model, "text": text, "format": "base64"}) for text in texts]
    requests = [post(body) for body in bodies]
    answers, refusals = uvloop.run(_measure(options, model, requests, say))
    return FrontEnd(
        origin=origin(arguments),
        model=options.model,
        clients=CLIENTS,
        words=WORDS,
        tokens_mean=tokens_mean,
        target_per_cpu_s=TARGET_PER_CPU_S,
        target_refusal_us=TARGET_REFUSAL_US,
        answers=answers,
        refusals=refusals,
        per_cpu_s=round(1e6 / median(each.us_per_request for each in answers), 1),
        refusal_us=round(median(each.us_per_request for each in refusals), 1),
    )


def _texts(model: ServedModel, count: int) -> tuple[list[str], float]:
    """Different texts of 14 words, cut from prose, and their mean length in tokens."""
    words = [text.split() for text in corpus(12_000, seed=1)]
    cut = {" ".join(each[start : start + WORDS]) for each in words for start in range(0, len(each) - WORDS + 1, 5)}
    texts = sorted(cut)
    random.Random(1).shuffle(texts)
    read = zip(texts, model.encoder.encode(texts, "end"), strict=True)
    fitting = [(text, one.tokens) for text, one in read if not one.truncated and one.tokens <= TOKENS_MAX][:count]
    if len(fitting) < count:
        raise ValueError(f"{count} texts of {WORDS} words are asked for; there are {len(fitting)}")
    return [text for text, _ in fitting], round(fmean(tokens for _, tokens in fitting), 2)


async def _measure(
    options: Options, model: ServedModel, requests: Sequence[bytes], say: Say
) -> tuple[list[FrontEndRound], list[FrontEndRound]]:
    answers, refusals = list[FrontEndRound](), list[FrontEndRound]()
    async with (
        _front_end(options.models_dir, model, b"HTTP/1.1 200 ", never=False) as answering,
        _front_end(options.models_dir, model, b"HTTP/1.1 429 ", never=True) as refusing,
    ):
        filler = await connect(refusing.port, refusing.expected)
        filler.send(requests[0])  # never answered: the house is full from here on
        await _load(answering, requests[: len(requests) // 4])  # warm
        await _load(refusing, requests[: len(requests) // 4])
        for number in range(1, options.rounds + 1):
            answers.append(await _load(answering, requests))
            refusals.append(await _load(refusing, requests))
            cost_us = answers[-1].us_per_request
            say(f"round {number}: {1e6 / cost_us:.0f} requests a CPU-second ({cost_us:.0f} us), a refusal "
                f"{refusals[-1].us_per_request:.0f} us")  # fmt: skip
        filler.close()
    return answers, refusals


async def _load(target: Target, requests: Sequence[bytes]) -> FrontEndRound:
    """Ask every request once, `CLIENTS` at a time."""
    clients = [await connect(target.port, target.expected) for _ in range(CLIENTS)]
    left = iter(requests)
    cpu_s, started_s = sum(cpu_times(target.pid)), time.perf_counter()
    await asyncio.gather(*(client.ask_all(left) for client in clients))
    seconds, cpu_s = time.perf_counter() - started_s, sum(cpu_times(target.pid)) - cpu_s
    for client in clients:
        client.close()
    return FrontEndRound(
        requests=len(requests),
        seconds=round(seconds, 3),
        cpu_s=round(cpu_s, 2),
        us_per_request=round(1e6 * cpu_s / len(requests), 1),
    )


@asynccontextmanager
async def _front_end(models_dir: Path, model: ServedModel, expected: bytes, *, never: bool) -> AsyncIterator[Target]:
    """A front end over an engine that costs nothing, ready; both have ended when the block has."""
    lifeline, held = os.pipe()
    width = model.embed_head(None).dimensions
    with tempfile.TemporaryDirectory(prefix="encodery-") as folder, socket.create_server((HOST, 0)) as listener:
        runtime, key = Path(folder), str(model.key)
        environ = os.environ | {
            "ENCODERY_MODELS_DIR": str(models_dir),
            "ENCODERY_LOG_FORMAT": "json",
            "ENCODERY_TIMEOUT_MS": str(FILLED_MS),
            "PROMETHEUS_MULTIPROC_DIR": folder,
        }
        engine = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.zero_engine", "--socket", str(engine_socket(runtime, 0))),
            *("--width", str(width), *(["--never"] if never else []), key),
            cwd=ROOT,
        )
        arguments = ["--runtime", folder, "--engines", "1", "--number", "0"]
        front_end = Process(
            "front-end",
            ["app.processes.frontend", key, "--listen", str(listener.fileno()), *arguments],
            environ=environ,
            lifeline=lifeline,
            fds=[listener.fileno()],
            on_death=lambda _: None,
        )
        try:
            await front_end.start()
            yield Target(front_end.pid, listener.getsockname()[1], expected)
        finally:
            front_end.kill()
            await front_end.stop(END_S)  # only waits: a loop that closes before its child is reaped says so
            engine.kill()
            await engine.wait()
            os.close(lifeline)
            os.close(held)
