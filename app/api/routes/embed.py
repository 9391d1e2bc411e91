"""POST /embed: a vector for each text."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from app.api import openapi
from app.api.deps import cancelled_with_caller, parts, read_body, record
from app.api.parsing import parse
from app.api.rendering import JsonResponse, counts
from app.api.schemas import EmbedRequest, EmbedResponse
from app.bundle.manifest import EmbedHead
from app.errors import InvalidRequestError
from app.serving.service import Ask
from app.tasks import embed as task

router = APIRouter(route_class=openapi.RawRoute, tags=["tasks"])


@router.post("/embed", **openapi.describe(EmbedRequest, EmbedResponse, openapi.EMBED_EXAMPLES))
async def embed(request: Request) -> Response:
    """Embed texts: one vector for each, in the order they came."""
    wish = parse(await read_body(request), EmbedRequest)
    model = parts(request).catalog.resolve(wish.model, wish.version, "embed")
    entry = record(request)
    entry.model, entry.version = model.key.name, model.key.version
    head = model.embed_head(wish.head)
    dimensions = _dimensions(wish, head)
    async with cancelled_with_caller(request):
        result = await parts(request).service.run(Ask(model, wish.all_texts, wish.truncate, wish.timeout_ms), entry)
    normalize = head.normalize if wish.normalize is None else wish.normalize
    vectors_BK = task.finish(result.outputs[head.output], dimensions=dimensions, normalize=normalize)
    return JsonResponse(
        {
            "model": model.key.name,
            "version": model.key.version,
            "space": model.manifest.space,
            "dimensions": dimensions,
            "format": wish.format,
            "embeddings": task.to_base64(vectors_BK) if wish.format == "base64" else vectors_BK,
            **counts(result),
        }
    )


def _dimensions(wish: EmbedRequest, head: EmbedHead) -> int:
    if wish.dimensions is not None and wish.dimensions > head.dimensions:
        message = f"`dimensions` is {wish.dimensions}; this model has {head.dimensions}; ask for at most as many"
        raise InvalidRequestError(message, param="dimensions")
    return wish.dimensions or head.dimensions
