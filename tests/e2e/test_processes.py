"""The service as a person runs it: real processes, a real socket, and deaths."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.service import ROOT, TINY_MODELS, Service, copied_models, free_port, running

pytestmark = pytest.mark.slow
TEXTS = [f"turn on the {room} light number {n}" for room in ("kitchen", "hall", "garden") for n in range(40)]


def embed(service: Service, texts: list[str]) -> list[list[float]]:
    answer = service.post("/embed", {"texts": texts})
    assert answer.status_code == 200, answer.text
    return answer.json()["embeddings"]  # type: ignore[no-any-return]  # JSON


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z":
        assert time.monotonic() < deadline, f"process {pid} is still there"
        os.sched_yield()


def test_both_endpoints_answer_and_the_banner_shows_how() -> None:
    with running() as service:
        assert len(embed(service, ["hello"])[0]) == 32
        assert service.post("/classify", {"text": "turn on the light"}).status_code == 200
        assert service.get("/ready").status_code == 200
        for line in (service.url, "tiny-encoder@1", "32 dimensions", "cpu fp32", "curl"):
            assert line in service.banner


def test_every_request_accepted_before_the_engine_is_killed_is_answered_right() -> None:
    with running() as service:
        expected = embed(service, TEXTS)
        engine = service.children("app.processes.engine")[0]
        started = threading.Barrier(9)

        def ask(part: int) -> list[list[list[float]]]:
            started.wait()
            return [embed(service, TEXTS) for _ in range(6)]

        with ThreadPoolExecutor(8) as pool:
            asked = [pool.submit(ask, part) for part in range(8)]
            started.wait()
            os.kill(engine, signal.SIGKILL)
            answers = [answer for future in asked for answer in future.result()]

        assert len(answers) == 48
        for answer in answers:
            worst = max(abs(a - b) for x, y in zip(answer, expected, strict=True) for a, b in zip(x, y, strict=True))
            assert worst <= 1e-5
        assert service.children("app.processes.engine") != [engine]
        assert service.metric("encodery_engine_restarts_total") == 1


def test_counters_survive_the_death_of_any_child() -> None:
    with running() as service:
        for _ in range(5):
            embed(service, TEXTS[:3])
        requests, tokens = service.metric("encodery_texts_total"), service.metric("encodery_tokens_total")
        for module in ("app.processes.engine", "app.processes.frontend"):
            os.kill(service.children(module)[0], signal.SIGKILL)
            embed_when_back(service)

        assert requests == 15
        assert service.metric("encodery_texts_total") >= requests + 2
        assert service.metric("encodery_tokens_total") > tokens


def embed_when_back(service: Service) -> None:
    """Ask until a front end answers: connections of the one that was killed break."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            embed(service, ["back"])
        except httpx.TransportError:
            continue
        return
    raise AssertionError("no front end came back")


def test_a_front_end_that_is_started_again_serves_what_the_service_began_with(tmp_path: Path) -> None:
    models_dir = copied_models(tmp_path)
    with running(models_dir) as service:
        (models_dir / "store" / "tiny-encoder" / "current").unlink()
        (models_dir / "store" / "tiny-classifier" / "current").write_text("7")
        front_end = service.children("app.processes.frontend")[0]
        os.kill(front_end, signal.SIGKILL)

        embed_when_back(service)
        assert service.children("app.processes.frontend") != [front_end]


def test_an_engine_that_can_no_longer_start_ends_the_service_with_its_reason(tmp_path: Path) -> None:
    models_dir = copied_models(tmp_path)
    with running(models_dir) as service, ThreadPoolExecutor(1) as pool:
        os.truncate(models_dir / "store" / "tiny-encoder" / "1" / "model.fp32.onnx", 10)
        os.kill(service.children("app.processes.engine")[0], signal.SIGKILL)
        killed_s = time.monotonic()
        answer = pool.submit(service.post, "/embed", {"text": "held"}).result()
        output, _ = service.process.communicate(timeout=30)

        assert answer.status_code == 503
        assert "the engine does not start: [B05-bytes]" in answer.json()["error"]["message"]
        assert service.process.returncode == 1
        assert output.splitlines()[-1].startswith("encodery: the engine process refuses to start: [B05-bytes]")
        assert time.monotonic() - killed_s < 25  # not a request's whole deadline, of 30 s


@pytest.mark.parametrize(
    ("signum", "workers"),
    [(signal.SIGTERM, "1"), (signal.SIGHUP, "1"), (signal.SIGHUP, "0")],
    ids=["SIGTERM", "SIGHUP", "SIGHUP, one process"],
)
def test_a_signal_to_stop_answers_what_is_in_the_house_and_exits_0(signum: signal.Signals, workers: str) -> None:
    with running(workers=workers) as service, ThreadPoolExecutor(4) as pool:
        embed(service, ["warm"])
        asked = [pool.submit(embed, service, TEXTS * 8) for _ in range(4)]
        while service.metric("encodery_tokenize_seconds_count") < 5:
            os.sched_yield()
        service.process.send_signal(signum)

        assert [len(future.result()) for future in asked] == [len(TEXTS) * 8] * 4
        assert service.process.wait(20) == 0


