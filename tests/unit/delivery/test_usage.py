"""How much a mailbox holds: counted, and remembered for a while."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from delivery_contract import services
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.config.option import Path as ConfiguredPath
from mta.delivery.maildir import Maildir, MaildirOptions
from mta.delivery.maildir_store import folder_size
from mta.delivery.usage import SECONDS, Usage
from mta.routing.values import CannotKnow, UsageQuestion

ANN = Address("ann", "example.org")


class Counted(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path.cwd() / "mail" / "example.org" / "ann"

    def put(self, name: str, octets: int) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * octets)

    def test_none(self) -> None:
        self.assertEqual(folder_size(str(self.folder)), 0)

    def test_by_names_and_else_by_files(self) -> None:
        self.put("new/1.M1P1.host,S=1000,W=1010", 3)
        self.put("cur/2.M2P2.host,S=20:2,S", 3)
        self.put("cur/3.host:2,S", 7)
        self.put(".Sent/cur/4.host,S=400:2,S", 1)
        self.put(".Sent/new/5", 30)
        self.put("tmp/6", 5000)
        self.put("dovecot.index", 5000)
        self.assertEqual(folder_size(str(self.folder)), 1457)

    def test_asked_of_the_service(self) -> None:
        self.put("new/1,S=10", 1)
        maildir = Maildir(
            MaildirOptions(path=ConfiguredPath(f"{Path.cwd()}/mail/{{domain}}/{{local_part}}")), services()
        )
        usage = Usage({"local": maildir}, Clock().seconds)
        found: Any = usage.answer(UsageQuestion("local", ANN, ""))
        self.assertEqual(self.successResultOf(found), 10)


class Remembered(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.asked: list[tuple[Address, dict[str, str], Deferred[int]]] = []
        known = {"local": SimpleNamespace(usage=self.ask), "out": SimpleNamespace()}
        self.usage = Usage(known, self.clock.seconds)

    def ask(self, address: Address, values: dict[str, str]) -> Deferred[int]:
        done: Deferred[int] = Deferred()
        self.asked.append((address, values, done))
        return done

    def answer(self, service: str = "local") -> Any:
        return self.usage.answer(UsageQuestion(service, ANN, "m"))

    def test_for_a_while(self) -> None:
        first = self.answer()
        self.assertIsInstance(self.answer(), CannotKnow)  # it is asked once
        ((address, values, done),) = self.asked
        self.assertEqual((address, values), (ANN, {"mailbox": "m"}))
        done.callback(42)
        self.assertEqual(self.successResultOf(first), 42)
        self.assertEqual(self.answer(), 42)
        self.clock.advance(SECONDS)
        self.answer()
        self.assertEqual(len(self.asked), 2)

    def test_trouble_is_told_and_not_asked_for_again_at_once(self) -> None:
        first = self.answer()
        self.asked[0][2].errback(OSError(5, "Input/output error"))
        self.assertIn("Input/output error", self.successResultOf(first).error)
        self.assertIsInstance(self.answer(), CannotKnow)
        self.assertEqual(len(self.asked), 1)

    def test_a_service_that_cannot_say(self) -> None:
        for service in ("out", "gone"):
            self.assertIn("does not know", self.answer(service).error)
