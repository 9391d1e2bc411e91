"""GET /live, /ready, /metrics, and the way from / to the documentation."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.api import openapi
from app.api.deps import parts
from app.errors import NotReadyError
from app.telemetry import metrics

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """The short answer of a health check."""

    status: Literal["live", "ready"]


@router.get("/live")
async def live() -> Health:
    """Say that this process answers. Restart it when it does not."""
    return Health(status="live")


@router.get("/ready", responses=openapi.errors([NotReadyError]))
async def ready(request: Request) -> Health:
    """Say that requests will be answered: the engine is warm, ran in the last 10 s, and nothing shuts down."""
    parts(request).service.check_ready()
    return Health(status="ready")


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, **openapi.errors([NotReadyError])},
)
async def show_metrics() -> Response:
    """Show the counts of all processes in Prometheus's text format."""
    try:
        body, content_type = metrics.render()
    except OSError as error:
        raise NotReadyError(f"the counts cannot be read now ({error.strerror})") from error
    return Response(body, media_type=None, headers={"content-type": content_type})


@router.get("/", include_in_schema=False)
async def root() -> Response:
    """Lead to the documentation."""
    return RedirectResponse("/docs")


for probe in (live, ready):  # balancers that look at the status alone ask with HEAD
    router.add_api_route(f"/{probe.__name__}", probe, methods=["HEAD"], include_in_schema=False)
