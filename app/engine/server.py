"""How does an engine answer front ends?

It accepts connections on a Unix socket, submits each WORK frame to the local engine, and sends the answer, the
failure, or nothing if the request was cancelled or its front end went away. A STATUS frame goes out on connect and
every second after.
"""

import asyncio
import logging
import socket
from pathlib import Path

from app.engine.connection import Connection
from app.engine.frames import Kind, pack_answer, pack_failure, pack_status, unpack_cancel, unpack_work
from app.errors import ApiError, InternalError
from app.types import Engine, ModelKey, Work

log = logging.getLogger(__name__)

HEARTBEAT_S = 1.0

Tasks = dict[int, asyncio.Task[None]]


def listen(path: Path) -> socket.socket:
    """A socket at `path` that only this user may open. A dead engine's socket there is replaced."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen()
    return listener


class EngineServer:
    """The engine's end of the wire."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._models: list[ModelKey] = [model.key for model in engine.status().models]
        self._connections: dict[Connection, Tasks] = {}
        self._server: asyncio.Server | None = None
        self._heart: asyncio.Task[None] | None = None

    async def start(self, listener: socket.socket) -> None:
        """Accept front ends from `listener`."""
        self._server = await asyncio.get_running_loop().create_unix_server(self._connect, sock=listener)
        self._heart = asyncio.create_task(self._beat())

    async def close(self) -> None:
        """Stop accepting, and let every request in the house end first."""
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(task for tasks in self._connections.values() for task in tasks.values()))
        if self._heart is not None:
            self._heart.cancel()
        for connection in list(self._connections):
            connection.close()

    def _connect(self) -> Connection:
        connection = Connection(self._received, self._lost)
        self._connections[connection] = {}
        connection.send(pack_status(self._engine.status()))
        return connection

    def _received(self, connection: Connection, kind: Kind, body: bytes) -> None:
        tasks = self._connections[connection]
        if kind is Kind.WORK:
            id, work = unpack_work(body, self._models)
            task = asyncio.create_task(self._answer(connection, id, work))
            tasks[id] = task
            task.add_done_callback(lambda _: tasks.pop(id, None))
        elif kind is Kind.CANCEL and (running := tasks.get(unpack_cancel(body))):
            running.cancel()

    def _lost(self, connection: Connection) -> None:
        for task in list(self._connections.pop(connection).values()):
            task.cancel()

    async def _answer(self, connection: Connection, id: int, work: Work) -> None:
        try:
            connection.send(pack_answer(id, await self._engine.submit(work)))
        except ApiError as error:
            if error.__cause__ is not None:
                log.error("request failed in the engine: %s", error, exc_info=error.__cause__)
            connection.send(pack_failure(id, error))
        except Exception as error:
            log.error("request failed in the engine", exc_info=error)
            connection.send(pack_failure(id, InternalError("the engine failed; the log has the detail")))

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            status = pack_status(self._engine.status())
            for connection in self._connections:
                connection.send(status)
