from pathlib import Path

import pytest

from app.telemetry import metrics
from tests.app.api.conftest import MakeClient
from tests.fakes import Client, FakeEngine, error_of
from tests.stores import DIMENSIONS, INTENTS, MAX_TOKENS, outputs_of

EMBEDDER = {
    "id": "embedder",
    "object": "model",
    "created": 1767323045,  # 2026-01-02T03:04:05Z
    "owned_by": "encodery",
    "task": "embed",
    "version": 1,
    "versions": [1],
    "dimensions": DIMENSIONS,
    "labels": None,
    "heads": [
        {
            "name": "embedding",
            "task": "embed",
            "dimensions": DIMENSIONS,
            "normalize": True,
            "problem_type": None,
            "labels": None,
        }
    ],
    "modality": "text",
    "vectors": None,
    "max_tokens": MAX_TOKENS,
    "space": "space-of-bytes",
    "device": "cpu",
    "precision": "fp32",
    "plan": {
        "name": "onnxruntime-fp32",
        "reason": "the only plan that can be had here",
        "candidates": [
            {
                "name": "onnxruntime-fp32",
                "verdict": "serves: the only plan that can be had here",
                "texts_per_s": 120.5,
                "ms": {"4x32": 33.2},
            },
            {"name": "openvino-bf16", "verdict": "not here: no bf16", "texts_per_s": 0.0, "ms": {}},
        ],
    },
}


def test_models_are_listed_by_name(client: Client) -> None:
    body = client.get("/models").json()

    assert body["object"] == "list"
    assert [model["id"] for model in body["data"]] == ["embedder", "intents", "mixed", "stars", "topics"]
    assert body["data"][0] == EMBEDDER


def test_one_model_is_described(client: Client) -> None:
    body = client.get("/models/intents").json()

    assert (body["task"], body["labels"]) == ("classify", INTENTS)


def test_model_that_is_not_served_is_a_404_with_those_that_are(client: Client) -> None:
    response = client.get("/models/org/secret-name")

    assert response.status_code == 404
    assert error_of(response)["code"] == "model_not_found"
    assert "embedder" in error_of(response)["message"]
    assert "secret-name" not in response.text


def test_live_and_ready_answer(client: Client) -> None:
    assert client.get("/live").json() == {"status": "live"}
    assert client.get("/ready").json() == {"status": "ready"}


def test_probes_take_head(client: Client) -> None:
    assert [client.request("HEAD", path).status_code for path in ("/live", "/ready")] == [200, 200]


def test_without_an_engine_the_service_lives_and_is_not_ready(make_client: MakeClient) -> None:
    client = make_client(FakeEngine(outputs_of(), is_ready=False))

    response = client.get("/ready")

    assert client.get("/live").status_code == 200
    assert (response.status_code, error_of(response)["code"]) == (503, "not_ready")
    assert response.headers["retry-after"] == "1"
    assert client.get("/models/embedder").json()["device"] is None


def test_root_leads_to_the_documentation(client: Client) -> None:
    response = client.get("/")

    assert (response.status_code, response.headers["location"]) == (307, "/docs")
    assert client.get("/docs").status_code == 200


def test_counts_that_cannot_be_read_are_a_503(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metrics.MULTIPROCESS_VARIABLE, str(tmp_path / "gone"))

    response = client.get("/metrics")

    assert (response.status_code, error_of(response)["code"]) == (503, "not_ready")


def test_metrics_are_in_prometheus_text_format(client: Client) -> None:
    response = client.get("/metrics")

    assert response.headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE encodery_requests_total counter" in response.text
