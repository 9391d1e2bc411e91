"""Does one text that the model cannot run harm those that share its batch?

The fault is in the bundle, not in the service: a copy of the model whose tokenizer knows one word more than the graph
has rows for, so that the run of any batch with that word fails. Each round first keeps every lane busy, then sends 32
texts of like length at once, one of them poisoned: they wait together, and go into one batch.
Control: the same rounds over an engine that gives callers each other's rows; the ledger must say so.
"""

import hashlib
import json
import select
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from tokenizers import Tokenizer

from app.bundle.store import bundle_dir, current
from app.engine.cores import cores
from benchmarks.ceiling import Ceiling
from benchmarks.chaos.common import Options, opened, serving
from benchmarks.judge import Judge, Question, ask
from benchmarks.ledger import Outcome
from benchmarks.machine import origin
from benchmarks.phases import Say
from benchmarks.schema import Control, Poison
from benchmarks.server import Service, get
from benchmarks.texts import draw
from benchmarks.wire import HOST, BrokenAnswerError, Connection, Reply

BATCH = 32
WORD = "xplantedx"
TOKENS = range(9, 12)  # of a text: 32 of them fit into one batch, and need no padding to speak of
PLUG_TEXTS, PLUG_TOKENS = 4, 150  # for each lane: a run of some 50 ms or more
ANSWER_S = 32.0
CONTROL_ROUNDS = 20
SWAPPED = ("benchmarks.engines", "swapped")


@dataclass(slots=True)
class Rounds:
    """What came of some rounds."""

    others: int = 0
    others_right: int = 0
    poisoned: Counter[str] | None = None
    rows_max: int = 0


def measure(options: Options, rounds: int, command: Sequence[str], say: Say) -> Poison:
    """So many rounds, and the control.

    Raises:
        BundleError, DeviceError, ServiceError, ValueError: with the reason.
    """
    _, ceiling = opened(options)
    with tempfile.TemporaryDirectory(prefix="encodery-chaos-") as folder:
        plant(options, Path(folder))
        planted = replace(options, models_dir=Path(folder), plan="fp32")
        with serving(planted) as service:
            found = _rounds(service, options.model, ceiling, rounds)
        with serving(planted, program=SWAPPED) as service:
            swapped = _rounds(service, options.model, ceiling, CONTROL_ROUNDS)
    outcomes = dict(found.poisoned or {})
    say(f"{found.others_right} of {found.others} others right; poisoned: {outcomes}; up to {found.rows_max} rows a run")
    wrong = swapped.others - swapped.others_right
    control = Control(
        planted="rows given to each other's callers", found=f"{wrong} answers not right", caught=wrong > 0
    )
    say(f"control: {control.found}; {'caught' if control.caught else 'MISSED'}")
    failed = sum(count for outcome, count in outcomes.items() if outcome in (Outcome.FAILED.name, Outcome.REFUSED.name))
    return Poison(
        origin=origin(command),
        control=control,
        model=options.model,
        rounds=rounds,
        others=found.others,
        others_right=found.others_right,
        poisoned_failed=failed,
        outcomes=outcomes,
        rows_max=found.rows_max,
    )


def plant(options: Options, models_dir: Path) -> None:
    """Copy the model of the options to `models_dir`, with a word that its tokenizer knows and its graph does not."""
    store = options.models_dir / "store"
    version = current(store, options.model)
    source, copy = (bundle_dir(folder, options.model, version) for folder in (store, models_dir / "store"))
    shutil.copytree(source, copy)
    (copy.parent / "current").write_text(f"{version}\n")
    manifest = json.loads((copy / "manifest.json").read_text())
    entry = next(file for file in manifest["files"] if file["role"] == "tokenizer")
    tokenizer = Tokenizer.from_file(str(copy / entry["path"]))
    tokenizer.add_special_tokens([WORD])
    data = tokenizer.to_str().encode()
    (copy / entry["path"]).write_bytes(data)
    entry |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (copy / "manifest.json").write_text(json.dumps(manifest))


def volley(connections: Sequence[Connection], requests: Sequence[bytes]) -> list[Reply | None]:
    """Send all requests before any answer is read; the replies in their order, None for what never came whole."""
    replies: list[Reply | None] = [None] * len(requests)
    waiting = {}
    for index, (connection, request) in enumerate(zip(connections, requests, strict=True)):
        connection.asked = index
        if not connection.send(request):
            raise BrokenAnswerError("a request that fits no socket buffer")
        waiting[connection.fd] = connection
    end_s = time.perf_counter() + ANSWER_S
    while waiting and (left_s := end_s - time.perf_counter()) > 0:
        for fd in select.select(list(waiting), [], [], left_s)[0]:
            connection = waiting[fd]
            asked = connection.asked
            assert asked is not None
            try:
                reply = connection.receive()
            except (BrokenAnswerError, OSError):
                del waiting[fd]
                continue
            if reply is not None:
                replies[asked] = reply
                connection.asked = None
                del waiting[fd]
    return replies


def _rounds(service: Service, model: str, ceiling: Ceiling, rounds: int) -> Rounds:
    texts = draw(ceiling.tokens, 256, 20_000)
    short = [text for text in texts if text.tokens in TOKENS]
    long = [text.text for text in texts if text.tokens > PLUG_TOKENS][: PLUG_TEXTS * (cores() + 1)]
    vectors = ceiling.vectors([text.text for text in short])
    plug = ask(model, long, "native", "bytes")
    judge = Judge(vectors.shape[1], "native", "base64")
    connections = [Connection(HOST, service.port) for _ in range(BATCH + 1)]
    rng, found = Random(1), Rounds(poisoned=Counter())
    for _ in range(rounds):
        chosen = rng.sample(range(len(short)), BATCH)
        victim = rng.randrange(BATCH)
        asked = []
        for place, index in enumerate(chosen):
            text = short[index].text + (f" {WORD}" if place == victim else "")
            request = ask(model, [text], "native", "base64")
            asked.append(Question(request, 1, (short[index].tokens,), vectors[index : index + 1]))
        replies = volley(connections, [plug, *(question.request for question in asked)])
        _tally(found, judge, asked, replies[1:], victim)
    found.rows_max = _rows_max(service)
    for connection in connections:
        connection.close()
    return found


def _tally(
    found: Rounds, judge: Judge, asked: Sequence[Question], replies: Sequence[Reply | None], victim: int
) -> None:
    assert found.poisoned is not None
    for place, (question, reply) in enumerate(zip(asked, replies, strict=True)):
        outcome = judge.judge(question, reply)[0] if reply is not None else Outcome.LOST
        if place == victim:
            found.poisoned[outcome.name] += 1
        else:
            found.others += 1
            found.others_right += outcome is Outcome.RIGHT


def _rows_max(service: Service) -> int:
    """The upper bound of the fullest bucket of `encodery_batch_rows` that counted anything."""
    counts: dict[float, float] = {}
    for row in get(service.port, "/metrics")[1].splitlines():
        if row.startswith("encodery_batch_rows_bucket"):
            bound = float(row.split('le="')[1].split('"')[0])
            counts[bound] = counts.get(bound, 0.0) + float(row.rsplit(" ", 1)[1])
    last = max(counts.values(), default=0.0)
    return int(min((bound for bound, count in counts.items() if count == last), default=0))
