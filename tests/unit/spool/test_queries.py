"""Addresses that are SQL, patterns or markup are stored, found and changed as what they are, and nothing else is."""

from __future__ import annotations

from spool_case import recipient
from sqlite_case import SqliteCase
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.envelope import Destination
from mta.spool.values import ChangeKind

# CVE-2025-26794
HOSTILE = (
    "x'; DROP TABLE message; --",
    "x' OR '1'='1",
    '"; DELETE FROM recipient; --',
    "%",
    "_nn",
    "*",
    "a?b",
    "[a-z]",
    "*)(uid=*",
    "{domain}",
    "\\'",
    "$(id)`id`",
    "../../../etc/passwd",
    "\u2028\u202e\u00e4",
    ":name ?1 @x $y",
)


class Queries(SqliteCase, SynchronousTestCase):
    def test_stored_and_found_as_it_is(self) -> None:
        self.accept(recipient(0, Address("ann", "b.example")))
        ids = {
            local: self.accept(recipient(0, Address(local, "b.example"), original=Address(local, "b.example")))
            for local in HOSTILE
        }
        self.assertEqual(len(self.page()), len(HOSTILE) + 1)
        for local, id in ids.items():
            address = Address(local, "b.example")
            for typed in (
                str(address),
                f'"{local}"@b.example' if '"' not in local and "\\" not in local else str(address),
            ):
                found = self.page(recipient=typed)
                self.assertEqual([(row.id, row.recipient.address) for row in found], [(id, address)], local)
        self.assertEqual(self.change(ChangeKind.HOLD, "by hand", recipient=str(Address("%", "b.example"))), 1)
        self.assertEqual(len(self.page(held=True)), 1)
        self.balanced()

    def test_destinations_too(self) -> None:
        for local in HOSTILE:
            self.accept(recipient(0, destination=Destination("internet", local)))
        for local in HOSTILE:
            self.assertEqual(len(self.page(destination=Destination("internet", local))), 1, local)
            self.assertEqual(len(self.claim(Destination("internet", local))), 1, local)

    def test_no_number_of_a_message_is_more_than_one(self) -> None:
        self.accept()
        for id in ("' OR 1=1 --", "%", "*", "\u0660" * 13, "0" * 13, "Z" * 13, "0" * 500, "", "\0"):
            self.assertEqual(self.page(ids=(id,)), [], id)
