"""The dialogue files: whole, byte by byte, in one segment, cut at every point.  See tests/dialogues/README.rst."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from harness import Client, Server
from twisted.trial.unittest import SynchronousTestCase

FOLDER = Path(__file__).parents[2] / "dialogues"


@dataclass
class Dialogue:
    """One file, read."""

    name: str
    client: str = "203.0.113.9"
    steps: list[tuple[bytes, list[str]]] = field(default_factory=list)  # octets sent, replies that follow
    closed: bool = False
    messages: int | None = None

    @property
    def octets(self) -> bytes:
        return b"".join(sent for sent, _ in self.steps)

    @property
    def replies(self) -> list[str]:
        return [reply for _, replies in self.steps for reply in replies]


def unescape(text: str) -> bytes:
    return re.sub(
        rb"\\(x[0-9a-f]{2}|[rn0\\])",
        lambda match: bytes([int(match[1][1:], 16)]) if match[1][:1] == b"x" else
        {b"r": b"\r", b"n": b"\n", b"0": b"\0", b"\\": b"\\"}[match[1]],
        text.encode("utf-8"),
    )  # fmt: skip


def load(path: Path) -> Dialogue:
    """Read a dialogue; raises ``ValueError`` for a line that is none."""
    dialogue = Dialogue(path.stem, steps=[(b"", [])])
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, _, rest = line.partition(": ") if ": " in line else (line.removesuffix(":"), "", "")
        if kind in ("C", "c"):
            if dialogue.steps[-1][1] or not dialogue.steps[-1][0]:
                dialogue.steps.append((b"", []))
            sent, replies = dialogue.steps[-1]
            dialogue.steps[-1] = (sent + unescape(rest) + (b"\r\n" if kind == "C" else b""), replies)
        elif kind == "S":
            dialogue.steps[-1][1].append(rest)
        elif kind == "client":
            dialogue.client = rest
        elif kind == "messages":
            dialogue.messages = int(rest)
        elif kind == "closed":
            dialogue.closed = True
        elif not line.startswith("#") and line:
            raise ValueError(f"{path}: {line!r}")
    return dialogue


def replies(octets: bytes) -> list[str]:
    """The last line of each reply."""
    lines = octets.decode("ascii").split("\r\n")
    assert lines.pop() == "", octets
    return [line for line in lines if line[3:4] != "-"]


class Dialogues(SynchronousTestCase):
    """One test a file and way of cutting; made below."""

    def begin(self, dialogue: Dialogue) -> tuple[Server, Client]:
        server = Server()
        return server, server.connect(dialogue.client)

    def same(self, expected: list[str], got: list[str]) -> None:
        self.assertEqual(len(expected), len(got), (expected, got))
        for want, reply in zip(expected, got, strict=True):
            self.assertTrue(reply.startswith(want), (want, reply, got))

    def end(self, dialogue: Dialogue, server: Server, client: Client) -> None:
        self.assertEqual(client.closed, dialogue.closed)
        if dialogue.messages is not None:
            self.assertEqual(len(server.queue.leases), dialogue.messages)
        client.leave()
        self.assertEqual(server.memory.used, 0)
        self.assertEqual(server.connections.total, 0)

    def step_by_step(self, dialogue: Dialogue) -> None:
        server, client = self.begin(dialogue)
        for sent, expected in dialogue.steps:
            if sent:
                client.send(sent)
            self.same(expected, replies(client.seen()))
        self.end(dialogue, server, client)

    def in_pieces(self, dialogue: Dialogue, pieces: Iterator[bytes]) -> None:
        server, client = self.begin(dialogue)
        for piece in pieces:
            client.send(piece)
        self.same(dialogue.replies, replies(client.seen()))
        self.end(dialogue, server, client)

    def one_segment(self, dialogue: Dialogue) -> None:
        self.in_pieces(dialogue, iter([dialogue.octets]))

    def byte_by_byte(self, dialogue: Dialogue) -> None:
        octets = dialogue.octets
        self.in_pieces(dialogue, (octets[i : i + 1] for i in range(len(octets))))

    def every_cut(self, dialogue: Dialogue) -> None:
        octets = dialogue.octets
        for cut in range(1, len(octets)):
            self.in_pieces(dialogue, iter([octets[:cut], octets[cut:]]))


def _make(way: str, dialogue: Dialogue) -> Callable[[Dialogues], None]:
    def test(self: Dialogues) -> None:
        getattr(self, way)(dialogue)

    return test


for _path in sorted(FOLDER.glob("*.dialogue")):
    for _way in ("step_by_step", "one_segment", "byte_by_byte", "every_cut"):
        _name = f"test_{_path.stem.replace('-', '_')}_{_way}"
        setattr(Dialogues, _name, _make(_way, load(_path)))
