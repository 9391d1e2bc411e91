"""Is every request answered whose body had arrived before the service was told to stop?

SIGTERM to the supervisor, each time of a fresh service with 64 clients in a closed loop: so many requests are in the
house at the signal. The client's ledger knows when the last byte of each request was written: over loopback it is in
the service's socket by then. What was sent before the signal and has no right answer counts against the service; what
was sent later may find the door closed.
Control: SIGKILL of the supervisor, which nobody can drain from.
"""

import os
import signal
import time
from collections.abc import Sequence
from random import Random

import numpy as np

from benchmarks.chaos.common import Options, Pool, opened, pool_of, serving
from benchmarks.generator import Running, run
from benchmarks.ledger import Ledger, Outcome
from benchmarks.machine import origin
from benchmarks.phases import Say
from benchmarks.schema import Control, Term, Terms
from benchmarks.server import Service

CLIENTS = 64
BEFORE_S = (1.0, 2.0)
AFTER_S = 10.0  # texts to ask for so long, if anybody answered
END_S = 45.0
WARM_REQUESTS = 300


def measure(options: Options, terms: int, command: Sequence[str], say: Say) -> Terms:
    """So many stops, and the control.

    Raises:
        BundleError, DeviceError, ServiceError, LoadError, ValueError: with the reason.
    """
    model, ceiling = opened(options)
    rng, found = Random(1), []
    with pool_of(model, ceiling) as pool:
        for number in range(terms):
            with serving(options) as service:
                found.append(_stop(service, pool, rng.uniform(*BEFORE_S), signal.SIGTERM))
            say(f"SIGTERM {number + 1}: {found[-1].model_dump_json()}")
        with serving(options) as service:
            cut = _stop(service, pool, BEFORE_S[1], signal.SIGKILL)
    control = Control(
        planted="SIGKILL of the supervisor",
        found=f"{cut.unanswered} of {cut.sent_before} requests in the house not answered right",
        caught=cut.unanswered > 0,
    )
    say(f"control: {control.found}; {'caught' if control.caught else 'MISSED'}")
    return Terms(origin=origin(command), control=control, model=options.model, clients=CLIENTS, terms=found)


def _stop(service: Service, pool: Pool, after_s: float, signum: signal.Signals) -> Term:
    rate = run(pool.job(service, WARM_REQUESTS, mode="closed", clients=CLIENTS)).requests_per_s
    requests = int(2 * rate * (after_s + AFTER_S))
    running = Running(pool.job(service, requests, mode="closed", clients=CLIENTS, ledger=pool.ledger))
    try:
        time.sleep(after_s)
        at_s = time.perf_counter()
        os.kill(service.pid, signum)
        code = service.process.wait(END_S)
        exit_s = time.perf_counter() - at_s
        running.stop()
        running.result()
    except BaseException:
        running.kill()
        raise
    return term(Ledger.load(pool.ledger), at_s, code, exit_s)


def term(ledger: Ledger, at_s: float, exit_code: int, exit_s: float) -> Term:
    """What the ledger says about the requests that were in the house at `at_s`."""
    sent_before = ledger.sent_s < at_s  # never sent is nan, and nan is not less
    is_right = ledger.outcome == Outcome.RIGHT
    in_house = sent_before & ~(is_right & (ledger.done_s < at_s))
    return Term(
        sent_before=int(np.count_nonzero(in_house)),
        unanswered=int(np.count_nonzero(in_house & ~is_right)),
        wrong=ledger.count(Outcome.WRONG),
        exit_code=exit_code,
        exit_s=round(exit_s, 2),
    )
