"""Where do the peers come from, and how is each started?

Each has a virtual environment of its own under build/peers (not in git), made on first use with pip and kept; what was
installed is in the result file. torch has the version that training uses, so that no peer is slower for an old one.
TORCH_INDEX names one more index, as for `make setup`.

What was needed beyond the packages' own instructions stands at each peer.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from benchmarks.judge import Dialect
from benchmarks.machine import ROOT

FOLDER = ROOT / "build" / "peers"
SERVERS = Path(__file__).parent / "servers"
TORCH = f"torch=={metadata.version('torch').split('+')[0]}"
ORT = f"onnxruntime=={metadata.version('onnxruntime')}"
OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "TOKENIZERS_PARALLELISM": "false"}
EXPORT_S = 300.0


class PeerError(Exception):
    """A peer could not be installed or started; one line for a person."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model in the forms that peers read."""

    name: str
    folder: Path  # as sentence-transformers saves it
    onnx: Path
    tokenizer: Path


@dataclass(frozen=True, slots=True)
class Peer:
    """One server that is not ours."""

    name: str
    environment: str
    requirements: Sequence[str]
    command: Sequence[str]  # {python}, {bin}, {port}, {model}, {name}, {onnx}, {tokenizer} and {exported} are filled in
    dialect: Dialect
    health: str
    versions_of: Sequence[str]
    cwd: str = str(SERVERS)
    environ: Mapping[str, str] = field(default_factory=dict)


INFINITY = ("v2", "--port", "{port}", "--host", "127.0.0.1", "--served-model-name", "{name}", "--url-prefix", "/v1")

PEERS = (
    Peer(
        name="Infinity, torch",
        environment="infinity",
        requirements=["infinity-emb[server,torch]", TORCH],
        command=["{bin}/infinity_emb", *INFINITY, "--model-id", "{model}", "--engine", "torch", "--device", "cpu"],
        dialect="openai",
        health="/v1/models",
        versions_of=["infinity-emb", "torch", "sentence-transformers", "transformers"],
    ),
    Peer(
        # Its file search and optimum-onnx 0.1.0 agree only when the model is the current folder; it reads no pooling
        # from the model and takes the CLS state unless told otherwise. The graph is exported by optimum itself.
        name="Infinity, ONNX (optimum)",
        environment="infinity-onnx",
        requirements=["infinity-emb[server,optimum]", TORCH],
        command=[
            "{bin}/infinity_emb",
            *INFINITY,
            *("--model-id", ".", "--engine", "optimum", "--device", "cpu", "--pooling-method", "mean"),
        ],
        dialect="openai",
        health="/v1/models",
        versions_of=["infinity-emb", "optimum", "optimum-onnx", "onnxruntime", "transformers"],
        cwd="{exported}",
    ),
    Peer(
        name="sentence-transformers behind FastAPI",
        environment="fastapi",
        requirements=["sentence-transformers", TORCH, "fastapi", "uvicorn", "uvloop", "httptools"],
        command=["{python}", "-m", "uvicorn", "fastapi_app:app", "--port", "{port}", "--log-level", "warning"],
        dialect="native",
        health="/health",
        versions_of=["sentence-transformers", "torch", "transformers", "fastapi", "uvicorn"],
        environ={"MODEL": "{model}"},
    ),
    Peer(
        name="LitServe with ONNX Runtime",
        environment="litserve",
        requirements=["litserve", ORT, "tokenizers", "numpy"],
        command=["{python}", "litserve_app.py", "{onnx}", "{tokenizer}", "{port}"],
        dialect="native",
        health="/health",
        versions_of=["litserve", "onnxruntime", "tokenizers", "fastapi", "uvicorn"],
    ),
)


def prepare(peer: Peer) -> Path:
    """The folder of the peer's environment, with everything installed.

    Raises:
        PeerError: pip could not; its last line.
    """
    folder = FOLDER / peer.environment
    marker = folder / ".installed"
    wanted = "\n".join(peer.requirements)
    if marker.exists() and marker.read_text() == wanted:
        return folder
    if not (folder / "bin" / "python").exists():
        _run([sys.executable, "-m", "venv", str(folder)])
    index = os.environ.get("TORCH_INDEX")
    extra = ["--extra-index-url", index] if index else []
    _run([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-input", *extra, *peer.requirements])
    marker.write_text(wanted)
    return folder


def exported(peer: Peer, model: Model) -> Path:
    """The folder of the model as optimum exports it, made with the tool of the peer's own environment.

    Raises:
        PeerError: the export failed; its last line.
    """
    folder = FOLDER / "exported" / model.name
    if not (folder / "model.onnx").exists():
        partial = folder.with_name(f"{model.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        python = str(prepare(peer) / "bin" / "python")
        task = ["--task", "feature-extraction", "--library", "transformers"]
        _run([python, "-m", "optimum.exporters.onnx", "--model", str(model.folder), *task, str(partial)])
        partial.rename(folder)
    return folder


def fill(peer: Peer, model: Model, port: int) -> tuple[list[str], Path, dict[str, str]]:
    """The peer's command, working folder and environment.

    Raises:
        PeerError: it could not be installed.
    """
    home = prepare(peer)
    values = {
        "bin": str(home / "bin"),
        "python": str(home / "bin" / "python"),
        "port": str(port),
        "model": str(model.folder),
        "name": model.name,
        "onnx": str(model.onnx),
        "tokenizer": str(model.tokenizer),
        "exported": str(exported(peer, model)) if "{exported}" in peer.cwd else "",
    }
    environ = os.environ | OFFLINE | {name: value.format(**values) for name, value in peer.environ.items()}
    return [part.format(**values) for part in peer.command], Path(peer.cwd.format(**values)), environ


def versions(peer: Peer) -> dict[str, str]:
    """What is installed for the peer, by distribution."""
    code = "import sys, importlib.metadata as m; print(*(f'{n} {m.version(n)}' for n in sys.argv[1:]), sep='\\n')"
    lines = _run([str(prepare(peer) / "bin" / "python"), "-c", code, *peer.versions_of]).splitlines()
    return dict(line.split(" ", 1) for line in lines)


def _run(command: Sequence[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | OFFLINE)
    if done.returncode != 0:
        lines = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()
        raise PeerError(f"{' '.join(command[:4])} … failed: {lines[-1]}")
    return done.stdout
