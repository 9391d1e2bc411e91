"""POST /embed: a vector for each text."""

from fastapi import APIRouter
from starlette.requests import Request

from app.api import openapi
from app.api.asking import ask
from app.api.deps import fields, parts, read_body, record
from app.api.parsing import parse
from app.api.rendering import OCTETS, Answer, counts, json_answer, json_list, wants_bytes
from app.api.schemas import EmbedRequest, EmbedResponse
from app.bundle.manifest import EmbedHead
from app.errors import InvalidRequestError
from app.serving.catalog import ServedModel
from app.serving.service import Result
from app.tasks import embed as task
from app.types import Rows

router = APIRouter(route_class=openapi.HotRoute, tags=["tasks"])


@router.post("/embed", **openapi.describe(EmbedRequest, EmbedResponse, openapi.EMBED_EXAMPLES, openapi.EMBED_BYTES))
async def embed(request: Request) -> Answer:
    """Embed texts: one vector for each, in the order they came."""
    wish = parse(await read_body(request), EmbedRequest)
    model = parts(request).catalog.resolve(wish.model, wish.version, "embed")
    entry = record(request)
    entry.model, entry.version = model.key.name, model.key.version
    head = model.embed_head(wish.head)
    dimensions = _dimensions(wish, head)
    as_bytes = _as_bytes(wish, fields(request).get(b"accept", b""))
    result = await ask(request, wish, model, [head.output])
    normalize = head.normalize if wish.normalize is None else wish.normalize

    def finish(vectors_BD: Rows) -> Rows:
        return task.finish(vectors_BD, dimensions=dimensions, normalize=normalize)

    vectors_BD = result.outputs[head.output]
    if as_bytes:
        return _bytes_answer(finish(vectors_BD), model, result)
    render = finish if wish.format == "float" else lambda part_BD: task.to_base64(finish(part_BD))
    return json_answer(
        {
            "model": model.key.name,
            "version": model.key.version,
            "space": model.manifest.space,
            "dimensions": dimensions,
            "format": wish.format,
            "embeddings": await json_list(vectors_BD, render),
            **counts(result),
        }
    )


def _bytes_answer(vectors_BK: Rows, model: ServedModel, result: Result) -> Answer:
    """Little-endian float32, row after row; what JSON says beside the vectors stands in header fields."""
    rows, dimensions = vectors_BK.shape
    said = {
        "model": model.key.name,
        "version": model.key.version,
        "space": model.manifest.space,
        "dimensions": dimensions,
        "rows": rows,
        "tokens": result.tokens,
        "truncated": sum(encoding.truncated for encoding in result.encodings),
    }
    named = [(f"encodery-{name}".encode(), str(value).encode()) for name, value in said.items()]
    return Answer(vectors_BK.astype("<f4", copy=False).tobytes(), OCTETS, fields=named)


def _as_bytes(wish: EmbedRequest, accept: bytes) -> bool:
    if not wants_bytes(accept):
        return False
    if wish.format != "float":
        message = (
            "`format` is for JSON; leave it out with the header accept: application/octet-stream, which is float32"
        )
        raise InvalidRequestError(message, param="format")
    return True


def _dimensions(wish: EmbedRequest, head: EmbedHead) -> int:
    if wish.dimensions is not None and wish.dimensions > head.dimensions:
        message = f"`dimensions` is {wish.dimensions}; this model has {head.dimensions}; ask for at most as many"
        raise InvalidRequestError(message, param="dimensions")
    return wish.dimensions or head.dimensions
