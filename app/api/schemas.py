"""What may a request hold, and what does an answer look like?

Types are strict (no number becomes a string, no 1 becomes true) and closed: an unknown field is refused. The OpenAPI
document is made from these models. Limits that are settings or properties of a model are checked where they are known
(app/serving). Answers are rendered by hand for speed; tests/app/api check them against these models.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from app.encoding.tokenizer import Truncate
from app.types import Priority

Count = Annotated[int, Field(ge=1, le=2**53)]  # no further than every JSON reader counts exactly
# Looked into by app/bundle/vectors.py, which knows what the model reads.
_NUMBERS = {"type": "array", "items": {"type": "number"}, "minItems": 1}
Vectors = Annotated[
    list[Any],
    WithJsonSchema({"type": "array", "items": {"anyOf": [_NUMBERS, {"type": "array", "items": _NUMBERS}]}}),
]
Unbuilt = dict[str, frozenset[str] | None]  # option → the values that are not built, or None for the whole option


class TextRequest(BaseModel):
    """What every task takes."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    unbuilt: ClassVar[Unbuilt] = {"truncate": frozenset({"window"})}

    texts: Annotated[list[str], Field(fail_fast=True)] | None = Field(
        default=None, description='The texts, 1 to 2,048 by default. `""` is a text. Instead of `text`.'
    )
    text: str | None = Field(default=None, description="One text. Instead of `texts`.")
    vectors: Vectors | None = Field(
        default=None,
        description="Rows for a model that reads numbers, as many as texts: a list of numbers each, or a list of such "
        "lists where it reads sequences. Instead of `texts`.",
    )
    model: str | None = Field(
        default=None, description="Name of the model; may be left out where only one model is made for the task."
    )
    version: Count | None = Field(default=None, description="Version of the model; its default version if absent.")
    head: str | None = Field(default=None, description="Name of the head; may be left out where the task has only one.")
    truncate: Truncate = Field(
        default="error",
        description="What to do with a text of more tokens than the model takes: refuse it with its token count, or "
        "cut it at its end or its start.",
    )
    timeout_ms: Count | None = Field(
        default=None, description="Deadline of this request; at most the service's own, 30,000 by default."
    )
    priority: Priority = Field(
        default="interactive",
        description="`bulk` for work that nobody waits for: it takes what interactive requests leave.",
    )

    @model_validator(mode="after")
    def _has_texts(self) -> Self:
        given = (self.text is not None) + (self.texts is not None) + (self.vectors is not None)
        if given != 1:
            found = f"{given} are given" if given else "none is given"
            raise PydanticCustomError("text_or_texts", "send exactly one of `text`, `texts` and `vectors`: " + found)
        if self.texts is not None and not self.texts:
            raise PydanticCustomError("texts_empty", "`texts` is empty; send at least one text")
        if self.vectors is not None and not self.vectors:
            raise PydanticCustomError("vectors_empty", "`vectors` is empty; send at least one row")
        return self

    @property
    def all_texts(self) -> list[str]:
        """The texts as a list, whichever way they came; none beside vectors."""
        if self.texts is not None:
            return self.texts
        return [self.text] if self.text is not None else []


class EmbedRequest(TextRequest):
    """Body of POST /embed."""

    unbuilt: ClassVar[Unbuilt] = TextRequest.unbuilt | {
        "prompt": None,
        "format": frozenset({"float16", "int8", "binary"}),
    }

    normalize: bool | None = Field(
        default=None, description="Scale each vector to length 1; the model's own if absent."
    )
    dimensions: Count | None = Field(default=None, description="Cut each vector to its first values, then scale.")
    format: Literal["float", "base64"] = Field(
        default="float",
        description="Numbers, or base64 of little-endian float32: about half the bytes, no digits to parse.",
    )


class ClassifyRequest(TextRequest):
    """Body of POST /classify."""

    unbuilt: ClassVar[Unbuilt] = TextRequest.unbuilt | {"pairs": None, "coverage": None}

    top_k: Count | None = Field(default=None, description="How many scores to show a text; 5 if absent.")
    threshold: float | None = Field(
        default=None,
        description="Single label: the best score under it gives label null. Multi-label: labels from this score on "
        "are given. Compares with the scores that are shown.",
    )
    raw_scores: bool = Field(default=False, description="Show the model's logits instead of calibrated probabilities.")


class Item(BaseModel):
    """What the model read of one text, or of one row of `vectors`."""

    tokens: int = Field(description="Of a row of vectors: how many vectors.")
    truncated: bool


class Usage(BaseModel):
    """Tokens of all texts together, special tokens included."""

    tokens: int


class EmbedResponse(BaseModel):
    """Answer of POST /embed; `embeddings[i]` and `items[i]` belong to text i."""

    model: str
    version: int
    space: str = Field(description="Fingerprint of the vector space: vectors with the same one may share an index.")
    dimensions: int
    format: Literal["float", "base64"]
    embeddings: list[list[float]] | list[str]
    items: list[Item]
    usage: Usage


class Score(BaseModel):
    """One label and how well it fits."""

    label: str
    score: float


class SingleLabel(BaseModel):
    """The best label (null under the threshold), its score, and the scores of the best labels."""

    label: str | None
    score: float
    scores: list[Score]
    in_scope: bool | None = Field(default=None, description="Only where the bundle has an out-of-scope rule.")


class MultiLabel(BaseModel):
    """Every label from its threshold on, best first, and the scores of the best labels."""

    labels: list[str]
    scores: list[Score]


class Regression(BaseModel):
    """The value; by name where the head has several."""

    value: float | dict[str, float]


class ClassifyResponse(BaseModel):
    """Answer of POST /classify; `predictions[i]` and `items[i]` belong to text i, in the shape of `problem_type`."""

    model: str
    version: int
    head: str
    problem_type: Literal["single_label", "multi_label", "regression"]
    predictions: list[SingleLabel] | list[MultiLabel] | list[Regression]
    items: list[Item]
    usage: Usage
