"""Small classes that keep our protocols, and what tests build around them.

`FakeEngine` computes no model: a row's outputs are random numbers seeded by its token ids, so that a text has the same
answer alone and among others, and any mix-up of rows shows.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx
import numpy as np
from starlette.types import ASGIApp

from app.types import (
    Answer,
    Cost,
    EngineStatus,
    Ids,
    Item,
    ModelKey,
    ModelStatus,
    PlanFigures,
    PlanStatus,
    Rows,
    Timing,
    Work,
)

COST = Cost(overhead_ms=1.0, ms_per_token=0.01, lanes=2)
ONLY = "the only plan that can be had here"
PLAN = PlanStatus(
    "onnxruntime-fp32",
    ONLY,
    [
        PlanFigures("onnxruntime-fp32", f"serves: {ONLY}", 120.5, {"4x32": 33.2}),
        PlanFigures("openvino-bf16", "not here: no bf16"),
    ],
)

Behaviour = Callable[[Work], Awaitable[Answer]]


def fake_row(ids: Item, width: int) -> Rows:
    """What `FakeEngine` gives for one row: `width` numbers."""
    return np.random.default_rng(np.asarray(ids, np.uint32)).standard_normal(width).astype(np.float32)


class FakeEngine:
    """Keeps `app.types.Engine`. `outputs` has the width of each graph output by model."""

    def __init__(
        self,
        outputs: Mapping[ModelKey, Mapping[str, int]],
        *,
        behaviour: Behaviour | None = None,
        is_ready: bool = True,
        refusal: str | None = None,
        cost: Cost = COST,
    ) -> None:
        self._outputs = outputs
        self.behaviour = behaviour or self.compute
        self._cost = cost
        self.is_ready = is_ready
        self.refusal = refusal
        self.works: list[Work] = []

    def status(self) -> EngineStatus:
        models = [ModelStatus(key, "cpu", "fp32", self._cost, PLAN) for key in self._outputs] if self.is_ready else []
        return EngineStatus(is_ready=self.is_ready, models=models, refusal=self.refusal)

    async def submit(self, work: Work) -> Answer:
        self.works.append(work)
        return await self.behaviour(work)

    async def compute(self, work: Work) -> Answer:
        outputs = {
            name: np.stack([fake_row(ids, width) for ids in work.rows])
            for name, width in self._outputs[work.model].items()
        }
        return Answer(outputs, Timing(queue_s=0.001, run_s=0.002))


class Forever:
    """A behaviour that never answers, and knows whether it was cancelled."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.was_cancelled = False

    async def __call__(self, work: Work) -> Answer:
        self.began.set()
        try:
            never: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            return await never
        except asyncio.CancelledError:
            self.was_cancelled = True
            raise


def failing(error: Exception) -> Behaviour:
    """A behaviour that fails with `error`."""

    async def fail(work: Work) -> Answer:
        raise error

    return fail


class Client:
    """HTTP against the real ASGI application, without a socket. An exception that escapes the application is raised."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401  # httpx's own options
        return asyncio.run(self.send(method, path, **options))

    async def send(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401
        transport = httpx.ASGITransport(app=self._app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.request(method, path, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401
        return self.request("GET", path, **options)

    def post(self, path: str, body: object = None, **options: Any) -> httpx.Response:  # noqa: ANN401
        if body is not None:
            options["json"] = body
        return self.request("POST", path, **options)


def error_of(response: httpx.Response) -> Mapping[str, Any]:
    """The envelope's content, checked for its form."""
    body = response.json()
    assert list(body) == ["error"]
    error: Mapping[str, Any] = body["error"]
    assert set(error) == {
        "code", "message", "type", "param", "index", "request_id", "retryable", "retry_after_ms",
    }  # fmt: skip
    assert error["request_id"] == response.headers["x-request-id"]
    assert response.headers["content-type"] == "application/json"
    return error


def ids_of(*rows: Sequence[int]) -> list[Ids]:
    """Rows of token ids."""
    return [np.array(row, np.int32) for row in rows]
