"""How do the parts of a front end fit together?

`create_app` is the one place where they are wired. It starts nothing and opens nothing: the engine and the catalog
come ready-made, and `lifespan` is the caller's.
"""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Lifespan

from app.api.deps import Parts
from app.api.handlers import respond
from app.api.middleware import Observed, hot_routes
from app.api.routes import classify, embed, health, models
from app.batching.admission import Board
from app.errors import ApiError
from app.serving.catalog import Catalog
from app.serving.service import Service
from app.settings import Settings
from app.telemetry import metrics
from app.types import Engine

API_VERSION = "1"  # of what callers see, not of the package
TASK_ROUTES = ("/embed", "/classify")


def create_app(
    settings: Settings,
    engine: Engine,
    catalog: Catalog,
    *,
    board: Board | None = None,
    lifespan: Lifespan[FastAPI] | None = None,
) -> Observed:
    """The ASGI application of one front end. `board` is what it shares with the others, if there are others."""
    app = FastAPI(
        title="encodery",
        version=API_VERSION,
        summary="Fine-tuned encoders behind HTTP: vectors and labels for texts.",
        redoc_url=None,
        redirect_slashes=False,  # a wrong path is a 404 with the envelope, not a redirect to another one
        lifespan=lifespan,
        exception_handlers=dict.fromkeys((ApiError, HTTPException, RequestValidationError, Exception), _answer),
    )
    routers = [module.router for module in (embed, classify, models, health)]
    for router in routers:
        app.include_router(router)
    metrics.initialise(catalog.names(), TASK_ROUTES)
    parts = Parts(settings, engine, catalog, Service(engine, settings, board=board))
    return Observed(app, parts, hot_routes(routers))


async def _answer(request: Request, error: Exception) -> Response:
    return respond(request, error)
