"""What does a person read when the service is up?"""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from app.bundle.manifest import ClassifyHead, EmbedHead
from app.bundle.open import open_bundle
from app.bundle.store import bundle_dir
from app.types import ModelStatus

EXAMPLE = {"embed": "the coffee was cold", "classify": "turn on the kitchen lights"}
LABELS_SHOWN = 4


def banner(store: Path, address: tuple[Any, ...], models: Sequence[ModelStatus]) -> str:
    """Address, models, and a line to paste for each endpoint that a model serves."""
    url = _url(address)
    lines, routes = [f"encodery serves on {url}   (docs {url}/docs, metrics {url}/metrics)", ""], []
    for model in models:
        heads = open_bundle(bundle_dir(store, model.key.name, model.key.version)).manifest.heads
        routes += [] if heads[0].task in routes else [heads[0].task]
        lines.append(f"  {model.key!s:<20} {model.device} {model.precision}   {_describe(heads[0])}")
    lines.append("")
    for route in routes:
        body = shlex.quote(orjson.dumps({"text": EXAMPLE[route]}).decode())
        lines.append(f"  curl {url}/{route} -H 'content-type: application/json' -d {body}")
    return "\n".join(lines) + "\n"


def _describe(head: EmbedHead | ClassifyHead) -> str:
    if isinstance(head, EmbedHead):
        return f"embed: {head.dimensions} dimensions"
    shown = ", ".join(head.labels[:LABELS_SHOWN]) + (", …" if len(head.labels) > LABELS_SHOWN else "")
    return f"classify: {len(head.labels)} labels ({shown})"


def _url(address: tuple[Any, ...]) -> str:
    host, port = address[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}"
