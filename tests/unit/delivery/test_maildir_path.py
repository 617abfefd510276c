"""The folder of a mailbox: ordinary names look ordinary, and no name leads anywhere else."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.address import Address
from mta.delivery.maildir_path import MAX_PART, MailboxPath, MailboxPathError, check_template, encoded
from mta.routing.keys import fold

PATH = MailboxPath("/var/mail/{domain}/{local_part}")


def folder(local: str, domain: str = "example.org") -> str:
    return PATH.folder(Address(local, domain), {})


class Folder(SynchronousTestCase):
    def test_ordinary_names_look_ordinary(self) -> None:
        self.assertEqual(folder("bob"), "/var/mail/example.org/bob")
        self.assertEqual(folder("j.r.smith+list_2=x"), "/var/mail/example.org/j.r.smith+list_2=x")

    def test_case_makes_no_other_mailbox(self) -> None:
        self.assertEqual(folder("Bob"), folder("bOB"))

    def test_one_name_in_two_unicode_forms_is_one_mailbox(self) -> None:
        # RFC 6532 3.1
        self.assertEqual(folder("jo\u0308rg"), folder("j\xf6rg"))
        self.assertTrue(folder("j\xf6rg").endswith("/j%C3%B6rg"))

    def test_nothing_leads_elsewhere(self) -> None:
        # CVE-2020-7247 and its kind
        for local, shown in (
            ("..", "%2E."),
            (".", "%2E"),
            ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
            ("/etc/passwd", "%2Fetc%2Fpasswd"),
            ("a\0b", "a%00b"),
            ("-rf", "%2Drf"),
            (".hidden", "%2Ehidden"),
            ("a%2Fb", "a%252fb"),
            ("$(id)", "%24%28id%29"),
            ("a b", "a%20b"),
        ):
            self.assertEqual(folder(local), f"/var/mail/example.org/{shown}")

    def test_a_name_too_long_for_a_folder_is_cut_and_stays_itself(self) -> None:
        one, other = folder("\xe9" * 255 + "a"), folder("\xe9" * 255 + "b")
        self.assertNotEqual(one, other)
        for path in (one, other):
            self.assertEqual(len(os.path.basename(path)), MAX_PART)

    def test_values_of_the_mailbox_table(self) -> None:
        path = MailboxPath("/home/{mailbox}/Maildir")
        self.assertEqual(path.folder(Address("bob", "example.org"), {"mailbox": "b0b"}), "/home/b0b/Maildir")
        self.assertEqual(path.folder(Address("bob", "example.org"), {"mailbox": "../Eve"}), "/home/%2E.%2FEve/Maildir")

    def test_a_value_that_is_missing_is_told(self) -> None:
        for values in ({}, {"mailbox": ""}):
            with self.assertRaisesRegex(MailboxPathError, "needs {mailbox}"):
                MailboxPath("/home/{mailbox}").folder(Address("bob", "example.org"), values)

    @given(st.text(min_size=1, max_size=256), st.text(min_size=1, max_size=256))
    def test_unequal_names_have_unequal_folders(self, one: str, other: str) -> None:
        assume(fold(one) != fold(other))
        self.assertNotEqual(folder(one).lower(), folder(other).lower())

    @given(st.text(min_size=1, max_size=256))
    def test_any_name_is_one_folder_below_the_domain(self, local: str) -> None:
        path = folder(local)
        self.assertEqual(os.path.dirname(path), "/var/mail/example.org")
        self.assertEqual(os.path.normpath(path), path)
        self.assertLessEqual(len(os.fsencode(os.path.basename(path))), MAX_PART)

    def test_the_longest_can_be_made(self) -> None:
        part = encoded("x" * 256)
        self.assertEqual(len(part), 256)
        Path(os.path.basename(folder("x" * 256))).mkdir()

    @given(
        st.tuples(st.text("a@.%/", min_size=1), st.text("a@.%/", min_size=1)),
        st.tuples(st.text("a@.%/", min_size=1), st.text("a@.%/", min_size=1)),
    )
    def test_two_values_in_one_part_do_not_run_into_each_other(
        self, one: tuple[str, str], other: tuple[str, str]
    ) -> None:
        assume(one != other)
        path = MailboxPath("/m/{a}@{b}")
        bob = Address("bob", "example.org")
        self.assertNotEqual(
            path.folder(bob, dict(zip("ab", one, strict=True))),
            path.folder(bob, dict(zip("ab", other, strict=True))),
        )


class Template(SynchronousTestCase):
    def test_good_ones(self) -> None:
        for template in (
            "/v/{domain}/{local_part}",
            "/v/{local_part}@{domain}",
            "/v/all",
            "/v/x-{mailbox}.d/Maildir",
        ):
            self.assertIsNone(check_template(template))

    def test_wrong_ones(self) -> None:
        self.assertIn("brace", check_template("/v/{domain/{local_part}") or "")
        self.assertIn("brace", check_template("/v/{}") or "")
        for template in ("/v/{domain}{local_part}", "/v/{local_part}-{domain}"):
            self.assertIn("run into each other", check_template(template) or "")


class Tag(SynchronousTestCase):
    """RFC 5233: the tag of ``user+tag``."""

    def folder(self, template: str, **values: str) -> str:
        self.assertIsNone(check_template(template))
        return MailboxPath(template).folder(Address("Ann+News", "example.org"), values)

    def test_the_mailbox_is_that_of_the_user(self) -> None:
        self.assertEqual(self.folder("/m/{local_part}", local_part="Ann", tag="News"), "/m/ann")

    def test_a_folder_of_the_tag(self) -> None:
        template = "/m/{local_part}/.{tag}"
        self.assertEqual(self.folder(template, local_part="ann", tag="News"), "/m/ann/.news")
        self.assertEqual(self.folder(template, local_part="ann", tag="../../x"), "/m/ann/.%2E.%2F..%2Fx")
        self.assertEqual(self.folder(template), "/m/ann+news")

    def test_where_it_could_be_taken_for_something_else(self) -> None:
        for template in ("/m/{local_part}/{tag}", "/m/{tag}/{local_part}", "/m/{local_part}@{tag}"):
            self.assertIn("{tag} in a place", str(check_template(template)))
