"""How does a person see that work goes on?

On a terminal: bars and spinners that move (rich). Elsewhere – a log, a container, CI – plain lines, a bar at most one
every few seconds. Everything goes to standard error, so that standard output keeps to results.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

PLAIN_EVERY_S = 5.0


class Bar:
    """Work with a known number of units. `note` is what a person wants to know just now (loss, rows/s)."""

    def advance(self, count: int = 1, *, note: str = "") -> None:
        """`count` more units are done."""


class Progress:
    """Says what is going on.

    Args:
        console: where to; None: standard error.
        clock: seconds that only grow.
    """

    def __init__(self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._clock = clock

    def say(self, line: str) -> None:
        """One line, as it is."""
        self._console.print(line, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Work of unknown length: a spinner, or a line before; then a line with the seconds it took."""
        start_s = self._clock()
        if self._console.is_terminal:
            with self._console.status(title):
                yield
        else:
            self.say(f"{title} …")
            yield
        self.say(f"{title}: {self._clock() - start_s:.1f} s")

    @contextmanager
    def bar(self, title: str, total: int, *, done: int = 0) -> Iterator[Bar]:
        """Work of `total` units, of which `done` are done already."""
        if self._console.is_terminal:
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
            with RichProgress(
                *columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}"), console=self._console
            ) as rich:
                yield _RichBar(rich, rich.add_task(title, total=total, completed=done, note=""))
        else:
            bar = _PlainBar(self, title, total, done, self._clock)
            yield bar
            bar.close()


class _RichBar(Bar):
    def __init__(self, rich: RichProgress, task: TaskID) -> None:
        self._rich = rich
        self._task = task

    def advance(self, count: int = 1, *, note: str = "") -> None:
        self._rich.update(self._task, advance=count, note=note)


class _PlainBar(Bar):
    def __init__(self, progress: Progress, title: str, total: int, done: int, clock: Callable[[], float]) -> None:
        self._progress = progress
        self._title = title
        self._total = total
        self._done = done
        self._note = ""
        self._clock = clock
        self._said_s = clock()
        self._began, self._began_s = done, self._said_s

    def advance(self, count: int = 1, *, note: str = "") -> None:
        self._done += count
        self._note = note
        if self._done < self._total and self._clock() - self._said_s >= PLAIN_EVERY_S:
            self.close()

    def close(self) -> None:
        """Say where the work stands."""
        self._said_s = self._clock()
        parts = [f"{self._title}: {self._done}/{self._total}", self._left(), self._note]
        self._progress.say("  ".join(filter(None, parts)))

    def _left(self) -> str:
        """How long the rest takes at the pace so far; nothing at the end."""
        done = self._done - self._began
        if not done or self._done >= self._total:
            return ""
        left_s = round((self._total - self._done) * (self._said_s - self._began_s) / done)
        return f"{left_s // 60}:{left_s % 60:02} left"
