"""What holds for whole sessions, server and client: each property takes raw octets, which are what the peer says.

Nothing but what a peer could see is looked at, and that nothing stays behind when it has gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure

from mta.smtp.client_values import Sent
from mta.smtp.extensions import LONGER
from mta.smtp.wire import ReplyParser
from tests.fuzz.cutting import divide, octet_by_octet
from tests.unit.smtp.client_harness import ClientCase
from tests.unit.smtp.harness import Client, Server

#: Small enough that a short input reaches each of them.
LIMITS = {
    "message_size": 200,
    "recipients": 3,
    "header": 120,
    "data_line": 60,
    "command_line": 80,
    "errors": 6,
    "idle_commands": 8,
    "transactions": 4,
    "received_hops": 3,
}
#: One who may relay, and one who may not.
CLIENTS = ("10.1.2.3", "203.0.113.9")


def sessions(raw: bytes) -> None:
    """No exception, one reply to each command in order, the same for every cut, nothing left behind."""
    stream, pieces = divide(raw)
    for address in CLIENTS:
        expected = _session(address, [stream])
        assert _session(address, pieces) == expected
        assert _session(address, octet_by_octet(stream)) == expected
        said, closed, _ = expected
        one_reply_each(stream, said, closed)


def _session(address: str, pieces: list[bytes]) -> tuple[bytes, bool, list[tuple[str, bytes]]]:
    """What the server said, whether it closed, and what it accepted."""
    server = Server(**LIMITS)
    with nothing_logged():
        client = server.connect(address)
        for piece in pieces:
            if client.closed:
                break
            client.send(piece)
            bounded(client, len(piece))
        said, closed = client.seen(), client.closed
        client.leave()
    assert server.memory.used == 0
    assert server.connections.total == 0
    assert not server.spool._bodies or server.queue.leases
    accepted = [
        (" ".join(str(recipient.address) for recipient in lease.recipients), octets)
        for lease, octets in server.messages()
    ]
    return said, closed, accepted


def bounded(client: Client, piece: int) -> None:
    """What a session keeps: an unfinished line, a header, and what came last; never more."""
    session: Any = client.protocol.session
    if session is None:
        return
    assert session._splitter.waiting <= LIMITS["command_line"] + max(LONGER.values()) + piece
    assert sum(map(len, session._held)) <= piece
    if session.transaction is not None:
        assert len(session.transaction.header) <= LIMITS["header"] + piece + 4
        assert len(session.transaction.recipients) <= LIMITS["recipients"]


@contextmanager
def nothing_logged() -> Iterator[None]:
    """An exception that is caught and logged is one all the same."""
    failures: list[Failure] = []

    def observe(event: Any) -> None:
        if "log_failure" in event:
            failures.append(event["log_failure"])

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    for failure in failures:
        raise AssertionError(failure.getTraceback())


def one_reply_each(stream: bytes, said: bytes, closed: bool) -> None:
    """Read the conversation as RFC 5321 4.1 has it: which replies are there follows from the replies before."""
    replies = list(ReplyParser().feed(said))
    assert replies.pop(0).code == 220
    left = iter(replies)
    at = 0
    try:
        while (end := stream.find(b"\n", at)) >= 0:
            line, at = stream[at : end + 1], end + 1
            size = chunk_size(line)
            if size is not None:
                if at + size > len(stream):
                    break
                at += size
            reply = next(left)
            if reply.code == 354:
                end = (b"\r\n" + stream[at:]).find(b"\r\n.\r\n")
                if end < 0:
                    break
                at += end + 3
                reply = next(left)
            if reply.code in {221, 421}:
                break
        # RFC 5321 3.8: the last word of a server that closes may answer nothing.
        rest = [reply.code for reply in left]
        assert not rest or (closed and rest in ([421], [552])), rest
    except StopIteration:
        assert closed, "a command without a reply"


def chunk_size(line: bytes) -> int | None:
    """How many octets follow a BDAT command (RFC 3030 2), refused or not; None for what is none."""
    if not line.endswith(b"\r\n") or len(line) > LIMITS["command_line"] or b"\r" in line[:-2] or b"\0" in line:
        return None
    words = line[5:].split()
    if line[:5].upper() != b"BDAT " or not words:
        return None
    return int(words[0]) if words[0].isdigit() and len(words[0]) <= 20 else None


def clients(raw: bytes) -> None:
    """Whatever a server says: no exception, an answer for each recipient, and a yes only to a whole message."""
    stream, pieces = divide(raw)
    for way in (pieces, octet_by_octet(stream)):
        _client(way)


def _client(pieces: list[bytes]) -> None:
    case = ClientCase("setUp")
    case.setUp()
    client = case.client
    message = b"Subject: x\r\n\r\n.dot\r\n"
    sent: list[Deferred[Sent]] = []
    with nothing_logged():
        client.ready.addCallbacks(lambda _: sent.append(case.send("a@b.example", "c@b.example")), lambda _: None)
        for piece in pieces:
            client.dataReceived(piece)
            if client.gone:
                break
        client.connectionLost(Failure(ConnectionDone()))
    assert client.ready.called
    written = case.seen()
    whole = (
        b"\r\n" + message.replace(b"\r\n.", b"\r\n..") + b".\r\n",
        b"BDAT %d LAST\r\n%s" % (len(message), message),
    )
    for transaction in sent:
        result = case.successResultOf(transaction)
        assert len(result.answers) == 2
        if any(answer.reply.positive for answer in result.answers):
            assert sum(written.count(form) for form in whole) == 1
