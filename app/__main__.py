"""The service's command line: `serve` and `verify`.

python -m app serve [--host H] [--port P] [--workers N] …    the commonest ENCODERY_ variables as flags
python -m app verify BUNDLE_FOLDER                           every rule of the format, and the golden run
"""

import signal

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # What follows takes some tenths of a second to import: Ctrl-C ends that as SIGTERM does, without a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import errno
import os
import socket
import sys
from pathlib import Path

from app.bundle.errors import BundleError
from app.bundle.store import current, names
from app.processes import descriptors, streams
from app.processes.process import StartError
from app.settings import Settings, SettingsError, load_settings
from app.types import ModelKey

BACKLOG = 2048
FLAGS = ("host", "port", "workers", "device", "models_dir", "log_format")


def main(argv: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 refused or failed with one line on standard error."""
    streams.open_missing()
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "verify":
            return _verify(arguments.bundle)
        for name in FLAGS:  # a flag is another way to say a variable; child processes inherit it either way
            if (value := getattr(arguments, name)) is not None:
                os.environ[f"ENCODERY_{name.upper()}"] = value
        return _serve(load_settings())
    except (SettingsError, StartError, BundleError) as error:
        print(f"encodery: {error}", file=sys.stderr)
        return 1


def plan(settings: Settings) -> list[ModelKey]:
    """What to serve: the current version of every model in the store.

    Raises:
        StartError: there is none, or the store cannot be read. BundleError: a `current` file is broken.
    """
    try:
        keys = [ModelKey(name, current(settings.store, name)) for name in names(settings.store)]
    except OSError as error:
        message = f"{settings.store} cannot be read ({error.strerror}); set ENCODERY_MODELS_DIR to a folder that can"
        raise StartError(message) from error
    if not keys:
        raise StartError(
            f"no bundles in {settings.store}; `python -m training build models/recipes` makes the default ones"
        )
    return keys


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        StartError: the port is taken, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise StartError(f"port {port} on {host} is in use; set ENCODERY_PORT to another, or 0 for any") from error
        raise StartError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    listener.listen(BACKLOG)
    return listener


def _serve(settings: Settings) -> int:
    descriptors.raise_limit()
    keys = plan(settings)
    listener = bind(settings.host, settings.port)
    if settings.workers == 0:
        from app.processes.frontend import serve_alone

        serve_alone(settings, keys, listener)
    else:
        from app.processes import supervisor

        supervisor.run(settings, keys, listener)
    return 0


def _verify(folder: Path) -> int:
    from app.bundle.verify import verify
    from app.engine.load import replay_plans
    from app.engine.session import DeviceError, choose_device

    manifest = verify(folder.resolve()).manifest
    try:
        plans = list(replay_plans(folder.resolve(), choose_device("auto")))
    except DeviceError as error:
        raise StartError(str(error)) from error
    for name, result in plans:
        print(f"{manifest.name}@{manifest.version}: {name}: {result}")
    print(f"{manifest.name}@{manifest.version}: every file, the graph and {manifest.golden.rows} golden rows agree")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="Serve encoder bundles over HTTP.")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="start the service")
    for name in FLAGS:
        flag, variable = f"--{name.replace('_', '-')}", f"ENCODERY_{name.upper()}"
        serve.add_argument(flag, metavar=name.upper(), help=f"the same as {variable}")
    verify = commands.add_parser("verify", help="check a bundle and replay its golden inputs here")
    verify.add_argument("bundle", type=Path)
    return parser


if __name__ == "__main__":
    sys.exit(main())
