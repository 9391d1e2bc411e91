"""How do the texts, or the vectors, of a task's request become the model's outputs?"""

from collections.abc import Sequence

from starlette.requests import Request

from app.api.deps import cancelled_with_caller, parts, principal, record
from app.api.schemas import TextRequest
from app.errors import ApiError, InvalidRequestError
from app.serving.catalog import ServedModel
from app.serving.service import Ask, Result
from app.types import Flow


async def ask(request: Request, wish: TextRequest, model: ServedModel, outputs: Sequence[str]) -> Result:
    """What the model makes of the texts or vectors, as its outputs of those names; the caller's going away cancels it.

    Raises:
        ApiError: about `text` where the caller sent `text`; the model reads the other. ClientGoneError: the caller
            went away.
    """
    if (model.manifest.vectors is None) != (wish.vectors is None):
        raise _other_modality(wish, model)
    flow = Flow(principal(request), wish.priority)
    work = Ask(model, wish.all_texts, wish.truncate, wish.timeout_ms, outputs, flow, wish.vectors)
    try:
        with cancelled_with_caller(request):
            return await parts(request).service.run(work, record(request))
    except ApiError as error:
        if wish.text is not None and error.param is not None and error.param.startswith("texts"):
            error.param = "text"
        raise


def _other_modality(wish: TextRequest, model: ServedModel) -> InvalidRequestError:
    name = model.key.name
    if (like := model.manifest.vectors) is None:
        message = f"model {name} reads texts, not vectors; send `texts`, or name a model of vectors in `model`"
        return InvalidRequestError(message, param="vectors")
    row = f"a list of {like.width} numbers" + (" for each step of a row" if like.is_sequence else " for each row")
    message = f"model {name} reads vectors, not texts; send `vectors`, {row}, or name a model of texts in `model`"
    return InvalidRequestError(message, param="text" if wish.text is not None else "texts")
