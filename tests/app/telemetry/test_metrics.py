import os
import signal
import subprocess
import sys
from pathlib import Path

from app.telemetry import metrics

CHILD = """
import os, signal
from app.telemetry import metrics
metrics.texts_total.labels("minilm").inc(3)
metrics.request_seconds.labels("/embed").observe(0.004)
metrics.engine_up.set(1)
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
READER = """
import sys
from app.telemetry import metrics
if len(sys.argv) > 1: metrics.forget(int(sys.argv[1]))
print(metrics.render()[0].decode())
"""


def run(folder: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {metrics.MULTIPROCESS_VARIABLE: str(folder)}
    return subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)


def test_counts_outlive_processes_that_were_killed(tmp_path: Path) -> None:
    children = [run(tmp_path, CHILD) for _ in range(2)]

    text = run(tmp_path, READER).stdout

    assert [child.returncode for child in children] == [-signal.SIGKILL] * 2
    assert 'encodery_texts_total{model="minilm"} 6.0' in text
    assert 'encodery_request_seconds_count{route="/embed"} 2.0' in text


def test_gauges_go_with_their_process_once_it_is_forgotten(tmp_path: Path) -> None:
    first, second = (run(tmp_path, CHILD).stdout.strip() for _ in range(2))

    assert "encodery_engine_up 2.0" in run(tmp_path, READER).stdout
    assert "encodery_engine_up 1.0" in run(tmp_path, READER, first).stdout
    assert "encodery_engine_up 0.0" in run(tmp_path, READER, second).stdout


def test_known_models_and_routes_have_series_before_the_first_request() -> None:
    metrics.initialise(["a-model"], ["/a-route"])

    text = metrics.render()[0].decode()

    assert 'encodery_texts_total{model="a-model"} 0.0' in text
    assert 'encodery_padded_tokens_total{model="a-model"} 0.0' in text
    assert 'encodery_request_seconds_count{route="/a-route"} 0.0' in text
    assert 'encodery_requests_total{code="200",model="a-model",route="/a-route"} 0.0' in text
    assert 'encodery_shed_total{reason="predicted_wait"}' in text
