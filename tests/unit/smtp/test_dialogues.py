"""The dialogue files: whole, byte by byte, in one segment, cut at every point.  See tests/dialogues/README.rst."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from harness import Client, Server
from twisted.trial.unittest import SynchronousTestCase

from tests.dialogues.reading import FILES, Dialogue, load


def replies(octets: bytes) -> list[str]:
    """The last line of each reply."""
    lines = octets.decode("utf-8").split("\r\n")
    assert lines.pop() == "", octets
    return [line for line in lines if line[3:4] != "-"]


class Dialogues(SynchronousTestCase):
    """One test a file and way of cutting; made below."""

    def begin(self, dialogue: Dialogue) -> tuple[Server, Client]:
        server = Server(lmtp=dialogue.listener == "lmtp", submission=dialogue.listener == "submission")
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


for _path in FILES:
    if load(_path).tls == "yes":
        continue
    for _way in ("step_by_step", "one_segment", "byte_by_byte", "every_cut"):
        _name = f"test_{_path.stem.replace('-', '_')}_{_way}"
        setattr(Dialogues, _name, _make(_way, load(_path)))
