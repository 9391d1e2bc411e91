"""What a caller leaves unread is bounded, and so is the time it has for that. The clock is a fake one."""

import asyncio
import socket

import orjson
import pytest

from app.processes.http.writing import WRITE_BYTES, WRITE_S
from app.serving.catalog import Catalog
from app.settings import Settings
from tests.app.processes.front_end import HIGH_WATER_BYTES, get, id_of, ids, narrow, post, run, serving

LAST = get(b"/openapi.json", b"connection: close\r\n")  # its answer has less than the send buffer holds
LARGE = post(orjson.dumps({"texts": ["a"] * 2048}))  # its answer has some 250 KB


async def read(caller: socket.socket, size_bytes: int) -> bytes:
    """So much from the wire."""
    data = b""
    while len(data) < size_bytes:
        data += await asyncio.get_running_loop().sock_recv(caller, size_bytes - len(data))
    return data


def test_answers_are_begun_as_they_are_read(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, Settings()) as front_end:
            largest = len((await front_end.send(get(b"/openapi.json", b"connection: close\r\n")))[0].body) + 1024
            caller, connection = await narrow(front_end)
            count = 50
            await asyncio.get_running_loop().sock_sendall(
                caller, b"".join(get(b"/openapi.json", id_of(number)) for number in range(count))
            )
            unread = connection._transport.get_write_buffer_size
            await front_end.until(lambda: unread() > HIGH_WATER_BYTES and not front_end.server.server_state.tasks)
            assert unread() <= HIGH_WATER_BYTES + largest
            assert not connection._transport.is_reading()

            reader = await front_end.adopt(caller)
            answers = [await reader.answer() for _ in range(count)]
            assert ids(answers) == [str(number) for number in range(count)]
            assert connection._transport.is_reading()

    run(check)


def test_caller_that_reads_slowly_gets_its_whole_answer(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, Settings()) as front_end:
            caller, connection = await narrow(front_end)
            await asyncio.get_running_loop().sock_sendall(caller, LARGE)
            unread = connection._transport.get_write_buffer_size
            await front_end.until(lambda: connection._writing.is_full)
            answer = b""
            for _ in range(3):
                goal = unread() - WRITE_BYTES
                while unread() > goal:
                    answer += await read(caller, 4096)
                front_end.pass_time(WRITE_S - 1)
            assert connection._writing.is_full  # without a break, for nearly three times the limit

            head, body = answer.split(b"\r\n\r\n", 1)
            (length,) = [int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: ")]
            assert (body + await read(caller, length - len(body))).endswith(b"}")
            caller.close()

    run(check)


@pytest.mark.parametrize("size_bytes", [0, 8192], ids=["nothing", "little"])
def test_caller_that_reads_too_little_is_cut_off(catalog: Catalog, size_bytes: int) -> None:
    async def check() -> None:
        async with serving(catalog, Settings()) as front_end:
            caller, connection = await narrow(front_end)
            await asyncio.get_running_loop().sock_sendall(caller, LARGE)
            await front_end.until(lambda: connection._writing.is_full)
            front_end.pass_time(WRITE_S - 1)
            await read(caller, size_bytes)
            front_end.pass_time(0)
            assert connection in front_end.connections
            front_end.pass_time(1)
            await front_end.until(lambda: connection not in front_end.connections)
            caller.close()

    run(check)


def test_last_answer_that_is_left_unread_ends_the_connection_too(catalog: Catalog) -> None:
    async def check() -> None:
        async with serving(catalog, Settings()) as front_end:
            caller, connection = await narrow(front_end)
            await asyncio.get_running_loop().sock_sendall(caller, LAST)
            unread = connection._transport.get_write_buffer_size
            await front_end.until(lambda: 0 < unread() < HIGH_WATER_BYTES)
            front_end.pass_time(WRITE_S - 1)
            assert connection in front_end.connections
            front_end.pass_time(1)
            await front_end.until(lambda: connection not in front_end.connections)
            caller.close()

    run(check)
