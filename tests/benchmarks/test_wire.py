"""Answers as they come out of a socket."""

import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.wire import BrokenAnswerError, Connection, Reply, UnaskedAnswerError, post


@contextmanager
def connected(source: str | None = None) -> Iterator[tuple[Connection, socket.socket]]:
    """A connection, and the socket of who answers it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        connection = Connection(host, port, source)
        other, _ = listener.accept()
        with other:
            yield connection, other
        connection.close()


def receive(connection: Connection) -> Reply | None:
    """What comes of what has been sent so far."""
    select.select([connection.fd], [], [], 30)
    return connection.receive()


def test_a_request_is_what_http_says() -> None:
    assert post("/embed", b"{}", "application/octet-stream") == (
        b"POST /embed HTTP/1.1\r\nhost: 127.0.0.1\r\naccept: application/octet-stream\r\n"
        b"content-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    )


def test_a_connection_comes_from_the_address_that_it_is_given() -> None:
    with connected("127.0.0.2") as (_, other):
        assert other.getpeername()[0] == "127.0.0.2"


def test_an_answer_in_pieces_is_put_together() -> None:
    with connected() as (connection, other):
        connection.asked = 0
        for piece in (b"HTTP/1.1 2", b"00 OK\r\ncontent-", b"length: 4\r\n", b"\r\nab"):
            other.sendall(piece)
            assert receive(connection) is None
        other.sendall(b"cd")

        assert receive(connection) == Reply(200, b"abcd", None)


def test_the_time_to_come_back_is_read_from_a_refusal() -> None:
    with connected() as (connection, other):
        connection.asked = 0
        other.sendall(b"HTTP/1.1 429 x\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n")

        assert receive(connection) == Reply(429, b"", 7)


def test_more_than_one_answer_to_one_request_is_refused() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na"
    with connected() as (connection, other):
        connection.asked = 0
        other.sendall(2 * answer)

        with pytest.raises(UnaskedAnswerError, match="more than one answer"):
            receive(connection)


def test_an_answer_that_nobody_asked_for_is_refused() -> None:
    with connected() as (connection, other):
        other.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        with pytest.raises(UnaskedAnswerError, match="nobody asked for"):
            receive(connection)


def test_an_answer_without_length_is_refused() -> None:
    with connected() as (connection, other):
        connection.asked = 0
        other.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")

        with pytest.raises(BrokenAnswerError, match="content-length"):
            receive(connection)


def test_a_closed_connection_says_whether_an_answer_was_due() -> None:
    with connected() as (connection, other):
        connection.asked = 0
        other.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
        assert receive(connection) is None
        other.close()

        with pytest.raises(ConnectionError, match="before the answer was whole"):
            receive(connection)


def test_what_the_socket_does_not_take_is_kept() -> None:
    with connected() as (connection, other):
        request = b"x" * 2**24

        assert connection.send(request) is False
        assert connection.unsent == request[-len(connection.unsent) :]

        received = 0
        while received < len(request):
            received += len(other.recv(2**20))
            connection.send(connection.unsent)
    assert connection.unsent == b""
