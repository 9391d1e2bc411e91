"""A front-end process: one uvicorn that parses, tokenises and renders, and asks the engine for the rest.

    python -m app.processes.frontend --lifeline FD --notify FD --listen FD --socket PATH NAME@VERSION …

The listening socket is the supervisor's and shared by all front ends. SIGTERM lets requests in the house end.
"""

import argparse
import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from app.bundle.errors import BundleError
from app.engine.client import RemoteEngine
from app.engine.load import LoadedModel
from app.engine.local import LocalEngine
from app.engine.session import DeviceError
from app.main import create_app
from app.processes import child
from app.processes.banner import banner
from app.processes.engine import announce, load_all
from app.processes.process import StartError
from app.serving.catalog import Catalog
from app.settings import Settings, load_settings
from app.telemetry.logging import configure
from app.types import ModelKey

KEEP_ALIVE_S = 65  # longer than the 60 s that load balancers keep idle connections, so that they close first
BACKLOG = 2048


def uvicorn_config(app: FastAPI, settings: Settings) -> uvicorn.Config:
    """How every kind of start runs uvicorn; the access log is ours (app/telemetry/logging.py)."""
    return uvicorn.Config(
        app,
        http="httptools",
        ws="none",
        access_log=False,
        log_level="warning",
        log_config=None,
        server_header=False,
        date_header=True,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.timeout_ms // 1000 + 1,
        backlog=BACKLOG,
    )


def main() -> int:
    """Run until SIGTERM."""
    parser = argparse.ArgumentParser(prog="app.processes.frontend")
    child.add_arguments(parser)
    parser.add_argument("--listen", type=int, required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("models", nargs="+", metavar="NAME@VERSION")
    arguments = parser.parse_args()
    self = child.from_arguments(arguments)
    self.watch_supervisor()
    settings = load_settings()
    configure(settings.log_format)
    keys = [ModelKey(name, int(version)) for name, version in (model.rsplit("@", 1) for model in arguments.models)]
    catalog = Catalog.open(settings.store, keys)
    asyncio.run(_serve(self, settings, catalog, arguments.socket, socket.socket(fileno=arguments.listen)))
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
    catalog = Catalog.open(settings.store, keys)
    asyncio.run(_serve_alone(settings, models, lanes, catalog, listener))


async def _serve_alone(
    settings: Settings, models: list[LoadedModel], lanes: int, catalog: Catalog, listener: socket.socket
) -> None:
    engine = LocalEngine(models, lanes=lanes)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        print(banner(settings.store, listener.getsockname(), engine.status().models), flush=True)
        yield
        await engine.close()

    app = create_app(settings, engine, catalog, lifespan=lifespan)
    await uvicorn.Server(uvicorn_config(app, settings)).serve(sockets=[listener])


async def _serve(self: child.Child, settings: Settings, catalog: Catalog, path: Path, listener: socket.socket) -> None:
    engine = RemoteEngine(path)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        engine.start()
        await engine.connected()
        self.ready()
        yield
        await engine.close()

    app = create_app(settings, engine, catalog, lifespan=lifespan)
    await uvicorn.Server(uvicorn_config(app, settings)).serve(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
