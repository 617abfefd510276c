"""Source and sink of the benchmark against each other: all is counted, nothing is believed."""

from __future__ import annotations

import smtplib
import tempfile
import unittest
from contextlib import closing
from pathlib import Path

from benchmarks.marked import Mark
from benchmarks.sink import Sink
from benchmarks.source import Load, send
from tests.certificates import Authority, put


class Loads(unittest.TestCase):
    def sent(self, sink: Sink, load: Load, run: str = "run") -> dict[str, int]:
        sent = send(sink.port, run, load)
        told = sink.told(run)
        self.assertLess(sent.start, told["last"])
        self.assertLess(told["last"], sent.end)
        return {name: told[name] for name in ("copies", "distinct", "damaged", "transactions")}

    def test_all_arrive_on_kept_connections_and_new_ones(self) -> None:
        for load in (
            Load(messages=60, sessions=7),
            Load(messages=60, sessions=7, kept=False),
            Load(messages=3, sessions=2, size=3_000_000),
            Load(messages=1, sessions=50),
        ):
            with self.subTest(load), closing(Sink()) as sink:
                wanted = {
                    "copies": load.messages,
                    "distinct": load.messages,
                    "damaged": 0,
                    "transactions": load.messages,
                }
                self.assertEqual(self.sent(sink, load), wanted)

    def test_one_message_to_many(self) -> None:
        with closing(Sink()) as sink:
            told = self.sent(sink, Load(messages=1, recipients=300))
        self.assertEqual(told, {"copies": 300, "distinct": 300, "damaged": 0, "transactions": 1})

    def test_with_tls_nothing_goes_in_clear(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            pem = put(Path(folder) / "tls.pem", Authority().issue("localhost").both)
            with closing(Sink(str(pem))) as sink:
                for kept in (True, False):
                    told = self.sent(sink, Load(messages=20, sessions=5, kept=kept, tls=True), f"kept-{kept}")
                    self.assertEqual(told["distinct"], 20)
                with self.assertRaises(SystemExit) as caught:
                    send(sink.port, "run", Load(messages=1))
                self.assertIn("530 5.7.0", str(caught.exception))

    def test_copies_and_damage_are_told(self) -> None:
        octets = Mark("run", 7, 1024).octets()
        with closing(Sink()) as sink, smtplib.SMTP("127.0.0.1", sink.port) as client:
            for message in (octets, octets, octets[:-10] + b"\r\n"):
                client.sendmail("from@sender.example", ["to@far.example"], message)
            told = sink.told("run")
        self.assertEqual((told["copies"], told["distinct"], told["damaged"]), (3, 1, 1))
