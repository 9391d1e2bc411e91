"""Does a child still work, or does it only exist?

The supervisor listens to each engine's heartbeats as a front end does. An engine that is silent, whose oldest batch has
run for far too long, or that has made no forward pass for as long, is ended; its successor runs again what it held.
Front ends beat on their board (app/serving/board.py): one whose event loop has not turned for long is ended too.
What counts is what was watched: nothing before the first look, nor while this process was itself held up, frozen with
its container or asleep with its machine, is held against a child.
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from app.engine.frames import Kind
from app.engine.link import Link
from app.serving import board

LOOK_S = 0.5
SILENT_S = 5.0  # twenty heartbeats; a machine that is merely busy delays them by less
FRONT_END_SILENT_S = 10.0  # ten beats; one event loop does all its work, and a large body holds it up for a moment
LATE_S = 2.0  # of a look: nobody watched meanwhile
STUCK_S = 20.0  # the largest batch that the scheduler forms takes a CPU some two seconds


class Watched(Protocol):
    """A child's process (`app.processes.process.Process`)."""

    ready_s: float | None  # since when it serves; None while it does not

    async def end_hanging(self, reason: str) -> None:
        """Kill it; another one is started in its place."""
        ...


class Watch:
    """The health of all children as their supervisor sees it. `paths[i]` is where `engines[i]` listens; `front_ends[i]`
    beats in row i of `board_file`.
    """

    def __init__(
        self, engines: Sequence[Watched], paths: Sequence[Path], front_ends: Sequence[Watched], board_file: Path
    ) -> None:
        self._engines, self._front_ends, self._board_file = engines, front_ends, board_file
        self._links = [Link(path, self) for path in paths]
        self._begin()

    async def run(self) -> None:
        """Watch until cancelled."""
        for link in self._links:
            link.start()
        self._begin()
        try:
            while True:
                await self._sleep()
                for child, reason in [*self._hanging_engines(), *self._hanging_front_ends()]:
                    await child.end_hanging(reason)
        finally:
            for link in self._links:
                await link.close()

    def link_up(self, link: Link) -> None:
        """See `app.engine.link.Owner`: `_look` sees it."""

    def link_down(self, link: Link) -> None:
        """See `app.engine.link.Owner`: `Process.keep` sees the death itself."""

    def link_frame(self, kind: Kind, body: bytes) -> None:
        """See `app.engine.link.Owner`: a supervisor asks nothing, so nothing comes."""

    def _begin(self) -> None:
        self._since_s = time.monotonic()
        self._well_s = [self._since_s] * len(self._links)  # when each was last ready, or not there

    async def _sleep(self) -> None:
        """Until the next look; where it comes late, all begins anew."""
        asleep_s = time.monotonic()
        await asyncio.sleep(LOOK_S)
        if time.monotonic() - asleep_s > LATE_S:
            self._begin()

    def _hanging_engines(self) -> Iterator[tuple[Watched, str]]:
        for number, link in enumerate(self._links):
            if (reason := self._look(number, link)) is not None:
                yield self._engines[number], reason

    def _hanging_front_ends(self) -> Iterator[tuple[Watched, str]]:
        try:
            beats_s = board.beats_s(self._board_file)
        except OSError:  # no descriptor left, or the folder is gone: nothing is known, nobody is to blame
            return
        for child, beat_s in zip(self._front_ends, beats_s, strict=False):  # the board has room for more
            if child.ready_s is None or not beat_s:  # it is being started, or found no room to write
                continue
            if (silent_s := self._silent_s(child.ready_s, beat_s)) > FRONT_END_SILENT_S:
                yield child, f"silent for {silent_s:.1f} s"

    def _silent_s(self, serving_since_s: float, heard_s: float) -> float:
        return time.monotonic() - max(heard_s, serving_since_s, self._since_s)

    def _look(self, number: int, link: Link) -> str | None:
        """Why this engine has to end, if it has to."""
        status, now_s = link.status(), time.monotonic()
        serving_since_s = self._engines[number].ready_s
        if serving_since_s is None or status.is_ready:
            self._well_s[number] = now_s
        if serving_since_s is None:  # it is being started, which has a limit of its own
            return None
        if (silent_s := self._silent_s(serving_since_s, link.heard_s)) > SILENT_S:
            return f"silent for {silent_s:.1f} s"
        if min(status.oldest_batch_s, now_s - self._since_s) > STUCK_S:
            return f"a batch has run for {status.oldest_batch_s:.0f} s"
        if now_s - self._well_s[number] > STUCK_S:
            return f"no forward pass for {now_s - self._well_s[number]:.0f} s"
        return None
