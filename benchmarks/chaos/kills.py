"""Is any request lost or answered wrong when the engine is killed under load, and how soon is it back?

`kill -9` of the engine at half of what the service can do, again and again, each time once the backlog of the last one
is gone. /ready is asked all the while. Control: the front end is killed instead, whose connections cannot survive it.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random

from benchmarks.chaos.common import Options, Pool, opened, pool_of, serving, unanswered
from benchmarks.generator import Running, run
from benchmarks.machine import origin
from benchmarks.phases import Say, line
from benchmarks.processes import below, command
from benchmarks.schema import Control, Kill, Kills, LoadFigures
from benchmarks.server import Service

LOAD_SHARE = 0.5
PAUSE_S = (4.5, 7.5)  # between ready and the next kill: a backlog of 2 s at half load is gone after 4 s
BACK_S = 60.0  # an engine that is not back by then is not counted as coming
LOOK_S = 0.05
PEAK_S = 4.0
CONTROL_CLIENTS = 32  # a closed loop: so many are always in the house

Seen = tuple[float, bool]  # when /ready was asked, and what it said


def measure(options: Options, kills: int, arguments: Sequence[str], say: Say) -> Kills:
    """So many kills, and the control.

    Raises:
        BundleError, DeviceError, ServiceError, LoadError, ValueError: with the reason.
    """
    model, ceiling = opened(options)
    with pool_of(model, ceiling) as pool:
        with serving(options) as service:
            rate = LOAD_SHARE * pool.peak(service, PEAK_S)
            before = service.snapshot()
            load, seen = _under_load(service, pool, rate, kills, say)
            counted = service.snapshot().codes.get("200", 0) - before.codes.get("200", 0)
        control = _control(options, pool, rate)
    say(f"{kills} kills at {rate:.0f}/s: {line(load)}")
    say(f"control: {control.found}; {'caught' if control.caught else 'MISSED'}")
    return Kills(
        origin=origin(arguments),
        control=control,
        model=options.model,
        rate_per_s=round(rate, 2),
        kills=seen,
        load=load,
        counts_agree=counted == load.answered + load.wrong,
    )


def _under_load(service: Service, pool: Pool, rate: float, kills: int, say: Say) -> tuple[LoadFigures, list[Kill]]:
    seconds = min(500.0, kills * (BACK_S / 4 + PAUSE_S[1]))  # more than it takes: it is told to stop
    rng, found = Random(1), []
    running = Running(pool.open(service, rate, seconds))
    started_s = time.perf_counter()
    try:
        with watching(service) as seen:
            for number in range(kills):
                time.sleep(rng.uniform(*PAUSE_S))
                kill = _kill(service, seen, started_s)
                say(f"kill {number + 1}: not ready after {kill.unready_s} s, ready again after {kill.ready_s} s")
                found.append(kill)
            time.sleep(PAUSE_S[0])
        running.stop()
        return running.result(), found
    except BaseException:
        running.kill()
        raise


@contextmanager
def watching(service: Service) -> Iterator[list[Seen]]:
    """Ask /ready all the while; the list grows."""
    seen: list[Seen] = []
    enough = threading.Event()

    def look() -> None:
        while not enough.wait(LOOK_S):
            asked_s = time.perf_counter()
            seen.append((asked_s, service.is_ready()))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        enough.set()
        thread.join()


def _kill(service: Service, seen: list[Seen], started_s: float) -> Kill:
    (engine,) = service.engines()
    at_s = time.perf_counter()
    os.kill(engine, signal.SIGKILL)
    while True:
        unready_s, ready_s = changes(seen, at_s)
        if ready_s is not None or time.perf_counter() - at_s > BACK_S:
            return Kill(at_s=round(at_s - started_s, 2), unready_s=unready_s, ready_s=ready_s)
        time.sleep(LOOK_S)


def changes(seen: Sequence[Seen], since_s: float) -> tuple[float | None, float | None]:
    """Seconds from `since_s` until /ready said no, and until it then said yes again; None: not yet."""
    unready_s: float | None = None
    for asked_s, is_ready in list(seen):
        if asked_s < since_s:
            continue
        if not is_ready and unready_s is None:
            unready_s = round(asked_s - since_s, 2)
        if is_ready and unready_s is not None:
            return unready_s, round(asked_s - since_s, 2)
    return unready_s, None


def _control(options: Options, pool: Pool, rate: float) -> Control:
    with serving(options) as service:
        run(pool.job(service, 100, mode="closed", clients=8))
        running = Running(pool.job(service, int(12 * rate), mode="closed", clients=CONTROL_CLIENTS))
        time.sleep(2.0)
        front_end = next(pid for pid in below(service.pid) if any("frontend" in part for part in command(pid)[1:3]))
        os.kill(front_end, signal.SIGKILL)
        load = running.result()
    lost = unanswered(load)
    return Control(planted="kill -9 of the front end", found=f"{lost} requests not answered right", caught=lost > 0)
