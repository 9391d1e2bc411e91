"""How is one child process started, watched, started again and ended?

`app/processes/child.py` is the other end of this: the `lifeline` and `notify` pipes.
"""

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from app.processes.restarts import Restarts

log = logging.getLogger(__name__)

START_S = 120.0  # a child that is not ready by then never will be
DUMP_S = 0.5  # for a hanging child to print where its threads stand
REFUSALS_MAX = 3  # in a row: what a child refuses seldom passes by itself, but a file may be in the middle of a change
HINTS: dict[int, str] = {  # what most often lies behind it
    signal.SIGKILL: " (the kernel does that when memory is short)",
    signal.SIGBUS: " (a page had no block: the disk that holds TMPDIR or the models is full or was taken away)",
}


class StartError(Exception):
    """The service cannot start; the message is one line for a person."""


class RefusedError(StartError):
    """A child says that it cannot serve, and why."""


class Process:
    """One child that is to run until `stop`."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        environ: Mapping[str, str],
        lifeline: int,
        fds: Sequence[int] = (),
        on_death: Callable[[int], None],
        on_refusal: Callable[[str | None], None] = lambda _: None,
    ) -> None:
        self.name = name
        self._arguments = [*arguments, "--lifeline", str(lifeline)]
        self._environ = environ
        self._fds = (lifeline, *fds)
        self._on_death = on_death  # gets the pid of a child that died without being told to
        self._on_refusal = on_refusal  # gets the reason of a start that was refused; None once one was not
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self.ready_s: float | None = None  # since when it serves; None while it does not

    @property
    def pid(self) -> int:
        """The process id of the one that runs now."""
        assert self._process is not None
        return self._process.pid

    async def start(self) -> None:
        """Start it and return once it is ready.

        Raises:
            RefusedError: it refused, with its reason. StartError: there is no process or descriptor left for it, it
                ended, or it took longer than `START_S`.
        """
        try:
            told, self._process = await self._spawn()
        except OSError as error:
            raise StartError(f"the {self.name} process cannot be started: {error.strerror}") from error
        try:
            line = await _read_line(told)
        except StartError:
            self._process.kill()  # else `keep` would wait for the end of what hangs
            raise
        if line == "ready":
            self.ready_s = time.monotonic()
            self._on_refusal(None)
            return
        code = await self._process.wait()
        if line.startswith("refused "):
            reason = line.removeprefix("refused ")
            self._on_refusal(reason)
            raise RefusedError(reason)
        raise StartError(f"the {self.name} process {_death(code)}")

    async def _spawn(self) -> tuple[int, asyncio.subprocess.Process]:
        """The process, and the end of the pipe that it speaks into."""
        told, notify = os.pipe()
        try:
            # A session of its own: Ctrl-C reaches the supervisor alone, which then ends its children in order.
            return told, await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", *self._arguments, "--notify", str(notify)),
                env=self._environ,
                pass_fds=(*self._fds, notify),
                start_new_session=True,
            )
        except OSError:
            os.close(told)
            raise
        finally:
            os.close(notify)

    async def keep(self) -> None:
        """Start it again whenever it dies, until `stop`.

        Raises:
            StartError: it has died too often, or refuses to start.
        """
        restarts, refusals = Restarts(time.monotonic), 0
        while True:
            assert self._process is not None
            code = await self._process.wait()
            if self._stopping:
                return
            served_s, self.ready_s = time.monotonic() - (self.ready_s or time.monotonic()), None
            log.error("the %s process (pid %d) %s; starting it again", self.name, self.pid, _death(code))
            self._on_death(self.pid)
            wait_s = restarts.next_s(served_s)
            if wait_s is None:
                reason = f"the {self.name} process dies again and again; the last time it {_death(code)}"
                self._on_refusal(reason)  # nobody waits for it any more
                raise StartError(reason)
            await asyncio.sleep(wait_s)
            try:
                await self.start()
                refusals = 0
            except RefusedError as error:
                log.error("the %s process refused to start: %s", self.name, error)
                refusals += 1
                if refusals == REFUSALS_MAX:
                    raise StartError(f"the {self.name} process refuses to start: {error}") from error
            except StartError as error:  # perhaps later
                log.error("the %s process did not start: %s", self.name, error)

    async def end_hanging(self, reason: str) -> None:
        """Kill it, so that `keep` starts another; its threads' stacks go to standard error first."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        log.error("the %s process (pid %d) hangs (%s); killing it", self.name, process.pid, reason)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGABRT)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), DUMP_S)
        with contextlib.suppress(ProcessLookupError):
            process.kill()

    async def stop(self, grace_s: float) -> None:
        """Ask it to end, and kill it when it has not after `grace_s`."""
        self._stopping = True
        if self._process is None or self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), grace_s)
        except TimeoutError:
            log.error("the %s process (pid %d) did not end within %.0f s; killing it", self.name, self.pid, grace_s)
            self._process.kill()
            await self._process.wait()

    def kill(self) -> None:
        """End it at once, whatever it does."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            self._process.kill()


def _death(code: int) -> str:
    """How a process ended. `code` is that of `subprocess`: below 0, the number of a signal."""
    if code >= 0:
        return f"died with exit code {code}"
    return f"died of signal {-code}, {signal.strsignal(-code)}{HINTS.get(-code, '')}"


async def _read_line(descriptor: int) -> str:
    """The first line from a pipe; empty if it closes before, or says nothing for `START_S`."""
    reader = asyncio.StreamReader()
    pipe = os.fdopen(descriptor, "rb")
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        return (await asyncio.wait_for(reader.readline(), START_S)).decode().strip()
    except TimeoutError as error:
        raise StartError(f"a process was not ready within {START_S:.0f} s") from error
    finally:
        transport.close()
