"""How does a front end reach its engines, also when one dies?

Each request goes to the engine with the least work before it. When an engine dies, what it had not answered is sent
again – once; inference has no side effects –, to another engine or to the next one that listens there. What is held by
two engines that die is failed. Requests that find no engine wait for one until their deadlines, unless it is known that
engines refuse to start.
"""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.engine.frames import Kind, pack_cancel, pack_work, unpack_answer, unpack_failure
from app.engine.link import Link
from app.errors import EngineFailedError, NotReadyError
from app.types import Answer, EngineStatus, ModelKey, ModelStatus, Work

MAX_SENDS = 2


@dataclass(slots=True)
class Pending:
    """A request without an answer, where it is, and how many engines have had it."""

    id: int
    work: Work
    tokens: int
    future: asyncio.Future[Answer]
    link: Link | None = None
    sends: int = 0


class RemoteEngine:
    """The engines behind the Unix sockets at `paths`, as one `app.types.Engine`."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._links = [Link(path, self) for path in paths]
        self._pending: dict[int, Pending] = {}
        self._ids = itertools.count(1)
        self._refusal: str | None = None
        self._any_up, self._all_up = asyncio.Event(), asyncio.Event()

    def start(self) -> None:
        """Begin to keep the connections. Needs a running loop."""
        for link in self._links:
            link.start()

    async def connected(self) -> None:
        """Return once an engine has said what it holds: one that does not come up takes no other away."""
        await self._any_up.wait()

    async def all_connected(self) -> None:
        """Return once every engine has said what it holds."""
        await self._all_up.wait()

    async def close(self) -> None:
        """Give the connections up; what has no answer fails."""
        for pending in self._pending.values():
            _fail(pending, NotReadyError("the service is shutting down"))
        for link in self._links:
            await link.close()

    def status(self) -> EngineStatus:
        """Ready while any engine is. A model's lanes are those of all engines that hold it."""
        statuses = [link.status() for link in self._links]
        models: dict[ModelKey, ModelStatus] = {}
        for model in itertools.chain.from_iterable(status.models for status in statuses):
            if (known := models.get(model.key)) is not None:
                lanes = known.cost.lanes + model.cost.lanes
                model = replace(known, cost=replace(known.cost, lanes=lanes))  # the merged one
            models[model.key] = model
        return EngineStatus(
            is_ready=any(status.is_ready for status in statuses),
            models=list(models.values()),
            oldest_batch_s=max(status.oldest_batch_s for status in statuses),
            refusal=None if any(link.is_up for link in self._links) else self._refusal,
        )

    async def submit(self, work: Work) -> Answer:
        """See `app.types.Engine`."""
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        pending = Pending(next(self._ids), work, sum(map(len, work.rows)), future)
        self._pending[pending.id] = pending
        self._route(pending)
        try:
            return await pending.future
        except asyncio.CancelledError:
            if pending.link is not None:
                pending.link.send(pack_cancel(pending.id))
            raise
        finally:
            self._leave(pending)
            del self._pending[pending.id]

    def refused(self, reason: str | None) -> None:
        """Why engines refuse to start, as far as known: while there is none, what waits for one fails with it."""
        self._refusal = reason
        if reason is not None:
            self._route_waiting()

    def link_up(self, link: Link) -> None:
        """See `Owner`: what waits for an engine has one."""
        self._refusal = None
        self._any_up.set()
        if all(each.is_up for each in self._links):
            self._all_up.set()
        self._route_waiting()

    def link_down(self, link: Link) -> None:
        """See `Owner`: what it held goes to another engine, or waits."""
        link.tokens = 0
        for pending in self._pending.values():
            if pending.link is not link:
                continue
            pending.link = None
            if pending.sends >= MAX_SENDS:
                _fail(pending, EngineFailedError("the engine died twice while it held this request"))
            else:
                self._route(pending)

    def link_frame(self, kind: Kind, body: bytes) -> None:
        """See `Owner`."""
        if kind is Kind.ANSWER:
            id, answer = unpack_answer(body)
            if (pending := self._pending.get(id)) is not None and not pending.future.done():
                pending.future.set_result(answer)
        elif kind is Kind.FAILURE:
            failure = unpack_failure(body)
            if (pending := self._pending.get(failure.id)) is not None:
                _fail(pending, failure.error)

    def _route_waiting(self) -> None:
        for pending in self._pending.values():
            if pending.link is None:
                self._route(pending)

    def _route(self, pending: Pending) -> None:
        """Send to the engine with the least work before it; without an engine, leave it waiting if one may come."""
        up = [link for link in self._links if link.is_up]
        if not up and self._refusal is not None:
            _fail(pending, NotReadyError(f"the engine does not start: {self._refusal}", retry_after_ms=1000))
        if not up or pending.future.done():
            return
        holding = [link for link in up if pending.work.model in link.models()]
        if not holding:
            _fail(pending, NotReadyError(f"no engine holds {pending.work.model}"))
            return
        link = min(holding, key=lambda each: (not each.status().is_ready, each.tokens))
        pending.link, pending.sends = link, pending.sends + 1
        link.tokens += pending.tokens
        link.send(pack_work(pending.id, pending.work, link.models()))

    def _leave(self, pending: Pending) -> None:
        if pending.link is not None:
            pending.link.tokens -= pending.tokens


def _fail(pending: Pending, error: Exception) -> None:
    if not pending.future.done():
        pending.future.set_exception(error)
