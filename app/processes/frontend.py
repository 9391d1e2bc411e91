"""A front-end process: one uvicorn that parses, tokenises and renders, and asks the engine for the rest.

    python -m app.processes.frontend --lifeline FD --notify FD --listen FD --runtime DIR --engines N --number I \
        NAME@VERSION …

The listening socket is the supervisor's and shared by all front ends. SIGTERM lets requests in the house end.
"""

import asyncio
import faulthandler
import gc
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from fastapi import FastAPI

from app.bundle.errors import BundleError
from app.engine.client import RemoteEngine
from app.engine.load import LoadedModel
from app.engine.local import LocalEngine
from app.engine.session import DeviceError
from app.main import create_app
from app.processes import child, refusals
from app.processes.banner import banner
from app.processes.engine import announce, end_with_thread, load_all
from app.processes.process import StartError
from app.processes.server import make_server
from app.processes.signals import stop_signals
from app.processes.streams import say
from app.serving.board import SharedBoard
from app.serving.catalog import Catalog
from app.settings import Settings, load_settings
from app.telemetry.logging import configure
from app.types import ModelKey

PULSE_S = 1.0  # the supervisor ends a front end that has been silent for ten (app/processes/watch.py)


def main() -> int:
    """Run until SIGTERM; 78 when a bundle is refused."""
    parser = child.make_parser("app.processes.frontend")
    parser.add_argument("--listen", type=int, required=True, help="the listening socket")
    arguments = parser.parse_args()
    self = child.begin(arguments)
    settings = load_settings()
    configure(settings.log_format)
    # The tokenizer's own threads would take the cores from the engine to split what is a millisecond of work.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        catalog = Catalog.open(settings.store, arguments.models)
    except BundleError as error:
        return self.refuse(str(error))
    engine = RemoteEngine([child.engine_socket(arguments.runtime, number) for number in range(arguments.engines)])
    board = SharedBoard(child.board_file(arguments.runtime), arguments.number, settings.workers)
    app = create_app(settings, engine, catalog, board=board, lifespan=lambda _: _connected(self, engine, board))
    faulthandler.enable()  # a supervisor that finds this process hanging asks for its stacks with SIGABRT
    gc.collect()
    gc.freeze()  # what is loaded stays: later collections, a tenth of the time of a request, need not look at it
    uvloop.run(make_server(app, settings).serve(sockets=[socket.socket(fileno=arguments.listen)]))
    return 0


def serve_alone(settings: Settings, keys: list[ModelKey], listener: socket.socket) -> None:
    """Everything in this one process: `--workers 0`, for development.

    Raises:
        StartError: a bundle or the device is refused.
    """
    configure(settings.log_format)
    try:
        models, lanes = load_all(settings, keys)
    except (BundleError, DeviceError) as error:
        raise StartError(str(error)) from error
    announce(models)
    threading.excepthook = end_with_thread
    catalog = Catalog.open(settings.store, keys)
    uvloop.run(_serve_alone(settings, models, lanes, catalog, listener))


async def _serve_alone(
    settings: Settings, models: list[LoadedModel], lanes: int, catalog: Catalog, listener: socket.socket
) -> None:
    engine = LocalEngine(models, lanes=lanes, cache_bytes=settings.cache_bytes)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        say(banner(settings.store, listener.getsockname(), engine.status().models))
        yield
        await engine.close()

    app = create_app(settings, engine, catalog, lifespan=lifespan)
    server = make_server(app, settings)
    if signal.SIGHUP in stop_signals():
        signal.signal(signal.SIGHUP, server.handle_exit)  # as uvicorn sees to the others
    await server.serve(sockets=[listener])


@asynccontextmanager
async def _connected(self: child.Child, engine: RemoteEngine, board: SharedBoard) -> AsyncIterator[None]:
    """Serve while this lasts: from an engine's first word to the end of the last request."""
    engine.start()
    await engine.connected()
    pulse = asyncio.create_task(_keep_pulse(self.runtime, engine, board))
    self.ready()
    yield
    pulse.cancel()
    await engine.close()


async def _keep_pulse(runtime: Path, engine: RemoteEngine, board: SharedBoard) -> None:
    """Show the supervisor that this event loop turns, and learn what it knows of engines that do not come up."""
    while True:
        board.beat(time.monotonic())
        engine.refused(refusals.read(runtime))
        await asyncio.sleep(PULSE_S)


if __name__ == "__main__":
    sys.exit(main())
