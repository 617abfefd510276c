"""Any run of commands, cut anywhere, pipelined or not, with lookups and commits that wait: the replies, the states
and the messages are those of the model (``session_model.py``)."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import partial
from typing import Any

from harness import Server
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from session_model import Limits, Model, Replies
from tls_harness import TlsClient, TlsServer
from twisted.internet.defer import Deferred

from mta.reply import Reply
from mta.smtp.wire import DotStuffer, ReplyParser

#: One for all runs: keys and certificates take time to make.
TLS = TlsServer().context.tls
STRANGER, RELAY = "203.0.113.9", "10.1.2.3"
SENDERS = st.sampled_from(["a@client.example", "b+x@client.example", ""])
#: Arguments of MAIL that are refused, each with its code (RFC 5321 4.1.1.2, 4.1.1.11; RFC 1870 6.1).
WRONG_MAIL = st.sampled_from(
    [
        ("", 501),
        ("FROM:", 501),
        ("TO:<a@b.example>", 501),
        ("FROM:<a@b.example", 501),
        ("FROM:<a>", 553),
        ("FROM:<a b@c.example>", 553),
        ("FROM:<> SIZE=301", 552),
        ("FROM:<> SIZE=-1", 501),
        ("FROM:<> SIZE=1 SIZE=1", 501),
        ("FROM:<> BODY=9BIT", 501),
        ("FROM:<> X-UNKNOWN=1", 555),
        ("FROM:<> ENVID=a+0Ab", 501),
        ("FROM:<> BY=0;R", 501),
        ("FROM:<\xe9@c.example>", 550),
    ]
)
#: What follows the path and changes nothing.
GOOD_PARAMETERS = st.sampled_from(
    ["", " SIZE=10", " BODY=7BIT", " BODY=8BITMIME SIZE=300", " RET=HDRS ENVID=a+2Bb SMTPUTF8", " BODY=BINARYMIME"]
)
#: Forward-paths and where they lead.
GOOD_RCPT = st.sampled_from(
    [
        ("ann@ours.example", "ann@ours.example"),
        ("bob@OURS.example", "bob@ours.example"),
        ("info@ours.example", "bob@ours.example"),
        ("@relay.example:ann@ours.example", "ann@ours.example"),
    ]
)
WRONG_RCPT = st.sampled_from(
    [
        ("TO:<>", 501, False),
        ("TO:<ann@ours.example", 501, False),
        ("TO:<ann@ours.example> X=1", 555, False),
        ("TO:<a b@ours.example>", 553, False),
        ("TO:<nobody@ours.example>", 550, True),
        ("TO:<x%foreign.example@ours.example>", 550, True),
        ("TO:<\xe9@ours.example>", 553, False),
        ("TO:<ann@ours.example> NOTIFY=NEVER,DELAY", 501, False),
    ]
)
#: Lines that are no commands, or none that may be used (RFC 5321 4.2.4, 4.5.3.1.4, 2.3.8).
NO_COMMANDS = st.sampled_from(
    [
        (b"FOO\r\n", 500),
        (b"\r\n", 500),
        (b"NOOP\n", 500),
        (b"NO\0OP\r\n", 500),
        (b"NOOP\rRSET\r\n", 500),
        (b"NOOP " + b"x" * 100 + b"\r\n", 500),
        (b"\xff\xfe\r\n", 500),
        (b"RSET now\r\n", 501),
        (b"TURN\r\n", 502),
    ]
)
PLAIN = [
    (b"NOOP", 250),
    (b"noop x", 250),
    (b"VRFY", 501),
    (b"HELP", 214),
    (b"HELP x", 504),
]
#: Commands that are answered for those who may relay, with the codes for them and for others.
ASKING = [
    (b"VRFY ann@ours.example", 250, 252),
    (b"VRFY ann", 250, 252),
    (b"EXPN info@ours.example", 250, 550),
    (b"EXPN x@ours.example", 550, 550),
]
PARTS = st.lists(
    st.sampled_from(
        [
            b"Subject: x\r\n",
            b"Received: x\r\n",
            b"\r\n",
            b".\r\n",
            b"..x\r\n",
            b"Gr\xfc\xdfe\r\n",
            b"a" * 78 + b"\r\n",
            b"a" * 79 + b"\r\n",
            b"bare\n",
            b"bare\r",
            b"\0",
        ]
    ),
    max_size=7,
).map(b"".join)
#: By DATA a message ends with CRLF, by BDAT with anything.
MESSAGES = PARTS.map(lambda octets: octets if not octets or octets.endswith(b"\r\n") else octets + b"\r\n")


def cut(octets: bytes, cuts: list[int]) -> list[bytes]:
    """In pieces; a cut is given in 256ths."""
    edges = [0, *sorted(place * len(octets) // 256 for place in cuts), len(octets)]
    return [octets[start:end] for start, end in itertools.pairwise(edges)]


class WaitingTable:
    """Knows ann and bob; answers at once, or when told."""

    def __init__(self) -> None:
        self.slow = False
        self.waiting: list[tuple[Deferred[Any], str]] = []

    def lookup(self, key: str) -> Any:
        if not self.slow:
            return self._known(key)
        self.waiting.append((Deferred(), key))
        return self.waiting[-1][0]

    def answer(self) -> None:
        for deferred, key in (waiting := self.waiting)[:]:
            waiting.remove((deferred, key))
            deferred.callback(self._known(key))

    @staticmethod
    def _known(key: str) -> str | None:
        return "" if key in {"ann", "bob"} else None


class Sessions(RuleBasedStateMachine):
    """Commands are queued and said together, cut anywhere; then what came back must be what the model expects."""

    def __init__(self) -> None:
        super().__init__()
        self.table = WaitingTable()
        self.model = Model()
        self.server = Server({"boxes": self.table}, **vars(Limits()))
        self.server.context = self.server.factory.context = replace(self.server.context, tls=TLS)
        self.client: TlsClient
        self.octets = b""
        self.expected: Replies = []
        self.seen = ReplyParser()
        self._connect(STRANGER)

    def _connect(self, address: str) -> None:
        self.client = TlsClient(self.server, address)
        self.expected += self.model.connect(may_relay=address == RELAY)

    @property
    def gone(self) -> bool:
        """The server has closed the connection, or its TLS."""
        return self.client.closed or (self.client.tls is not None and self.client.protocol.session.closing)

    def queue(self, octets: bytes, replies: Replies) -> None:
        """Said later; what follows the end of a session is said too, and must have no effect."""
        self.octets += octets
        self.expected += replies

    # --- commands ----------------------------------------------------------------------------------------------

    @precondition(lambda self: not self.model.closed)
    @rule(
        verb=st.sampled_from([b"EHLO", b"HELO", b"ehlo"]), name=st.sampled_from([b" c.example", b"", b" [192.0.2.1]"])
    )
    def greet(self, verb: bytes, name: bytes) -> None:
        self.queue(verb + name + b"\r\n", self.model.greet(bool(name)))

    @precondition(lambda self: not self.model.closed)
    @rule(sender=SENDERS, parameters=GOOD_PARAMETERS)
    def mail(self, sender: str, parameters: str) -> None:
        binary = "BINARYMIME" in parameters
        self.queue(f"MAIL FROM:<{sender}>{parameters}\r\n".encode(), self.model.mail(sender, binary=binary))

    @precondition(lambda self: not self.model.closed)
    @rule(wrong=WRONG_MAIL)
    def wrong_mail(self, wrong: tuple[str, int]) -> None:
        argument, code = wrong
        self.queue(f"MAIL {argument}\r\n".encode(), self.model.mail("", code))

    @precondition(lambda self: not self.model.closed)
    @rule(path=GOOD_RCPT)
    def rcpt(self, path: tuple[str, str]) -> None:
        said, meant = path
        self.queue(f"RCPT TO:<{said}>\r\n".encode(), self.model.rcpt(meant))

    @precondition(lambda self: not self.model.closed)
    @rule()
    def rcpt_of_others(self) -> None:
        self.queue(b"RCPT TO:<x@Foreign.example>\r\n", self.model.foreign())

    @precondition(lambda self: not self.model.closed)
    @rule(wrong=WRONG_RCPT)
    def wrong_rcpt(self, wrong: tuple[str, int, bool]) -> None:
        argument, code, counts = wrong
        self.queue(f"RCPT {argument}\r\n".encode(), self.model.rcpt("", code, stays=counts))

    @precondition(lambda self: not self.model.closed)
    @rule(message=MESSAGES)
    def data(self, message: bytes) -> None:
        replies, sent = self.model.data(message)
        stuffer = DotStuffer()
        self.queue(b"DATA\r\n" + (stuffer.feed(message) + stuffer.end() if sent else b""), replies)

    @precondition(lambda self: not self.model.closed)
    @rule()
    def data_with_argument(self) -> None:
        self.queue(b"DATA now\r\n", self.model.data(b"", argument=True)[0])

    @precondition(lambda self: not self.model.closed)
    @rule(message=PARTS, cuts=st.lists(st.integers(0, 255), max_size=3), ends=st.booleans())
    def bdat(self, message: bytes, cuts: list[int], ends: bool) -> None:
        """A message in chunks; they are all sent, as a client does that pipelines them (RFC 3030 4.2)."""
        pieces = cut(message, cuts)
        for number, piece in enumerate(pieces, 1):
            last = ends and number == len(pieces)
            if self.model.closed:
                break
            line = b"BDAT %d%s\r\n" % (len(piece), b" LAST" if last else b"")
            self.queue(line + piece, self.model.bdat(piece, last))

    @precondition(lambda self: not self.model.closed and self.model.sender is not None)
    @rule(size=st.sampled_from([290, 301, 600]), more=st.sampled_from([b"x\r\n", b""]))
    def bdat_over_the_limit(self, size: int, more: bytes) -> None:
        """What is pipelined behind a chunk that is refused finds no transaction."""
        for octets, last in ((b"y" * 60 + b"\r\n") * (size // 62) + b"z" * (size % 62), False), (more, True):
            if not self.model.closed:
                line = b"BDAT %d%s\r\n" % (len(octets), b" LAST" if last else b"")
                self.queue(line + octets, self.model.bdat(octets, last))

    @precondition(lambda self: not self.model.closed)
    @rule(
        line=st.sampled_from(
            [(b"BDAT\r\n", 501), (b"BDAT -1\r\n", 501), (b"BDAT 601\r\n", 552), (b"bdat 1e3\r\n", 501)]
        )
    )
    def bdat_without_size(self, line: tuple[bytes, int]) -> None:
        octets, code = line
        self.queue(octets, self.model.bdat_without_size(code))

    @precondition(lambda self: not self.model.closed)
    @rule(sender=SENDERS, paths=st.lists(GOOD_RCPT, max_size=4), message=MESSAGES)
    def transaction(self, sender: str, paths: list[tuple[str, str]], message: bytes) -> None:
        """The whole of it in one go: commands at random seldom come so far."""
        self.queue(b"RSET\r\n", self.model.plain(250, resets=True))
        steps = [lambda: self.greet(b"EHLO", b" c.example"), lambda: self.mail(sender, "")]
        steps += [partial(self.rcpt, path) for path in paths]
        for step in (*steps, lambda: self.data(message)):
            if not self.model.closed:
                step()

    @precondition(lambda self: not self.model.closed)
    @rule(wrong=WRONG_RCPT, chunk=st.booleans())
    def transaction_for_nobody(self, wrong: tuple[str, int, bool], chunk: bool) -> None:
        end = (lambda: self.bdat(b"x\r\n", [], ends=True)) if chunk else (lambda: self.data(b""))
        for step in (lambda: self.mail("a@client.example", ""), lambda: self.wrong_rcpt(wrong), end):
            if not self.model.closed:
                step()

    @precondition(lambda self: not self.model.closed)
    @rule(path=GOOD_RCPT, message=st.sampled_from([b"", b"Subject: x\r\n\r\n.dot\r\n"]))
    def good_transaction(self, path: tuple[str, str], message: bytes) -> None:
        self.transaction("a@client.example", [path], message)

    @precondition(lambda self: not self.model.closed)
    @rule(
        binary=st.booleans(),
        message=PARTS,
        cuts=st.lists(st.integers(0, 255), max_size=3),
        late=st.booleans(),
        end=st.sampled_from([b"", b"\r", b"\r\n"]),
    )
    def transaction_in_chunks(self, binary: bool, message: bytes, cuts: list[int], late: bool, end: bytes) -> None:
        path = ("ann@ours.example", "ann@ours.example")
        self.greet(b"EHLO", b" c.example")
        steps = [lambda: self.mail("a@client.example", " BODY=BINARYMIME" if binary else ""), lambda: self.rcpt(path)]
        if late:  # commands that may not stand between chunks
            steps += [lambda: self.bdat(b"x: y\r\n", [], ends=False), lambda: self.rcpt(path), lambda: self.data(b"")]
        for step in (*steps, lambda: self.bdat(message + end, cuts, ends=True)):
            if not self.model.closed:
                step()

    @precondition(lambda self: not self.model.closed)
    @rule(command=st.sampled_from(PLAIN))
    def plain(self, command: tuple[bytes, int]) -> None:
        line, code = command
        self.queue(line + b"\r\n", self.model.plain(code))

    @precondition(lambda self: not self.model.closed)
    @rule(command=st.sampled_from(ASKING))
    def asking(self, command: tuple[bytes, int, int]) -> None:
        line, allowed, refused = command
        self.queue(line + b"\r\n", self.model.rights_only(allowed, refused))

    @precondition(lambda self: not self.model.closed)
    @rule()
    def rset(self) -> None:
        self.queue(b"RSET\r\n", self.model.plain(250, resets=True))

    @precondition(lambda self: not self.model.closed)
    @rule(line=NO_COMMANDS)
    def no_command(self, line: tuple[bytes, int]) -> None:
        octets, code = line
        self.queue(octets, self.model.plain(code, idle=False))

    @precondition(lambda self: not self.model.closed)
    @rule(line=st.sampled_from([(b"QUIT\r\n", 221), (b"GET / HTTP/1.1\r\n", 421)]))
    def leave(self, line: tuple[bytes, int]) -> None:
        octets, code = line
        self.queue(octets, self.model.plain(code, idle=False))

    # --- the network, time and the disk --------------------------------------------------------------------------

    @rule(cuts=st.lists(st.integers(0, 255), max_size=6), slow=st.booleans(), held=st.booleans())
    def say(self, cuts: list[int], slow: bool, held: bool) -> None:
        """All that is queued, in pieces; lookups and commits that wait are done after it, or between the pieces."""
        octets, self.octets = self.octets, b""
        self.table.slow = slow
        if held:
            self.server.spool.hold()
        for number, piece in enumerate(cut(octets, cuts)):
            if piece and not self.gone:
                self.client.send(piece)
            if number % 2:
                self.table.answer()
        self.server.spool.let_go()
        while self.table.waiting:
            self.table.answer()
        self.compare()

    @precondition(lambda self: not self.model.closed)
    @rule(more=st.sampled_from([b"", b"NOOP\r\n", b"EHLO x\r\nMAIL FROM:<evil@x.example>\r\nRC", b"\0"]))
    def starttls(self, more: bytes) -> None:
        """What comes behind it in the same segment is never run (CVE-2011-0411)."""
        self.flush()
        first = not self.model.secured
        self.expected += self.model.starttls()
        self.client.send(b"STARTTLS\r\n" + (more if first else b""))
        self.compare()
        if first:
            self.client.secure()
            self.compare()
            self.mail("a@client.example", "")

    def flush(self) -> None:
        """Say what is queued, whole."""
        self.say([], slow=False, held=False)

    @precondition(lambda self: self.model.closed or self.model.sender is not None)
    @rule(address=st.sampled_from([STRANGER, RELAY]))
    def connect_again(self, address: str) -> None:
        """The connection has been closed, or is lost in a transaction; what was queued was never sent."""
        self.flush()
        self.client.leave()
        assert self.server.memory.used == 0
        assert self.server.connections.total == 0
        self._connect(address)
        self.compare()

    @precondition(lambda self: not self.model.closed)
    @rule()
    def silence(self) -> None:
        self.flush()
        self.server.clock.pump([1.0] * 302)
        self.expected += self.model.silent()
        self.compare()

    @rule(healthy=st.booleans())
    def disk(self, healthy: bool) -> None:
        self.flush()
        self.model.healthy = healthy
        self.server.spool.sick = None if healthy else Reply.of(452, "4.3.1", "full")

    # --- what must hold --------------------------------------------------------------------------------------------

    def compare(self) -> None:
        found = [reply.code for reply in self.seen.feed(self.client.seen())]
        expected, self.expected = self.expected, []
        assert not self.seen.pending
        assert len(found) == len(expected), (found, expected)
        for code, codes in zip(found, expected, strict=True):
            assert code in codes, (found, expected)
        assert self.gone == self.model.closed
        messages = self.server.messages()
        assert len(messages) == len(self.model.accepted)
        for (lease, octets), message in zip(messages, self.model.accepted, strict=True):
            assert str(lease.message.envelope.reverse_path or "") == message.sender
            assert {str(recipient.address) for recipient in lease.recipients} == message.recipients
            assert octets.startswith(b"Received: ")
            assert octets.endswith(b"\r\n" + message.octets)

    def teardown(self) -> None:
        self.flush()
        self.client.leave()
        assert self.server.memory.used == 0


TestSessions = Sessions.TestCase
# The same runs each time: a test that fails by chance helps nobody; ``make fuzz`` is there to search.
TestSessions.settings = settings(
    max_examples=300, stateful_step_count=40, derandomize=True, database=None, deadline=None, report_multiple_bugs=False
)
