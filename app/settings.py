"""Which knobs does the service have, and why do they stand where they stand?

`load_settings` is called once a process; what it returns is frozen and handed down. Values come from the environment
(`ENCODERY_PORT`, nested `ENCODERY_ADMISSION__MAX_WAIT_MS`); command-line flags are turned into variables before. No
`.env` file is read. An unknown `ENCODERY_` name or a bad value stops the start with one line (`SettingsError`).
docs/operations.md and .env.example are generated from the fields below (docs/generate.py).
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as SourceError

PREFIX = "ENCODERY_"
NESTING = "__"
TRAINING_NAMES = frozenset({"ENCODERY_DATA"})  # read by recipes (`${ENCODERY_DATA}`), not by the service


class SettingsError(Exception):
    """A setting is unknown or has a value the service cannot take. The message is one line for a person."""


class Limits(BaseModel):
    """What one request may hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_bytes: int = Field(
        default=8 * 2**20,
        ge=1024,
        le=2**30,
        description="Largest request body. 8 MiB hold 2,048 texts of 4,000 letters, more than the token limit lets in.",
    )
    text_bytes: int = Field(
        default=128 * 2**10,
        ge=1024,
        le=2**30,
        description="Longest text, in UTF-8. All of it is tokenised before it is cut to the model's length: 128 KiB, "
        "some 60 pages, take 50 to 100 ms of a core.",
    )
    texts: int = Field(
        default=2048,
        ge=1,
        le=65_536,
        description="Most texts in one request. 2,048 is what OpenAI's embeddings endpoint takes, so clients fit.",
    )
    request_tokens: int = Field(
        default=262_144,
        ge=1,
        le=2**26,
        description="Most tokens in one request, all texts together: 2,048 texts of 128 tokens.",
    )


class HttpSettings(BaseModel):
    """What a connection may send, and how long it may take."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    head_bytes: int = Field(
        default=16_384,
        ge=1024,
        le=2**20,
        description="Largest request line and header fields together. Proxies add some 2 KiB; cookies are not ours.",
    )
    head_fields: int = Field(
        default=64, ge=8, le=1024, description="Most header fields of a request. Clients and proxies send 5 to 30."
    )
    head_timeout_s: int = Field(
        default=10,
        ge=1,
        le=600,
        description="Longest time from the first byte of a request to the end of its header fields, however steadily "
        "bytes arrive; after it 408. Who trickles them holds a connection, not a worker.",
    )
    body_timeout_s: int = Field(
        default=30,
        ge=1,
        le=3600,
        description="Longest time for the body after that; after it 408. The largest body then needs 2.3 Mbit/s.",
    )
    keep_alive_s: int = Field(
        default=65,
        ge=1,
        le=3600,
        description="How long a connection may stay open without a request. Longer than the 60 s of common load "
        "balancers, so that they close first and no request meets a closing connection.",
    )


class AdmissionSettings(BaseModel):
    """When a request is refused instead of queued."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_wait_ms: int = Field(
        default=2000,
        ge=1,
        le=600_000,
        description="Longest predicted wait, one that nine of ten stay below. Over it a request is refused at once "
        "(429) with the wait in the answer; two seconds let bursts through and refuse what an interactive caller would "
        "have given up on.",
    )


