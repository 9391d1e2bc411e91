"""How do the texts of a task's request become the model's outputs?"""

from collections.abc import Sequence

from starlette.requests import Request

from app.api.deps import cancelled_with_caller, parts, principal, record
from app.api.schemas import TextRequest
from app.errors import ApiError
from app.serving.catalog import ServedModel
from app.serving.service import Ask, Result
from app.types import Flow


async def ask(request: Request, wish: TextRequest, model: ServedModel, outputs: Sequence[str]) -> Result:
    """What the model makes of the texts, as its outputs of those names; the caller's going away cancels it.

    Raises:
        ApiError: about `text` where the caller sent `text`. ClientGoneError: the caller went away.
    """
    flow = Flow(principal(request), wish.priority)
    work = Ask(model, wish.all_texts, wish.truncate, wish.timeout_ms, outputs, flow)
    try:
        with cancelled_with_caller(request):
            return await parts(request).service.run(work, record(request))
    except ApiError as error:
        if wish.text is not None and error.param is not None and error.param.startswith("texts"):
            error.param = "text"
        raise
