"""The engine process: loads the models it is told to, proves them, and serves frames until it is told to stop.

    python -m app.processes.engine --lifeline FD --notify FD --runtime DIR --engines N --number I NAME@VERSION …

Disposable: it keeps no state that its supervisor could not give to the next one. Settings come from the environment.
"""

import argparse
import faulthandler
import gc
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from app.bundle.errors import BundleError
from app.bundle.store import bundle_dir
from app.engine.attempts import Attempts, open_attempts
from app.engine.core import Core
from app.engine.cores import cores
from app.engine.cuda_errors import DeviceLostError
from app.engine.load import LoadedModel, keep_cost, load_model
from app.engine.server import BEAT_S, EngineServer, listen
from app.engine.session import Device, DeviceError, choose_device, lanes_for
from app.processes import child
from app.settings import Settings, load_settings
from app.telemetry import metrics
from app.telemetry.logging import configure
from app.types import ModelKey

log = logging.getLogger(__name__)

Change = Callable[[LoadedModel], LoadedModel]

BROKEN_EXIT = 70  # EX_SOFTWARE of sysexits.h
DRAIN_S = 8.0  # for what is in the house when told to stop; the supervisor waits a little longer


def load_all(
    settings: Settings, keys: list[ModelKey], *, share: int = 1, number: int = 0, runtime: Path | None = None
) -> tuple[list[LoadedModel], int]:
    """Every model of `keys` on the device of the settings, and the number of lanes to run them on.

    Args:
        share: how many engines there are: on a CPU, each counts on its part of the cores.
        number: which of them this is.
        runtime: a folder that lasts as long as the service, for what cannot be kept longer.

    Raises:
        BundleError: a bundle broke a rule. DeviceError: the device asked for is not usable.
    """
    device = choose_device(settings.device)
    lanes = lanes_for(device, settings.lanes, share=share)
    fast_lanes = min(lanes, cores(share=share))  # a spare lane adds no speed
    folders = [settings.plans, *([runtime] if runtime is not None else [])]
    models = [
        _load(settings, key, device, fast_lanes, open_attempts(folders, key, number) if device == "cuda" else None)
        for key in keys
    ]
    gc.collect()
    gc.freeze()  # what is loaded stays: later collections need not look at it
    return models, lanes


def announce(models: list[LoadedModel]) -> None:
    """Show what is loaded in the metrics."""
    for model in models:
        status = model.status
        metrics.model_info.labels(status.key.name, str(status.key.version), status.device, status.precision).set(1)
    metrics.engine_up.set(1)


def main(change: Change | None = None) -> int:
    """Run until SIGTERM; 78 when a bundle or a setting is refused. Begins anew when a plan takes the GPU with it.

    `change` is applied to each model that was loaded: benchmarks plant prices and faults with it.
    """
    arguments = child.make_parser("app.processes.engine").parse_args()
    self = child.begin(arguments)
    settings = load_settings()
    configure(settings.log_format)
    try:
        models, lanes = load_all(
            settings,
            arguments.models,
            share=arguments.engines,
            number=arguments.number,
            runtime=arguments.runtime,
        )
    except (BundleError, DeviceError) as error:
        return self.refuse(str(error))
    except DeviceLostError as error:
        # Nothing in this process reaches the GPU any more. The same one begins anew, with its pipes, and leaves out a
        # plan that it died of twice: so there are no more than two new beginnings for each plan.
        log.warning("%s; the engine begins anew, without a plan that this happened to twice", error)
        logging.shutdown()
        os.execv(sys.executable, sys.orig_argv)
    if change is not None:
        models = [change(model) for model in models]
    faulthandler.enable()  # a supervisor that finds this process hanging asks for its stacks with SIGABRT
    threading.excepthook = end_with_thread
    _serve(self, arguments, settings, models, lanes)
    return 0


def end_with_thread(failure: threading.ExceptHookArgs) -> None:
    """A lane or a reader that dies of an error of ours, or of a device that is lost, leaves an engine that is no whole
    one: it ends here, and the supervisor starts another, which runs again what this one held.
    """
    name = failure.thread.name if failure.thread is not None else "a thread"
    log.critical("%s died; the engine ends", name, exc_info=failure.exc_value)
    logging.shutdown()
    os._exit(BROKEN_EXIT)


def _load(settings: Settings, key: ModelKey, device: Device, lanes: int, attempts: Attempts | None) -> LoadedModel:
    folder = bundle_dir(settings.store, key.name, key.version)
    try:
        return load_model(folder, device, lanes=lanes, setting=settings.plan, keep_in=settings.plans, attempts=attempts)
    except BundleError as error:
        raise BundleError(error.rule, f"model {key} is refused: {error.reason}") from error


def _serve(
    self: child.Child, arguments: argparse.Namespace, settings: Settings, models: list[LoadedModel], lanes: int
) -> None:
    told_to_stop, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)  # a handler runs between two bytecodes, where a lock may be held; a byte in a pipe waits
    signal.signal(signal.SIGTERM, lambda *_: None)
    server = EngineServer(listen(child.engine_socket(arguments.runtime, arguments.number)))
    core = Core(
        models,
        lanes=lanes,
        share=arguments.engines,
        deliver=server.deliver,
        cache_bytes=settings.cache_bytes,
    )
    core.start()
    server.start(core)
    announce(models)
    self.ready()
    while not select.select([told_to_stop], [], [], BEAT_S)[0]:
        core.tick()
        server.beat()
    server.close(DRAIN_S)
    core.close()
    for model, status in zip(models, core.status().models, strict=True):
        keep_cost(model, status.cost)


if __name__ == "__main__":
    sys.exit(main())
