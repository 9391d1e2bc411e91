"""Which models does this front end serve, and which one does a request mean?

Names are looked up in a dictionary of what was opened at the start, never on disk. A request that names no model gets
the only one whose primary head has the asked task. Manifest and tokenizer live here; the graph lives in the engine.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self, TypeVar

from app.bundle.manifest import ClassifyHead, EmbedHead, Manifest
from app.bundle.open import Bundle, open_bundle
from app.bundle.scope import Statistics, load_statistics
from app.bundle.store import bundle_dir
from app.bundle.tokenizer import load_tokenizer
from app.encoding.tokenizer import TextEncoder
from app.encoding.vectors import VectorReader
from app.errors import HeadError, InvalidRequestError, ModelNotFoundError
from app.types import ModelKey

Task = Literal["embed", "classify"]
LISTED = 20  # names in an error message

HeadT = TypeVar("HeadT", EmbedHead, ClassifyHead)


@dataclass(frozen=True, slots=True)
class ServedModel:
    """One version of one model as the front end knows it."""

    manifest: Manifest
    encoder: TextEncoder | VectorReader  # by the modality of its manifest
    scope: Statistics | None = None  # where a head's rule of scope reads vectors
    key: ModelKey = field(init=False)  # its name for the engine

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", ModelKey(self.manifest.name, self.manifest.version))

    @property
    def task(self) -> Task:
        """What it is for: the task of its primary head."""
        return self.manifest.heads[0].task

    def embed_head(self, name: str | None) -> EmbedHead:
        """The named embed head, or the only one. Raises HeadError."""
        heads = [head for head in self.manifest.heads if isinstance(head, EmbedHead)]
        return _choose(heads, name, f"model {self.key.name} has the embed heads")

    def classify_head(self, name: str | None) -> ClassifyHead:
        """The named classify head, or the only one. Raises HeadError."""
        heads = [head for head in self.manifest.heads if isinstance(head, ClassifyHead)]
        return _choose(heads, name, f"model {self.key.name} has the classify heads")


class Catalog:
    """The served models by name and version, and the version that serves by default."""

    def __init__(self, models: Sequence[ServedModel], defaults: Mapping[str, int]) -> None:
        self._models = {model.key: model for model in models}
        self._defaults = dict(sorted(defaults.items()))

    @classmethod
    def open(cls, store: Path, keys: Sequence[ModelKey]) -> Self:
        """Open manifest and tokenizer of each bundle. A model's default is the first of its versions in `keys`: a
        `current` file that changes later is the next start's, not that of a front end that is started again.

        Raises:
            BundleError: a bundle breaks a rule of the format.
        """
        defaults = {key.name: key.version for key in reversed(keys)}  # the last one written stands
        return cls([_open(bundle_dir(store, key.name, key.version)) for key in keys], defaults)

    def names(self) -> list[str]:
        """The names of all models, sorted."""
        return list(self._defaults)

    def versions(self, name: str) -> list[int]:
        """The served versions of a model, ascending."""
        return sorted(key.version for key in self._models if key.name == name)

    def default(self, name: str) -> ServedModel:
        """The version of a model that serves by default.

        Raises:
            ModelNotFoundError: no model has this name.
        """
        if name not in self._defaults:
            served = _listing(self._defaults)
            raise ModelNotFoundError(f"no model of this name is served; there are: {served}", param="model")
        return self._models[ModelKey(name, self._defaults[name])]

    def resolve(self, name: str | None, version: int | None, task: Task) -> ServedModel:
        """The model that a request means.

        Raises:
            ModelNotFoundError: no such name or version. InvalidRequestError: the model cannot do `task`, or no model
            is named and the choice is not clear.
        """
        if name is None and version is not None:
            raise InvalidRequestError("`version` is given without `model`; name the model too", param="model")
        model = self._only_one_for(task) if name is None else self.default(name)
        if version is not None:
            model = self._version(model.key.name, version)
        if all(head.task != task for head in model.manifest.heads):
            able = _listing(name for name in self._defaults if self._can(name, task)) or "none"
            raise InvalidRequestError(
                f"model {model.key.name} does {model.task}, not {task}; models that do {task}: {able}", param="model"
            )
        return model

    def _version(self, name: str, version: int) -> ServedModel:
        if (model := self._models.get(ModelKey(name, version))) is not None:
            return model
        served = _listing(map(str, self.versions(name)))
        raise ModelNotFoundError(f"model {name} has no version {version} here; it has: {served}", param="version")

    def _only_one_for(self, task: Task) -> ServedModel:
        able = [name for name in self._defaults if self.default(name).task == task]
        if len(able) == 1:
            return self.default(able[0])
        if able:
            raise InvalidRequestError(
                f"several models do {task}; set `model` to one of: {_listing(able)}", param="model"
            )
        served = _listing(self._defaults) or "none"
        raise ModelNotFoundError(f"no served model is made for {task}; there are: {served}", param="model")

    def _can(self, name: str, task: Task) -> bool:
        return any(head.task == task for head in self.default(name).manifest.heads)


def _open(folder: Path) -> ServedModel:
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    return ServedModel(manifest, _encoder(bundle), load_statistics(bundle))


def _encoder(bundle: Bundle) -> TextEncoder | VectorReader:
    manifest = bundle.manifest
    if manifest.vectors is not None:
        return VectorReader(manifest.vectors, max_tokens=manifest.max_tokens)
    tokenizer = load_tokenizer(bundle.read(manifest.file("tokenizer")))
    return TextEncoder(tokenizer, max_tokens=manifest.max_tokens)


def _choose(heads: Sequence[HeadT], name: str | None, listing: str) -> HeadT:
    if name is None and len(heads) == 1:
        return heads[0]
    if (named := next((head for head in heads if head.name == name), None)) is not None:
        return named
    problem = "several heads and none is named" if name is None else "no such head"
    raise HeadError(f"{problem}: {listing} {_listing(head.name for head in heads)}", param="head")


def _listing(names: Iterable[str]) -> str:
    """Names for a message: some, when there are many."""
    every = list(names)
    rest = f" and {len(every) - LISTED} more" if len(every) > LISTED else ""
    return ", ".join(every[:LISTED]) + rest
