"""What is in a bundle?

`manifest.json` says it all; nothing else in the folder is trusted unless the manifest names it. The types are
strict and closed: an unknown field, a wrong type or a broken cross-reference refuses the bundle. The format is
described in docs/bundle-format.md; its JSON Schema is `Manifest.model_json_schema()`.
"""

import re
from datetime import datetime
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.bundle.vectors import VectorInput

FORMAT: Final = 3
MANIFEST_FILE = "manifest.json"
EMBEDDING_OUTPUT = "sentence_embedding"  # not `embedding`: torch's dynamo export lets that name stand twice

NAME_PATTERN = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
PoolingMode = Literal["mean", "cls", "max", "lasttoken", "mean_sqrt_len_tokens", "weightedmean"]
Pooling = PoolingMode | Annotated[list[PoolingMode], Field(min_length=2)]  # several: their vectors one after the other
FIRST_POOLINGS = ("mean", "cls", "max")  # those of formats 1 and 2
Precision = Literal["fp32", "fp16", "bf16", "int8"]
Device = Literal["any", "cpu", "cuda"]
Role = Literal["model", "weights", "tokenizer", "scope", "golden-inputs", "golden-outputs", "report", "card"]
ScopeScore = Literal["max_probability", "energy", "mahalanobis"]  # app/bundle/scope.py
Json = dict[str, object]


