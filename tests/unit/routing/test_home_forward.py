"""``~/.forward``: who is believed, and where mail goes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

from delivery_contract import services
from routing_cases import RoutingCase
from twisted.internet.defer import fail
from twisted.trial.unittest import SynchronousTestCase

from mta.events import Event
from mta.routing.home import MAX_OCTETS, HomeFiles
from mta.routing.rules import DomainRule
from mta.routing.values import CannotKnow, HomeFileQuestion

ME = os.getuid()


class Files(SynchronousTestCase):
    def setUp(self) -> None:
        self.told: list[Event] = []
        self.path = Path.cwd() / ".forward"
        self.make(ME)

    def make(self, owner: int | None, **world: Any) -> None:
        outside = services("x", emit=lambda event, id: self.told.append(event), **world)
        self.files = HomeFiles(outside, lambda name: owner if name == "ann" else None)

    def answer(self, user: str = "ann") -> str | CannotKnow:
        return self.successResultOf(self.files.answer(HomeFileQuestion(str(self.path), user)))

    def refused(self, why: str) -> None:
        self.told.clear()
        for _ in range(3):
            self.assertEqual(self.answer(), "")
        (event,) = self.told  # once
        self.assertIn(why, str(event))

    def test_addresses_one_or_more_a_line(self) -> None:
        self.path.write_text("# away\n\\ann, x@far.example\ny@far.example\n")
        self.assertEqual(self.answer(), "\\ann, x@far.example, y@far.example")
        self.assertEqual(self.answer("nobody"), "")

    def test_none(self) -> None:
        self.assertEqual(self.answer(), "")
        self.path = self.path / "deeper"
        self.assertEqual(self.answer(), "")
        self.assertEqual(self.told, [])

    def test_what_is_not_believed(self) -> None:
        self.path.write_text("x@far.example\n")
        self.path.chmod(0o664)
        self.refused("its group or anybody may write to it")
        self.path.chmod(0o644)
        self.assertEqual(self.answer(), "x@far.example")
        if ME == 0:
            os.chown(self.path, 54321, -1)
            self.refused("it belongs to user 54321, who is neither ann nor root")

    def test_what_is_no_regular_file_is_neither_followed_nor_waited_for(self) -> None:
        secret = Path.cwd() / "secret"
        secret.write_text("x@far.example\n")
        self.path.symlink_to(secret)
        self.refused("cannot be read")
        self.path.unlink()
        os.mkfifo(self.path)
        self.refused("no regular file")

    def test_what_is_not_well_formed_goes_into_the_mailbox(self) -> None:
        for text, why in (
            (b"ann\n|/usr/bin/vacation\n", ".forward:2"),
            (b":include:/etc/passwd\n", ".forward:1"),
            (b"\xff\n", "UTF-8"),
            (b"ann\n" * MAX_OCTETS, "over the limit"),
        ):
            self.path.write_bytes(text)
            self.path.chmod(stat.S_IRUSR | stat.S_IWUSR)
            self.refused(why)

    def test_trouble_of_the_disk_is_not_nothing(self) -> None:
        self.make(ME, in_thread=lambda work, *args: fail(OSError(5, "Input/output error")))
        found = self.answer()
        assert isinstance(found, CannotKnow)
        self.assertIn("Input/output error", found.error)


class Followed(RoutingCase):
    def setUp(self) -> None:
        self.world(
            DomainRule(
                name="example.org",
                mailboxes="users",
                aliases="aliases",
                deliver="local",
                separators="+",
                dot_forward="/home/{local_part}/.forward",
            ),
            tables={
                "users": dict.fromkeys(("ann", "bob", "eve", "joe", '"x.y/../z"@example.org'), ""),
                "aliases": {"info": "ann, eve"},
            },
        )
        self.homes: dict[str, Any] = {"ann": "\\ann, x@far.example", "bob": "bob@far.example"}

    def home(self, question: HomeFileQuestion) -> Any:
        self.assertEqual(question.path, f"/home/{question.user}/.forward")
        return self.homes.get(question.user, "")

    def test_where_mail_goes(self) -> None:
        path = ("forward:bob@example.org",)
        self.assertEqual(self.expand("bob@example.org"), {"bob@far.example": path})
        self.assertEqual(self.ends("ann@example.org"), {"ann@example.org", "x@far.example"})
        self.assertEqual(self.ends("Ann+tag@example.org"), {"ann@example.org", "x@far.example"})
        self.assertEqual(self.expand("eve@example.org"), {"eve@example.org": ()})
        self.assertEqual(self.ends("info@example.org"), {"ann@example.org", "x@far.example", "eve@example.org"})
        for text in ("ann@example.org", "bob+x@example.org", "eve@example.org"):
            self.assertEqual(self.admit(text), "taken")
        self.assertEqual(self.admit("nobody@example.org"), "550 5.1.1 No such mailbox here")

    def test_no_name_leads_out_of_the_homes(self) -> None:
        name = '"x.y/../z"@example.org'
        self.assertEqual(self.expand(name), {name: ()})

    def test_users_who_forward_to_each_other_are_told_at_rcpt(self) -> None:
        self.homes = {"ann": "bob", "bob": "ann"}
        self.assertIn("5.4.6", self.admit("ann@example.org"))

    def test_trouble_of_the_disk(self) -> None:
        self.homes["ann"] = CannotKnow("away")
        self.assertIn("451 4.3.0", self.admit("ann@example.org"))
