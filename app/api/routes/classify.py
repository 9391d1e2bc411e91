"""POST /classify: labels for each text."""

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request

from app.api import openapi
from app.api.asking import ask
from app.api.deps import parts, read_body, record
from app.api.parsing import parse
from app.api.rendering import Answer, counts, json_answer, json_list
from app.api.schemas import ClassifyRequest, ClassifyResponse
from app.bundle.manifest import EMBEDDING_OUTPUT, ClassifyHead
from app.bundle.scope import reads_vectors
from app.errors import UnsupportedOptionError
from app.tasks import classify as task
from app.types import Rows

DEFAULT_TOP_K = 5

router = APIRouter(route_class=openapi.HotRoute, tags=["tasks"])


@router.post("/classify", **openapi.describe(ClassifyRequest, ClassifyResponse, openapi.CLASSIFY_EXAMPLES))
async def classify(request: Request) -> Answer:
    """Classify texts: one prediction for each, in the order they came."""
    wish = parse(await read_body(request), ClassifyRequest)
    model = parts(request).catalog.resolve(wish.model, wish.version, "classify")
    entry = record(request)
    entry.model, entry.version = model.key.name, model.key.version
    head = model.classify_head(wish.head)
    options = _options(wish, head)
    outputs = [head.output, EMBEDDING_OUTPUT] if reads_vectors(head) else [head.output]
    result = await ask(request, wish, model, outputs)
    rows = np.concatenate([result.outputs[name] for name in outputs], axis=1)
    labels = len(head.labels)

    def finish(part: Rows) -> list[task.Prediction]:
        return task.finish(head, part[:, :labels], options, part[:, labels:], model.scope)

    return json_answer(
        {
            "model": model.key.name,
            "version": model.key.version,
            "head": head.name,
            "problem_type": head.problem_type,
            "predictions": await json_list(rows, finish),
            **counts(result),
        }
    )


def _options(wish: ClassifyRequest, head: ClassifyHead) -> task.Options:
    if head.problem_type == "regression":
        given = {
            "top_k": wish.top_k is not None,
            "threshold": wish.threshold is not None,
            "raw_scores": wish.raw_scores,
        }
        if name := next((name for name, is_given in given.items() if is_given), None):
            message = f"head {head.name} is a regression, which has no labels to choose from; leave out `{name}`"
            raise UnsupportedOptionError(message, param=name)
    return task.Options(top_k=wish.top_k or DEFAULT_TOP_K, threshold=wish.threshold, raw_scores=wish.raw_scores)
