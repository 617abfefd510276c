"""People who have moved or left: RFC 5321 3.4."""

from __future__ import annotations

from routing_cases import RoutingCase, address
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.routing.moved import Moved, parse_moved
from mta.routing.rules import DomainRule

NO_MAILBOX = "550 5.1.1 No such mailbox here"
TABLE = {
    "silent": "new@far.example",
    "open": "new@far.example; reply=251",
    "told": "new@far.example; reply=551",
    "hidden": "new@far.example; reply=551-hidden",
    "left": "reply=550",
    "until": "new@far.example; reply=251; until=2027-03-31; then=551",
    "ends": "new@far.example; until=2027-03-31",
    "wide": "josé@far.example; reply=251",
    "wide551": "josé@far.example; reply=551",
    "near": "ann; reply=251",
    "wrong": "new@far.example; reply=252",
    "noted": "new@far.example; reply=251; note=address",
    "noted-hidden": "new@far.example; until=2027-03-31; then=551; note=moved",
    "postmaster": "reply=550",
}


class People(RoutingCase):
    def setUp(self) -> None:
        self.world(
            DomainRule(name="example.org", mailboxes="users", aliases="aliases", moved="moved", deliver="local"),
            DomainRule(name="other.example", alias_of="example.org"),
            tables={
                "users": {"ann": "", "told": "", "left": ""},
                "moved": TABLE,
                "aliases": {
                    "team": "ann, told, left, open",
                    "gone": "left, told",
                    "two": "silent, open",
                    "both": "noted, ann",
                },
            },
        )

    def test_replies(self) -> None:
        """RFC 5321 4.2.2: 251, 551; the mailbox may still be there."""
        # RFC 3463 X.1.6
        for local, reply in (
            ("silent", "taken"),
            ("open", "251 2.1.5 User not local; will forward to <new@far.example>"),
            ("told", "551 5.1.6 User not local; please try <new@far.example>"),
            ("hidden", "551 5.1.6 User not local; the new address is not told here"),
            ("left", NO_MAILBOX),
            # RFC 6531 3.7.4.1: the session tells it to those who can read it
            ("wide", "251 2.1.5 User not local; will forward to <josé@far.example>"),
            ("wide551", "551 5.1.6 User not local; please try <josé@far.example>"),
        ):
            self.assertEqual(self.admit(f"{local}@example.org"), reply, local)
            self.assertEqual(self.admit(f"{local.upper()}@other.example"), reply, local)

    def test_where_mail_goes(self) -> None:
        path = ("moved:silent@example.org",)
        self.assertEqual(self.expand("silent@example.org"), {"new@far.example": path})
        self.assertEqual(self.ends("open@other.example"), {"new@far.example"})
        self.assertEqual(self.ends("left@example.org"), {NO_MAILBOX})

    def test_another_choice_after_a_day(self) -> None:
        told = "User not local; please try <new@far.example>"
        for day, until, ends in (
            ("2027-03-31", "251 2.1.5 User not local; will forward to <new@far.example>", "taken"),
            ("2027-04-01", f"551 5.1.6 {told}", NO_MAILBOX),
        ):
            self.today = day
            self.assertEqual(self.admit("until@example.org"), until)
            self.assertEqual(self.admit("ends@example.org"), ends)

    def test_a_note_is_owed_where_it_was_chosen_and_mail_goes_on(self) -> None:
        for text, today, owed in (
            ("noted@example.org", "2027-01-01", {("noted@example.org", "new@far.example")}),
            ("noted-hidden@example.org", "2027-03-31", {("noted-hidden@example.org", "")}),
            ("open@example.org", "2027-01-01", set()),
            ("both@example.org", "2027-01-01", set()),
        ):
            self.today = today
            expansion = self.decide(lambda facts, text=text: self.router.expand(address(text), facts))
            notes = {(str(note.address), note.destination.next_hop) for note in expansion.notes}
            self.assertEqual(notes, owed, text)
        self.today = "2027-04-01"
        self.assertIn("551 ", self.admit("noted-hidden@example.org"))

    def test_behind_an_alias_nothing_is_told_and_the_rest_goes_on(self) -> None:
        self.assertEqual(self.admit("team@example.org"), "taken")
        self.assertEqual(self.ends("team@example.org"), {"ann@example.org", "new@far.example"})
        self.assertEqual(self.admit("gone@example.org"), NO_MAILBOX)
        self.assertEqual(self.admit("two@example.org"), "taken")

    def test_postmaster_never_leaves(self) -> None:
        """RFC 5321 4.5.1."""
        self.assertEqual(self.admit("postmaster@example.org"), "taken")
        self.assertEqual(self.ends("postmaster@example.org"), {"ann@example.org"})

    def test_a_mistake_or_a_table_that_cannot_tell_bounces_nothing(self) -> None:
        self.assertIn("451 4.3.5", self.admit("wrong@example.org"))
        self.assertIn("451 4.3.5", self.admit("near@example.org"))
        self.tables["moved"].failing = "away"
        self.assertIn("451 4.3.0", self.admit("told@example.org"))


class Values(SynchronousTestCase):
    NEW = Address("new", "far.example")

    def test_read(self) -> None:
        for text, moved in (
            ("new@far.example", Moved(self.NEW, "forward")),
            (" new@far.example ;; reply = 251 ;", Moved(self.NEW, "251")),
            ("reply=550", Moved(None, "550")),
            ("; reply=551-hidden; until=2028-02-29", Moved(None, "551-hidden", "2028-02-29")),
            ("until=2028-01-01; new=x", None),
            ("new@far.example; note=address", Moved(self.NEW, "forward", note="address")),
            ("a=b@far.example; reply=251", Moved(Address("a=b", "far.example"), "251")),
        ):
            if moved is None:
                self.assertRaises(ValueError, parse_moved, text)
            else:
                self.assertEqual(parse_moved(text), moved, text)

    def test_wrong_ones_in_plain_words(self) -> None:
        for text, hint in (
            ("", "empty"),
            ("new@", "domain"),
            ("ann", "no domain"),
            ("reply=251", "needs the new address"),
            ("new@far.example; reply=252", "none of forward, 251, 551"),
            ("new@far.example; then=550", "needs until="),
            ("new@far.example; until=31.3.2027", "2027-03-31"),
            ("new@far.example; until=2027-02-30", "day"),
            ("new@far.example; until=2027-03-31; until=2027-03-31", "once each"),
            ("reply=550; until=2027-03-31; then=forward", "needs the new address"),
            ("new@far.example; note=yes", "none of address, moved"),
            ("new@far.example; reply=551; note=moved", "for mail that is forwarded"),
        ):
            self.assertIn(hint, str(self.assertRaises(ValueError, parse_moved, text)), text)