def _is_time(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return text


class Strict(BaseModel):
    """Base of everything in a manifest: frozen, closed, no conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Tensor(Strict):
    """An input or output of the graph. `axes` names each dimension: `batch`, `tokens`, or a fixed size."""

    name: str
    dtype: Literal["int64", "int32", "float32"]
    axes: list[str | int]


class OutOfScope(Strict):
    """When a text belongs to no label: its score is under `threshold`. Fitted on held-out rows."""

    score: ScopeScore
    threshold: float = Field(allow_inf_nan=False)

    @model_validator(mode="after")
    def _threshold_can_be_met(self) -> Self:
        if self.score == "max_probability" and not 0 <= self.threshold <= 1:
            raise ValueError(f"the threshold of a probability is from 0 to 1, not {self.threshold:g}")
        return self


class EmbedHead(Strict):
    """The pooled vector itself."""

    name: Name
    task: Literal["embed"] = "embed"
    output: str
    dimensions: int = Field(ge=1)
    cuts: list[int] = []  # Matryoshka: sizes the vector was trained to be cut to; empty: any cut is the caller's risk
    normalize: bool = True  # what /embed does when the request does not say


class ClassifyHead(Strict):
    """A classifier: one logit per label, in the order of `labels`."""

    name: Name
    task: Literal["classify"] = "classify"
    output: str
    problem_type: Literal["single_label", "multi_label", "regression"]
    labels: list[str] = Field(min_length=1)
    temperature: float = Field(default=1.0, gt=0)  # logits are divided by it; fitted on dev, 1 until fitted
    thresholds: dict[str, float] = {}  # multi-label: per label; empty until fitted
    conformal: dict[str, float] = {}  # coverage → quantile of 1 - p(true label); empty until fitted
    out_of_scope: OutOfScope | None = None

    @model_validator(mode="after")
    def _labels_are_unique(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("labels repeat")
        if unknown := set(self.thresholds) - set(self.labels):
            raise ValueError(f"thresholds for unknown labels: {sorted(unknown)}")
        return self


Head = Annotated[EmbedHead | ClassifyHead, Field(discriminator="task")]


class BundleFile(Strict):
    """One file: where, what for, and how to tell it is the same. `unverified`: not yet run on its device."""

    path: str
    role: Role
    bytes: int = Field(ge=0)
    sha256: Sha256
    device: Device = "any"
    precision: Precision | None = None  # models and their weights only
    state: Literal["verified", "unverified"] = "verified"

    @model_validator(mode="after")
    def _path_stays_inside(self) -> Self:
        parts = self.path.split("/")
        if not all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", part) for part in parts) or len(parts) > 2:
            raise ValueError(f"file path {self.path!r} is not a plain name, or one folder and a plain name")
        if (self.role in ("model", "weights")) != (self.precision is not None):
            raise ValueError(f"{self.path}: a model file and its weights have a precision and no other file has one")
        return self


class Trunk(Strict):
    """The encoder under the heads. `sha256` covers its weights, so heads of one trunk can be told."""

    architecture: str
    source: str
    sha256: Sha256
    hidden: int = Field(ge=1)


class Golden(Strict):
    """How many golden rows there are, and how far a device may stray from their outputs."""

    rows: int = Field(ge=32)
    max_abs_diff: float = Field(default=1e-4, gt=0)  # unit vectors and probabilities
    min_cosine: float = Field(default=0.9999, gt=0, le=1)


class Parity(Strict):
    """What the gate measured for one model file against the model it was made of."""

    rows: int
    vector_max_abs_diff: float | None = None  # None: the graph gives no vector
    logits_max_abs_diff: float | None = None
    labels_equal: bool | None = None
    alone_max_abs_diff: float  # a row alone against the same row in a batch: its vector, or its logits without one
    seconds: float


class HeadAgreement(Strict):
    """What the gate measured for a classifier of an int8 pair; nothing where it had no labelled rows."""

    judged_rows: int = 0
    labels_equal: float | None = None  # the share of the rows with the same label
    metric: float | None = None
    metric_fp32: float | None = None


class Agreement(HeadAgreement):
    """What the gate measured for an int8 pair against the fp32 graph; of a classifier with that of its primary head."""

    rows: int
    mean_cosine: float
    worst_cosine: float
    alone_worst_cosine: float  # a row alone to the same row in a batch
    left_out: list[str]  # products that run in float32 because the limits were missed with them in int8
    more_heads: dict[str, HeadAgreement] = {}  # of the other classifiers, by name
    seconds: float


class Manifest(Strict):
    """The whole description of one version of one model."""

    format: Literal[1, 2, 3]  # 2: weights may lie in a file of their own; 3: more poolings, scores of scope, vectors
    name: Name
    version: int = Field(ge=1)
    created: Annotated[str, AfterValidator(_is_time)]  # RFC 3339, UTC
    modality: Literal["text", "vectors"]
    vectors: VectorInput | None = None  # of that modality: what its rows are
    trunk: Trunk
    heads: list[Head] = Field(min_length=1)  # the first is the primary head: what the model is for
    pooling: Pooling
    max_tokens: int = Field(ge=1)  # of vectors: how many a row has at most
    pad_id: int = Field(ge=0)
    prompts: dict[str, str] = {}
    space: str  # fingerprint of the vector space: bundles that share it may be mixed in one index
    inputs: list[Tensor] = Field(min_length=1)
    outputs: list[Tensor] = Field(min_length=1)
    files: list[BundleFile] = Field(min_length=1)
    golden: Golden
    parity: dict[str, Parity | Agreement]  # by model file
    fused_ops: dict[str, dict[str, int]] = {}  # by model file: operator → count
    metrics: Json = {}
    reference: Json = {}  # statistics of the training inputs, for drift
    training: Json = {}  # resolved recipe, seed, data digests, library versions

    @model_validator(mode="after")
    def _cross_references_hold(self) -> Self:
        names = [head.name for head in self.heads]
        if len(set(names)) != len(names):
            raise ValueError("head names repeat")
        outputs = {output.name for output in self.outputs}
        if missing := [head.output for head in self.heads if head.output not in outputs]:
            raise ValueError(f"heads read outputs the graph does not have: {missing}")
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("files repeat")
        for role in ("golden-inputs", "golden-outputs"):
            if sum(file.role == role for file in self.files) != 1:
                raise ValueError(f"a bundle has exactly one {role} file")
        if not any(file.precision == "fp32" for file in self.files):
            raise ValueError("a bundle has an fp32 model file")
        graphs = [file for file in self.files if file.role == "model" and file.path.endswith(".xml")]
        weights = [file for file in self.files if file.role == "weights"]
        if sorted(map(_other_half, graphs)) != sorted((file.path, file.precision, file.device) for file in weights):
            raise ValueError("a graph in XML and its weights come together: model.int8.xml and model.int8.bin")
        if self.format == 1 and weights:
            raise ValueError("weights in a file of their own came with format 2")
        if self.format < 3 and self.pooling not in FIRST_POOLINGS:
            raise ValueError(f"pooling {pooling_name(self.pooling)} came with format 3")
        return self

    @model_validator(mode="after")
    def _input_is_of_its_modality(self) -> Self:
        if (self.modality == "vectors") != (self.vectors is not None):
            raise ValueError('`modality = "vectors"` and `vectors` come together')
        if sum(file.role == "tokenizer" for file in self.files) != (self.vectors is None):
            raise ValueError("a bundle of texts has exactly one tokenizer file, one of vectors has none")
        if self.vectors is None:
            if self.max_tokens < 3:
                raise ValueError(f"a text has at least 3 tokens, and max_tokens is {self.max_tokens}")
            return self
        if self.format < 3:
            raise ValueError("vectors came with format 3")
        if [(one.name, one.dtype, one.axes) for one in self.inputs] != self.vectors.inputs:
            raise ValueError(f"inputs of these vectors are {self.vectors.inputs}")
        if not self.vectors.is_sequence and self.max_tokens != 1:
            raise ValueError(f"a row is one vector, and max_tokens is {self.max_tokens}")
        return self

    @model_validator(mode="after")
    def _scopes_have_what_they_need(self) -> Self:
        rules = [head.out_of_scope for head in self.heads if isinstance(head, ClassifyHead) and head.out_of_scope]
        scores = [rule.score for rule in rules]
        if self.format < 3 and set(scores) - {"max_probability"}:
            raise ValueError("scores of scope beside max_probability came with format 3")
        files = sum(file.role == "scope" for file in self.files)
        if (wanted := scores.count("mahalanobis")) > 1 or files != wanted:
            raise ValueError("one head at most is scored by mahalanobis, and has its means in one file of role scope")
        return self

    def file(self, role: Role) -> BundleFile:
        """The one file with this role (for roles of which a bundle has exactly one)."""
        return next(file for file in self.files if file.role == role)

    def model_file(self, precision: Precision, device: Device = "any") -> BundleFile | None:
        """The model file of this precision for this device, if the bundle has one."""
        wanted = (precision, device)
        return next((f for f in self.files if f.role == "model" and (f.precision, f.device) == wanted), None)

    def weights_file(self, precision: Precision) -> BundleFile | None:
        """The file that holds the weights of a model in two files, if the bundle has one."""
        return next((file for file in self.files if file.role == "weights" and file.precision == precision), None)


def pooling_name(pooling: Pooling) -> str:
    """The pooling in one word: `mean`, or `cls+mean` where two vectors are joined."""
    return pooling if isinstance(pooling, str) else "+".join(pooling)


def _other_half(graph: BundleFile) -> tuple[str, Precision | None, Device]:
    """What the file with the weights of a graph in XML must be."""
    return graph.path.removesuffix(".xml") + ".bin", graph.precision, graph.device
