"""How many engines are there, and which device has each?

One process a GPU, so that a sticky CUDA error takes one device out and not all. A process sees its own GPU alone,
through CUDA_VISIBLE_DEVICES, and so has no number to get wrong. Nothing here loads a runtime: the supervisor stays
small.
"""

from collections.abc import Mapping
from pathlib import Path

from app.settings import Settings

VISIBLE = "CUDA_VISIBLE_DEVICES"


def engine_environments(
    settings: Settings, environ: Mapping[str, str], devices: Path = Path("/dev")
) -> list[Mapping[str, str]]:
    """The environment of each engine process."""
    gpus = [] if settings.device == "cpu" else visible_gpus(environ, devices)
    count = settings.engines or max(1, len(gpus))
    if not gpus:
        return [environ] * count
    return [{**environ, VISIBLE: gpus[number % len(gpus)]} for number in range(count)]


def visible_gpus(environ: Mapping[str, str], devices: Path) -> list[str]:
    """The names by which CUDA knows the GPUs of this machine that this service may use."""
    if VISIBLE in environ:
        return [name for name in environ[VISIBLE].split(",") if name]
    numbers = [node.name.removeprefix("nvidia") for node in devices.glob("nvidia[0-9]*")]
    return sorted((number for number in numbers if number.isdecimal()), key=int)
