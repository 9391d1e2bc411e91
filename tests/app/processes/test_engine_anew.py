"""A plan that takes the GPU with it while it is tried: the engine has to come up without it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.e2e.service import TINY_MODELS

ROOT = Path(__file__).parents[3]

PLANTED = """
import sys
from pathlib import Path
from app.engine.cuda_errors import DeviceLostError
from app.processes import engine

marker, real = Path(sys.argv.pop(1)), engine.load_all

def load_all(*given, **named):
    if not marker.exists():
        marker.touch()
        raise DeviceLostError("planted: an illegal access")
    return real(*given, **named)

engine.load_all = load_all
sys.exit(engine.main())
"""


def test_an_engine_that_loses_its_device_while_loading_begins_anew_and_serves(tmp_path: Path) -> None:
    script, marker, runtime = tmp_path / "planted.py", tmp_path / "lost", tmp_path / "runtime"
    script.write_text(PLANTED)
    runtime.mkdir()  # of its own: an engine whose supervisor is gone removes it
    lifeline, held = os.pipe()
    told, notify = os.pipe()
    environ = {"ENCODERY_MODELS_DIR": str(TINY_MODELS), "PROMETHEUS_MULTIPROC_DIR": str(runtime)}
    environ["PYTHONPATH"] = str(ROOT)  # a script finds what lies beside it, and what is installed
    arguments = ["--lifeline", str(lifeline), "--notify", str(notify), "--runtime", str(runtime)]
    engine = subprocess.Popen(
        [sys.executable, str(script), str(marker), *arguments, "--engines", "1", "--number", "0", "tiny-encoder@1"],
        env=os.environ | environ,
        pass_fds=(lifeline, notify),
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(notify)
    os.close(lifeline)

    said = os.read(told, 100)
    os.close(held)  # its supervisor is gone: it ends
    _, errors = engine.communicate(timeout=30)
    os.close(told)

    assert said == b"ready\n", errors
    assert marker.exists()
    assert "begins anew" in errors
