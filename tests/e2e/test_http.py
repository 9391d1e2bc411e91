"""Requests as other clients send them, byte by byte, to the real service."""

import re
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from tests.e2e.service import Service, running

pytestmark = pytest.mark.slow

BODY = b'{"text": "a", "dimensions": 1}'
JAVA = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"
LAST = b"connection: close, Upgrade\r\nupgrade: h2c\r\n"
LENGTH = b"content-length: %d\r\n\r\n" % len(BODY)
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    with running() as service:
        yield service


def statuses(service: Service, *pieces: bytes) -> list[int]:
    """The status of every answer to `pieces`, sent one by one."""
    address = urlsplit(service.url)
    assert address.hostname is not None
    with socket.create_connection((address.hostname, address.port or 0), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            connection.sendall(piece)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    return [int(status) for status in re.findall(rb"HTTP/1.1 (\d+) ", answer)]


def post(*fields: bytes) -> bytes:
    return b"POST /embed HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n" + b"".join(fields)


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        ([post(LAST, LENGTH), BODY], [200]),
        ([post(LAST, LENGTH) + BODY], [200]),
        ([post(LAST, CHUNKED) + CHUNKS], [200]),
        ([post(JAVA, LENGTH) + BODY + post(JAVA, LENGTH), BODY[:4], BODY[4:] + post(LAST, LENGTH) + BODY], [200] * 3),
        ([b"GET /live HTTP/1.0\r\n" + JAVA + b"\r\n"], [200]),
        ([b"GET /live HTTP/1.1\r\nhost: x\r\nconnection: close, upgrade\r\nupgrade: websocket\r\n\r\n"], [200]),
    ],
    ids=["in two pieces", "in one piece", "chunked", "pipelined", "HTTP/1.0", "websocket"],
)
def test_offer_to_upgrade_is_ignored_and_the_body_kept(
    service: Service, pieces: list[bytes], expected: list[int]
) -> None:
    """Java's HttpClient offers h2c by default; its body must not be lost."""
    assert statuses(service, *pieces) == expected
