"""What do the result files of speed under load say?"""

from typing import Literal

from pydantic import Field

from benchmarks.schema.common import CeilingFigures, Corpus, Figures, Latency, LoadFigures, Origin, ServiceFigures


class Direct(Figures):
    """Calls in this process, one after the other, tokenising included: what a caller would wait for without HTTP."""

    runner: Literal["lane", "wide"] = Field(description="The faster of the two, by the median.")
    latency: Latency


class Closed(Figures):
    """One closed loop between two runs of the ceiling over the same texts."""

    before: CeilingFigures
    after: CeilingFigures
    direct: Direct | None = Field(description="Of the same texts; one client only.")
    load: LoadFigures
    service: ServiceFigures

    @property
    def ceiling_per_s(self) -> float:
        """Texts a second: the mean of both."""
        return (self.before.texts_per_s + self.after.texts_per_s) / 2

    @property
    def share(self) -> float:
        """Texts a second, of the ceiling's."""
        return self.load.texts_per_s / self.ceiling_per_s

    @property
    def cpu_share(self) -> float:
        """Texts a second of CPU, of the ceiling's; the load generator is not counted."""
        ceiling_ms = (self.before.cpu_ms_per_text + self.after.cpu_ms_per_text) / 2
        return ceiling_ms / self.service_ms

    @property
    def service_ms(self) -> float:
        """CPU milliseconds of all processes of the service for each text answered."""
        texts = self.load.answered * self.load.texts_a_request
        return 1000 * sum(self.service.cpu_s.values()) / texts if texts else float("inf")


class Open(Figures):
    """One open loop, and direct calls of its texts."""

    load_share: float = Field(description="Rate offered, of the highest that a closed loop reached.")
    direct: Direct | None
    paused: Direct | None = Field(description="Direct calls with a pause before each, as far apart as requests are.")
    load: LoadFigures
    service: ServiceFigures


class Bench(Figures):
    """results/bench-<plan>.json: single texts, closed and open loop, against the ceiling of the same plan."""

    kind: Literal["bench"] = "bench"
    plan: str = Field(description="What was asked for: fp32, int8 …")
    plan_name: str = Field(description="What the service says it runs.")
    origin: Origin
    model: str
    device: str
    corpus: Corpus
    sweep: list[CeilingFigures]
    closed: list[Closed]
    capacity_per_s: float = Field(description="The highest rate of the closed loops.")
    open_loop: list[Open]
    knee_per_s: float | None = Field(description="The highest rate offered with p99 within 3 times that at the lowest.")

    @property
    def file(self) -> str:
        """The name of the result file."""
        return f"bench-{self.plan}"


class Cell(Figures):
    """One length, number of texts a request and format, 32 texts or more in the house."""

    tokens: int
    texts_a_request: int
    format: Literal["json", "base64", "bytes"]
    ceiling: CeilingFigures
    load: LoadFigures
    service: ServiceFigures


class Full(Figures):
    """results/full-<plan>.json: lengths by texts a request by format."""

    kind: Literal["full"] = "full"
    plan: str
    plan_name: str
    origin: Origin
    model: str
    cells: list[Cell]
    left_out: list[str] = Field(description="What this service does not offer.")

    @property
    def file(self) -> str:
        """The name of the result file."""
        return f"full-{self.plan}"


class Peer(Figures):
    """One server under the loads that all get."""

    name: str
    versions: dict[str, str]
    command: str
    one: LoadFigures
    many: LoadFigures
    cpu_ms_a_text: float = Field(description="Of all its processes, at many clients.")


class Offline(Figures):
    """What a program reaches that knows all texts in advance."""

    name: str
    texts_per_s: float


class Peers(Figures):
    """results/peers.json: other servers and ours on the same machine, texts and requests, in one run."""

    kind: Literal["peers"] = "peers"
    origin: Origin
    model: str
    corpus: Corpus
    clients: int
    offline: list[Offline]
    servers: list[Peer]
    failed: dict[str, str] = Field(description="Servers that could not be measured, and why.")
