"""Files of the pickup folder, as they are written."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.sendmail.dropped import FORMAT, MOST_ENVELOPE, READY, Envelope, drop, head_of, read_envelope
from mta.sendmail.statuses import TEMPFAIL, Trouble

_TEXT = st.text(alphabet=st.characters(min_codepoint=32, exclude_characters="\x7f"), max_size=20)


class Dropped(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)

    def test_what_is_left_is_whole_and_marked(self) -> None:
        old = os.umask(0o077)
        self.addCleanup(os.umask, old)
        drop(str(self.folder), Envelope(None, ("bob",)), [b"A: 1\r\n\r\n", b"x\r\n"])
        (path,) = self.folder.iterdir()
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), READY)
        octets = path.read_bytes()
        envelope, start = read_envelope(octets)
        self.assertEqual(envelope, Envelope(None, ("bob",)))
        self.assertEqual(octets[start:], b"A: 1\r\n\r\nx\r\n")

    def test_it_is_synced_before_and_after_the_mark(self) -> None:
        steps: list[str] = []
        with (
            patch("os.fsync", lambda descriptor: steps.append("sync")),
            patch("os.fchmod", lambda descriptor, mode: steps.append("mark")),
        ):
            drop(str(self.folder), Envelope("", ("bob",)), [])
        self.assertEqual(steps, ["sync", "mark", "sync"])

    def test_nothing_is_left_of_what_fails(self) -> None:
        def broken() -> object:
            yield b"x"
            raise OSError(28, "No space left on device")

        trouble = self.assertRaises(Trouble, drop, str(self.folder), Envelope("", ("bob",)), broken())
        self.assertEqual(trouble.status, TEMPFAIL)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_a_folder_that_is_not_there(self) -> None:
        trouble = self.assertRaises(Trouble, drop, str(self.folder / "no"), Envelope("", ("bob",)), [])
        self.assertEqual(trouble.status, TEMPFAIL)

    @given(st.none() | _TEXT, st.lists(_TEXT, min_size=1, max_size=4), _TEXT, _TEXT)
    def test_an_envelope_reads_back(self, sender: str | None, recipients: list[str], notify: str, envid: str) -> None:
        envelope = Envelope(sender, tuple(recipients), notify, "FULL", envid, "8BITMIME")
        self.assertEqual(read_envelope(head_of(envelope) + b"x")[0], envelope)

    @given(st.binary(max_size=200))
    def test_any_octets_are_an_envelope_or_wrong(self, octets: bytes) -> None:
        for whole in (octets, FORMAT + octets, FORMAT + octets + b"\n"):
            try:
                read_envelope(whole)
            except ValueError:
                continue

    def test_what_is_no_envelope(self) -> None:
        for text in (
            b"",
            b"{",
            b"[]",
            b"{}",
            b'{"sender": null}',
            head_of(Envelope(None, ()))[len(FORMAT) :].strip(),
            head_of(Envelope("a\nb", ("bob",)))[len(FORMAT) :].strip(),
            head_of(Envelope("a", ("bob", "b\x7fb")))[len(FORMAT) :].strip(),
            head_of(Envelope("a", ("bob",))).replace(b'"bob"', b"1")[len(FORMAT) :].strip(),
            head_of(Envelope("a", ("bob",), notify="x")).replace(b'"x"', b"{}")[len(FORMAT) :].strip(),
            head_of(Envelope("a", ("bob",))).replace(b"}", b', "uid": 0}')[len(FORMAT) :].strip(),
            b"[" * 5000,
        ):
            self.assertRaises(ValueError, read_envelope, FORMAT + text + b"\n")
        self.assertRaises(ValueError, read_envelope, FORMAT + b" " * (MOST_ENVELOPE + 10) + b"\n")
        self.assertRaises(ValueError, read_envelope, b"\x80\x04pickle")