class Settings(BaseSettings):
    """Everything that can be set, with its reason."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter=NESTING,
        env_ignore_empty=True,  # compose files pass `ENCODERY_LANES=` for "not set"
        env_file=None,
    )

    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on. This machine alone by default, because the service has no accounts: "
        "whoever reaches the port may use it.",
    )
    port: int = Field(
        default=8000, ge=0, le=65_535, description="Port to listen on; 0 takes any free one and prints it."
    )
    models_dir: Path = Field(
        default=Path("models"),
        description="Folder that holds `store/<name>/<version>/`. Training writes to the same place by default.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="Where models run. `auto` takes CUDA where ONNX Runtime offers it; `cuda` refuses to start without "
        "it, for nothing is slower than a GPU service that quietly runs on the CPU.",
    )
    plan: Literal["auto", "fp32", "bf16", "int8"] = Field(
        default="auto",
        description="How models are executed. `auto` measures what the bundle and the machine allow and takes the "
        "fastest whose golden inputs agree; a precision pins its plan and refuses to start where it cannot be had.",
    )
    workers: int = Field(
        default=1,
        ge=0,
        le=64,
        description="Front-end processes, which parse, tokenise and render: about 4,000 requests/s each. "
        "0 runs everything in one process, for development.",
    )
    lanes: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Batches run side by side on the CPU, one thread each. Unset: one a core and a spare one, so "
        "that no core waits while a batch is formed.",
    )
    engines: int | None = Field(
        default=None,
        ge=1,
        le=64,
        description="Engine processes, one a device. Unset: one for each GPU that CUDA shows, or one on the CPU; "
        "several on the CPU share its cores.",
    )
    cache_bytes: int = Field(
        default=0,
        ge=0,
        le=2**40,
        description="Memory for vectors and logits of texts that ran, in each engine: a text that comes again is not "
        "run again. Off by default, because traffic that repeats itself is the exception, and a benchmark the rule.",
    )
    timeout_ms: int = Field(
        default=30_000,
        ge=1,
        le=600_000,
        description="Deadline of a request, in milliseconds. A caller may lower it with `timeout_ms`, never raise it.",
    )
    log_format: Literal["auto", "json", "text"] = Field(
        default="auto",
        description="One line a request: `json` for collectors, `text` for people. `auto` is text on a terminal.",
    )
    limits: Limits = Limits()
    http: HttpSettings = HttpSettings()
    admission: AdmissionSettings = AdmissionSettings()

    @model_validator(mode="after")
    def _one_process_has_one_engine(self) -> Self:
        if self.workers == 0 and (self.engines or 1) > 1:
            raise PydanticCustomError(
                "one_process", "ENCODERY_WORKERS=0 runs everything in one process; leave ENCODERY_ENGINES out"
            )
        return self

    @property
    def plans(self) -> Path:
        """Where the measured choice of each model's execution plan is kept."""
        return self.models_dir / "cache" / "plans"

    @property
    def store(self) -> Path:
        """Where the bundles lie."""
        return self.models_dir / "store"


@dataclass(frozen=True, slots=True)
class Setting:
    """One leaf of `Settings` by the name of its environment variable."""

    name: str
    field: FieldInfo


def settings_list(model: type[BaseModel] = Settings, prefix: str = PREFIX) -> list[Setting]:
    """Every leaf setting, in the order of the fields."""
    leaves: list[Setting] = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            leaves += settings_list(field.annotation, f"{prefix}{name.upper()}{NESTING}")
        else:
            leaves.append(Setting(f"{prefix}{name.upper()}", field))
    return leaves


def load_settings() -> Settings:
    """The settings of the environment.

    Raises:
        SettingsError: an unknown name, or a value out of range; names the variable and the nearest known one.
    """
    _refuse_unknown_names(os.environ)
    try:
        return Settings()
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(problem) for problem in error.errors())) from error
    except SourceError as error:
        raise SettingsError(str(error)) from error


def _refuse_unknown_names(environ: Mapping[str, str]) -> None:
    known = {setting.name for setting in settings_list()} | TRAINING_NAMES
    for name in sorted(environ):
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            nearest = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.0)[0]
            raise SettingsError(f"{name} is no setting of the service; the nearest known name is {nearest}")


def _explain(problem: Mapping[str, object]) -> str:
    location = problem["loc"]
    if not location:  # about several
        return str(problem["msg"])
    name = NESTING.join(str(part) for part in location) if isinstance(location, tuple) else str(location)
    return f"{PREFIX}{name.upper()}={problem['input']!r}: {problem['msg']}"
