"""GET /models and GET /models/{name}: what is served."""

from datetime import datetime
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.requests import Request

from app.api import openapi
from app.api.deps import Parts, parts, record
from app.bundle.manifest import ClassifyHead, EmbedHead, Manifest
from app.errors import ModelNotFoundError
from app.serving.catalog import ServedModel
from app.types import ModelStatus, PlanStatus

router = APIRouter(tags=["models"])


class HeadInfo(BaseModel):
    """One head of a model: an embed head has dimensions, a classify head a problem type and labels."""

    name: str
    task: Literal["embed", "classify"]
    dimensions: int | None = None
    normalize: bool | None = None
    problem_type: Literal["single_label", "multi_label", "regression"] | None = None
    labels: list[str] | None = None


class VectorInfo(BaseModel):
    """What a model of vectors reads."""

    width: int = Field(description="Numbers of a vector.")
    is_sequence: bool = Field(description="Whether a row is a list of vectors, and not one vector.")


class PlanCandidate(BaseModel):
    """One way to execute the model, as it did on this machine."""

    name: str
    verdict: str = Field(description="Why it serves or does not.")
    texts_per_s: float = Field(description="Of one lane, 4 texts of 32 tokens a batch; 0 if it was not timed.")
    ms: dict[str, float] = Field(description="Milliseconds of one thread a batch, by texts x tokens.")


class PlanInfo(BaseModel):
    """The execution plan that was chosen, and every one that could have been."""

    name: str
    reason: str
    candidates: list[PlanCandidate]


class ModelInfo(BaseModel):
    """One model. What stands outside `heads` is that of the primary head, for clients that know one task a model."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(description="Unix time of the export of the default version.")
    owned_by: Literal["encodery"] = "encodery"
    task: Literal["embed", "classify"]
    version: int = Field(description="The version that answers when none is named.")
    versions: list[int]
    dimensions: int | None
    labels: list[str] | None
    heads: list[HeadInfo]
    modality: Literal["text", "vectors"] = Field(description="What it reads: `texts`, or `vectors`.")
    vectors: VectorInfo | None = Field(description="What the rows of `vectors` are like; null for a model of texts.")
    max_tokens: int = Field(description="Of a text; of a row of vectors, how many it may have.")
    space: str
    device: str | None = Field(description="Where it runs; null while the engine is not connected.")
    precision: str | None
    plan: PlanInfo | None = Field(description="How it is executed, chosen by measurement at load.")


class ModelList(BaseModel):
    """All models, sorted by name."""

    object: Literal["list"] = "list"
    data: list[ModelInfo]


@router.get("/models")
async def list_models(request: Request) -> ModelList:
    """List the served models."""
    wired = parts(request)
    return ModelList(data=[_info(wired, wired.catalog.default(name)) for name in wired.catalog.names()])


@router.get("/models/{name:path}", responses=openapi.errors([ModelNotFoundError]))
async def get_model(request: Request, name: str) -> ModelInfo:
    """Describe one model."""
    wired = parts(request)
    model = wired.catalog.default(name)
    entry = record(request)
    entry.model, entry.version = model.key.name, model.key.version
    return _info(wired, model)


def _info(wired: Parts, model: ServedModel) -> ModelInfo:
    manifest = model.manifest
    heads = [_head(head) for head in manifest.heads]
    status = _status(wired, model)
    return ModelInfo(
        id=manifest.name,
        created=int(datetime.fromisoformat(manifest.created).timestamp()),
        task=model.task,
        version=manifest.version,
        versions=wired.catalog.versions(manifest.name),
        dimensions=heads[0].dimensions,
        labels=heads[0].labels,
        heads=heads,
        modality=manifest.modality,
        vectors=_vectors(manifest),
        max_tokens=manifest.max_tokens,
        space=manifest.space,
        device=status.device if status else None,
        precision=status.precision if status else None,
        plan=_plan(status.plan) if status and status.plan else None,
    )


def _vectors(manifest: Manifest) -> VectorInfo | None:
    if (like := manifest.vectors) is None:
        return None
    return VectorInfo(width=like.width, is_sequence=like.is_sequence)


def _plan(plan: PlanStatus) -> PlanInfo:
    candidates = [
        PlanCandidate(name=each.name, verdict=each.verdict, texts_per_s=each.texts_per_s, ms=dict(each.ms))
        for each in plan.figures
    ]
    return PlanInfo(name=plan.name, reason=plan.reason, candidates=candidates)


def _head(head: EmbedHead | ClassifyHead) -> HeadInfo:
    if isinstance(head, EmbedHead):
        return HeadInfo(name=head.name, task="embed", dimensions=head.dimensions, normalize=head.normalize)
    return HeadInfo(name=head.name, task="classify", problem_type=head.problem_type, labels=head.labels)


def _status(wired: Parts, model: ServedModel) -> ModelStatus | None:
    return next((status for status in wired.engine.status().models if status.key == model.key), None)
