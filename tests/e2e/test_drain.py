"""SIGTERM in the middle of load, real processes: a ledger of what was sent when, and what was answered."""

import http.client
import json
import threading
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from tests.e2e.service import Service, running

pytestmark = pytest.mark.slow

CALLERS = 24


@dataclass(slots=True)
class Entry:
    """One request: when its last byte had left, and the status of its answer (0: none)."""

    sent_s: float
    status: int = 0


def ask_on(service: Service, ledger: list[Entry], stop: threading.Event, number: int) -> None:
    """Ask again and again, on kept-alive connections; go on with a new one where the service closes the old."""
    address = urlsplit(service.url)
    while not stop.is_set():
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=20)
        try:
            connection.connect()
            while not stop.is_set():
                body = json.dumps({"text": f"caller {number}, request {len(ledger)}"})
                connection.request("POST", "/embed", body, {"content-type": "application/json"})
                entry = Entry(time.monotonic())
                ledger.append(entry)
                answer = connection.getresponse()
                answer.read()
                entry.status = answer.status
                if answer.will_close:
                    break
        except (OSError, http.client.HTTPException):  # refused or reset: the ledger shows whether it should have been
            continue
        finally:
            connection.close()


@pytest.mark.parametrize("workers", ["0", "1", "2"])
def test_every_request_sent_before_the_signal_is_answered(workers: str) -> None:
    ledgers: list[list[Entry]] = [[] for _ in range(CALLERS)]
    stop = threading.Event()
    with running(workers=workers) as service:
        # Nobody reads its log: a pipe that is full must not stop it either.
        callers = [
            threading.Thread(target=ask_on, args=(service, ledger, stop, number))
            for number, ledger in enumerate(ledgers)
        ]
        for caller in callers:
            caller.start()
        while min(map(len, ledgers)) < 20:
            time.sleep(0)
        signal_s = time.monotonic()
        service.process.terminate()
        code = service.process.wait(40)
        stop.set()
        for thread in callers:
            thread.join()

    before = [entry for ledger in ledgers for entry in ledger if entry.sent_s < signal_s]
    assert code == 0
    assert len(before) >= 20 * CALLERS  # more lines than a pipe holds
    assert {entry.status for entry in before} == {200}
