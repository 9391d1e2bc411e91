"""Does `docker compose up`, from the images to the answers, do what README.md says? Built and run for real."""

import json
import os
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.container.engine import NoEngineError, Stack, find_engine

pytestmark = pytest.mark.container

COMPILERS = ["cc", "gcc", "g++", "c++", "clang", "ld", "as", "make", "nvcc"]
TRAINING_ONLY = ["torch", "transformers", "onnxscript", "sklearn", "datasets", "training"]


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    try:
        engine = find_engine()
    except NoEngineError as error:
        pytest.fail(str(error), pytrace=False)
    stack = Stack(engine, project=f"encodery-test-{os.getpid()}", port=_free_port())
    stack.build()
    try:
        stack.up()
        yield stack
    finally:
        stack.down()


def test_embed_answers_unit_vectors_that_mean_something(stack: Stack) -> None:
    coffee_D, espresso_D, rocket_D = _embed(
        stack, ["the coffee was cold", "my espresso is chilly", "a rocket took off"]
    )

    assert np.linalg.norm(coffee_D) == pytest.approx(1, abs=1e-5)
    assert coffee_D @ espresso_D > 0.5 > coffee_D @ rocket_D


@pytest.mark.parametrize(
    ("text", "label"),
    [
        pytest.param("turn on the kitchen lights", "TurnOn", id="lights"),
        pytest.param("what time is it", "GetCurrentTime", id="time"),
    ],
)
def test_classify_answers_the_right_intent(stack: Stack, text: str, label: str) -> None:
    answer = _post(stack, "/classify", {"text": text})

    assert [prediction["label"] for prediction in answer["predictions"]] == [label]


def test_metrics_count_the_requests(stack: Stack) -> None:
    _post(stack, "/embed", {"text": "counted"})

    metrics = httpx.get(f"{stack.url}/metrics", timeout=30).text

    assert any(line.startswith("encodery_") and 'route="/embed"' in line for line in metrics.splitlines())


def test_the_service_has_no_rights_it_does_not_need(stack: Stack) -> None:
    status = stack.python("app", "print(open('/proc/1/status').read())").splitlines()
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in status)}

    assert fields["Uid"] == ["10001"] * 4
    assert [fields[name] for name in ("CapPrm", "CapEff", "CapBnd")] == [["0" * 16]] * 3
    assert fields["NoNewPrivs"] == ["1"]


def test_the_service_can_write_nowhere_but_in_tmp(stack: Stack) -> None:
    mounts = [line.split() for line in stack.python("app", "print(open('/proc/mounts').read())").splitlines()]
    options = {mount[1]: mount[3].split(",") for mount in mounts}

    assert [options[path][0] for path in ("/", "/models", "/tmp")] == ["ro", "ro", "rw"]


def test_the_image_has_neither_training_nor_compilers(stack: Stack) -> None:
    modules = f"[name for name in {TRAINING_ONLY} if importlib.util.find_spec(name)]"
    programs = f"[name for name in {COMPILERS} if shutil.which(name)]"

    found = stack.python("app", f"import importlib.util, json, shutil; print(json.dumps([{modules}, {programs}]))")

    assert json.loads(found) == [[], []]


def test_the_port_is_published_on_this_machine_alone(stack: Stack) -> None:
    published = stack.inspect("app", "{{json .HostConfig.PortBindings}}")

    assert json.loads(published) == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]}


def test_the_run_that_makes_the_bundles_ends_well(stack: Stack) -> None:
    assert stack.exit_code("bundles") == 0


def _embed(stack: Stack, texts: list[str]) -> list[NDArray[np.float64]]:
    answer = _post(stack, "/embed", {"texts": texts})
    return [np.asarray(vector) for vector in answer["embeddings"]]


def _post(stack: Stack, path: str, body: dict[str, Any]) -> dict[str, Any]:
    response = httpx.post(f"{stack.url}{path}", json=body, timeout=60)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
