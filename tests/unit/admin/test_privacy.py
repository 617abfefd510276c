"""Addresses as ``privacy.addresses`` says."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from mta.admin.privacy import KEY_FILE, known_hash, mask_of
from mta.spool.masking import masked


class Masks(SynchronousTestCase):
    def setUp(self) -> None:
        self.state = self.mktemp()
        os.mkdir(self.state)

    def test_full_is_as_it_was(self) -> None:
        self.assertEqual(mask_of("full", self.state)("to <ann@a.example>"), "to <ann@a.example>")

    def test_domain_keeps_what_is_behind_the_at(self) -> None:
        mask = mask_of("domain", self.state)
        for text, expected in (
            (
                "from <ann@a.example> to bob@b.example, carol@c.example.",
                "from <*@a.example> to *@b.example, *@c.example.",
            ),
            ('550 5.1.1 <"a b"@c.example>: unknown', "550 5.1.1 <*@c.example>: unknown"),
            ("rfc822;ann+x=y@a.example", "rfc822;*@a.example"),
            ("<jürgen@bücher.example>", "<*@bücher.example>"),
            ("ann@[192.0.2.1] x", "*@[192.0.2.1] x"),
            ("try @ 5 and a@", "try @ 5 and a@"),
        ):
            self.assertEqual(mask(text), expected)
            self.assertEqual(mask(mask(text)), expected)

    def test_a_hash_is_the_same_for_the_same_address(self) -> None:
        mask = mask_of("hash", self.state)
        once, other = mask("ann@a.example"), mask("bob@a.example")
        self.assertRegex(once, r"^#[0-9a-f]{16}$")
        self.assertNotEqual(once, other)
        self.assertEqual(mask(f"<ann@A.example> and {once}"), f"<{once}> and {once}")
        self.assertEqual(mask_of("hash", self.state)("ann@a.example"), once)
        self.assertEqual(known_hash("ann@a.example", self.state), once)

    def test_the_key_is_ours_alone_and_makes_the_hash(self) -> None:
        once = mask_of("hash", self.state)("ann@a.example")
        path = os.path.join(self.state, KEY_FILE)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
        os.unlink(path)
        self.assertNotEqual(mask_of("hash", self.state)("ann@a.example"), once)

    def test_a_key_that_is_cut_off_is_refused(self) -> None:
        with open(os.path.join(self.state, KEY_FILE), "wb") as file:
            file.write(b"short")
        self.assertRaises(OSError, mask_of, "hash", self.state)

    def test_no_hash_without_a_key(self) -> None:
        self.assertEqual(known_hash("ann@a.example", self.state), "")

    def test_all_texts_of_a_value(self) -> None:
        mask = mask_of("domain", self.state)
        value = {"a": ["ann@a.example", 1, None, {"b": "bob@b.example"}]}
        self.assertEqual(masked(mask, value), {"a": ["*@a.example", 1, None, {"b": "*@b.example"}]})