def test_an_engine_that_hangs_after_sigterm_is_replaced_and_what_it_held_is_answered() -> None:
    with running() as service, ThreadPoolExecutor(1) as pool:
        os.kill(service.children("app.processes.engine")[0], signal.SIGSTOP)
        asked = pool.submit(embed, service, TEXTS[:3])
        while service.metric("encodery_tokenize_seconds_count") < 1:
            os.sched_yield()
        service.process.send_signal(signal.SIGTERM)

        assert len(asked.result()) == 3
        assert service.process.wait(20) == 0


def test_children_end_and_leave_nothing_when_the_supervisor_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running() as service:
        assert list(tmp_path.glob("encodery-*/engine-0.sock"))
        children = service.children("app.processes")
        assert len(children) == 2

        service.process.kill()

        for pid in children:
            wait_until_gone(pid)
        assert list(tmp_path.glob("encodery-*")) == []


def test_a_service_whose_output_is_closed_or_read_by_nobody_serves_and_leaves_nothing(tmp_path: Path) -> None:
    port = free_port()
    environ = {"ENCODERY_MODELS_DIR": str(TINY_MODELS), "ENCODERY_PORT": str(port), "TMPDIR": str(tmp_path)}
    reader, writer = os.pipe()
    os.close(reader)
    command = ["sh", "-c", 'exec "$0" -m app serve 2>&-', sys.executable]
    process = subprocess.Popen(command, cwd=ROOT, env=os.environ | environ, stdout=writer, text=True)
    os.close(writer)
    try:
        embed_when_back(Service(f"http://127.0.0.1:{port}", process, ""))
        process.terminate()

        assert process.wait(20) == 0
        assert list(tmp_path.iterdir()) == []
    finally:
        process.kill()


def test_everything_in_one_process_serves_too() -> None:
    with running(workers="0") as service:
        assert len(embed(service, TEXTS)) == len(TEXTS)
        assert service.get("/ready").status_code == 200
        assert service.children("app") == []


def test_several_front_ends_share_one_engine_and_one_set_of_counters() -> None:
    with running(workers="3") as service, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda text: embed(service, [text])[0], TEXTS))
        together = embed(service, TEXTS)

        assert len(service.children("app.processes.frontend")) == 3
        assert max(abs(a - b) for x, y in zip(answers, together, strict=True) for a, b in zip(x, y, strict=True)) < 1e-5
        assert service.metric("encodery_texts_total") == 2 * len(TEXTS)


def test_a_service_whose_folder_is_removed_answers_what_it_holds_and_ends_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running() as service:
        shutil.rmtree(next(tmp_path.glob("encodery-*")))
        output, _ = service.process.communicate(timeout=30)

        assert service.process.returncode == 1
        assert re.fullmatch(r"encodery: the folder \S+ was removed; set TMPDIR to .*", output.splitlines()[-1])


def test_a_cleaner_of_old_files_sees_that_the_folder_is_in_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with running():
        folder = os.open(next(tmp_path.glob("encodery-*")), os.O_RDONLY)
        with pytest.raises(BlockingIOError):  # what systemd-tmpfiles asks before it removes anything
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(folder)


def test_the_supervisor_logs_in_the_format_of_the_settings() -> None:
    with running(log_format="json") as service:
        os.kill(service.children("app.processes.engine")[0], signal.SIGKILL)
        assert service.process.stdout is not None
        line = next(line for line in service.process.stdout if "died" in line)

    assert json.loads(line)["logger"] == "app.processes.process"


def test_an_engine_that_hangs_is_replaced_and_what_it_held_is_answered() -> None:
    """Stopped, not dead: its sockets stay open, and nothing but its silence tells."""
    with running() as service, ThreadPoolExecutor(1) as pool:
        engine = service.children("app.processes.engine")[0]
        os.kill(engine, signal.SIGSTOP)
        stopped_s = time.monotonic()
        asked = pool.submit(embed, service, TEXTS[:3])
        while service.get("/ready").status_code == 200:
            assert time.monotonic() - stopped_s < 2.5, "/ready did not tell"

        assert len(asked.result()) == 3
        assert service.children("app.processes.engine") != [engine]


def test_a_front_end_that_hangs_is_replaced() -> None:
    """Callers whom the kernel takes in would wait for it for ever."""
    with running() as service:
        front_end = service.children("app.processes.frontend")[0]
        os.kill(front_end, signal.SIGSTOP)

        wait_until_gone(front_end)
        embed_when_back(service)
        assert service.children("app.processes.frontend") != [front_end]


def test_several_engines_share_the_work_and_one_may_die() -> None:
    with running(engines="2") as service, ThreadPoolExecutor(8) as pool:
        first, second = service.children("app.processes.engine")
        expected = embed(service, TEXTS)
        asked = [pool.submit(embed, service, TEXTS) for _ in range(24)]
        os.kill(first, signal.SIGKILL)

        answers = [future.result() for future in asked]

        for answer in answers:
            worst = max(abs(a - b) for x, y in zip(answer, expected, strict=True) for a, b in zip(x, y, strict=True))
            assert worst <= 1e-5
        assert second in service.children("app.processes.engine")
