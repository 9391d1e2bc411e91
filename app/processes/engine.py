"""The engine process: loads the models it is told to, proves them, and serves frames until it is told to stop.

    python -m app.processes.engine --lifeline FD --notify FD --socket PATH NAME@VERSION …

Disposable: it keeps no state that its supervisor could not give to the next one. Settings come from the environment.
"""

import asyncio
import gc
import logging
import signal
import sys
from pathlib import Path

import uvloop

from app.bundle.errors import BundleError
from app.bundle.store import bundle_dir
from app.engine.load import LoadedModel, load_model
from app.engine.local import LocalEngine
from app.engine.server import EngineServer, listen
from app.engine.session import Device, DeviceError, choose_device, cores, lanes_for
from app.processes import child
from app.settings import Settings, load_settings
from app.telemetry import metrics
from app.telemetry.logging import configure
from app.types import ModelKey

log = logging.getLogger(__name__)


def load_all(settings: Settings, keys: list[ModelKey]) -> tuple[list[LoadedModel], int]:
    """Every model of `keys` on the device of the settings, and the number of lanes to run them on.

    Raises:
        BundleError: a bundle broke a rule. DeviceError: the device asked for is not usable.
    """
    device = choose_device(settings.device)
    lanes = lanes_for(device, settings.lanes)
    models = [_load(settings.store, key, device, min(lanes, cores())) for key in keys]  # a spare lane adds no speed
    gc.collect()
    gc.freeze()  # what is loaded stays: later collections need not look at it
    return models, lanes


def announce(models: list[LoadedModel]) -> None:
    """Show what is loaded in the metrics."""
    for model in models:
        status = model.status
        metrics.model_info.labels(status.key.name, str(status.key.version), status.device, status.precision).set(1)
    metrics.engine_up.set(1)


def main() -> int:
    """Run until SIGTERM; 78 when a bundle or a setting is refused."""
    arguments = child.make_parser("app.processes.engine").parse_args()
    self = child.begin(arguments)
    settings = load_settings()
    configure(settings.log_format)
    try:
        models, lanes = load_all(settings, arguments.models)
    except (BundleError, DeviceError) as error:
        return self.refuse(str(error))
    uvloop.run(_serve(self, models, lanes, arguments.socket))
    return 0


def _load(store: Path, key: ModelKey, device: Device, lanes: int) -> LoadedModel:
    try:
        return load_model(bundle_dir(store, key.name, key.version), device, lanes=lanes)
    except BundleError as error:
        raise BundleError(error.rule, f"model {key} is refused: {error.reason}") from error


async def _serve(self: child.Child, models: list[LoadedModel], lanes: int, path: Path) -> None:
    engine = LocalEngine(models, lanes=lanes)
    engine.start()
    server = EngineServer(engine)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await server.start(listen(path))
    announce(models)
    self.ready()
    await stop.wait()
    await server.close()
    await engine.close()


if __name__ == "__main__":
    sys.exit(main())
