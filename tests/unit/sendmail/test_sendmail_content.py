"""Standard input to a message."""

from __future__ import annotations

import errno
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mta.sendmail.content import IN_MEMORY, Content, Octets, read_content
from mta.sendmail.statuses import DATAERR, IOERR, NOINPUT, Trouble


def giving(octets: bytes, piece: int = 65536) -> Callable[[int], bytes]:
    """Reads that give so much at once."""
    position = 0

    def read(size: int) -> bytes:
        nonlocal position
        found = octets[position : position + min(size, piece)]
        position += len(found)
        return found

    return read


def read(octets: bytes, dot_ends: bool = False, piece: int = 65536) -> Content:
    return read_content(giving(octets, piece), dot_ends)


def whole(content: Content) -> bytes:
    return content.header + b"\r\n" + b"".join(content.body.read())


class Reading(SynchronousTestCase):
    def test_lines_end_in_crlf(self) -> None:
        self.assertEqual(whole(read(b"A: 1\n\nx\ny\n")), b"A: 1\r\n\r\nx\r\ny\r\n")
        self.assertEqual(whole(read(b"A: 1\r\n\r\nx\r\ny\r\n")), b"A: 1\r\n\r\nx\r\ny\r\n")

    def test_the_last_line_may_lack_its_end(self) -> None:
        self.assertEqual(whole(read(b"A: 1\n\nx")), b"A: 1\r\n\r\nx\r\n")
        self.assertEqual(whole(read(b"A: 1")), b"A: 1\r\n\r\n")

    def test_no_header_at_all(self) -> None:
        self.assertEqual(whole(read(b"hello\n")), b"\r\nhello\r\n")
        self.assertEqual(whole(read(b"")), b"\r\n")
        self.assertEqual(whole(read(b" folded\n")), b"\r\n folded\r\n")

    def test_a_line_that_is_no_field_begins_the_body(self) -> None:
        self.assertEqual(whole(read(b"A: 1\nhello\n")), b"A: 1\r\n\r\nhello\r\n")

    def test_the_line_of_an_mbox_goes(self) -> None:
        self.assertEqual(
            whole(read(b"From ann Thu Jan  1 00:00:00 1970\nA: 1\n\nFrom here\n")), b"A: 1\r\n\r\nFrom here\r\n"
        )

    def test_a_dot_ends_it_where_it_may(self) -> None:
        octets = b"A: 1\n\nx\n.\ny\n"
        self.assertEqual(whole(read(octets, dot_ends=True)), b"A: 1\r\n\r\nx\r\n")
        self.assertEqual(whole(read(octets)), b"A: 1\r\n\r\nx\r\n.\r\ny\r\n")
        self.assertEqual(whole(read(b".\nx\n", dot_ends=True)), b"\r\n")
        self.assertEqual(whole(read(b"x\r\n.\r\ny", dot_ends=True)), b"\r\nx\r\n")
        self.assertEqual(whole(read(b"x\n.", dot_ends=True)), b"\r\nx\r\n")
        self.assertEqual(whole(read(b"x\n..\n. \n", dot_ends=True)), b"\r\nx\r\n..\r\n. \r\n")

    def test_a_cr_within_a_line(self) -> None:
        # In the body a line end, as it shows on a terminal; in the header it must not add a field.
        self.assertEqual(whole(read(b"A: 1\rBcc: eve\n\n10%\r20%\r\r\n")), b"A: 1 Bcc: eve\r\n\r\n10%\r\n20%\r\n\r\n")

    def test_a_nul_is_refused(self) -> None:
        trouble = self.assertRaises(Trouble, read, b"A: 1\n\na\0b")
        self.assertEqual(trouble.status, DATAERR)

    def test_a_failed_read_sends_nothing(self) -> None:
        for number, status in ((errno.EBADF, NOINPUT), (errno.EIO, IOERR)):
            begun = False

            def fail(size: int, number: int = number) -> bytes:
                nonlocal begun
                if not begun:
                    begun = True
                    return b"A: 1\n\n"
                raise OSError(number, "trouble")

            self.assertEqual(self.assertRaises(Trouble, read_content, fail, False).status, status)

    def test_a_header_without_end(self) -> None:
        field = b"A: " + b"x" * 70 + b"\n"
        self.assertEqual(self.assertRaises(Trouble, read, field * 30_000).status, DATAERR)

    def test_a_long_line_is_not_collected_again_and_again(self) -> None:
        octets = b"A: 1\n\n" + b"x" * (3 << 20)
        for dot_ends in (False, True):
            content = read(octets, dot_ends)
            self.assertEqual(content.body.size, (3 << 20) + 2)

    def test_fields_are_unfolded(self) -> None:
        content = read(b"To: ann,\n bob\nSubject : x\n\n")
        self.assertEqual([tuple(field) for field in content.fields], [(b"to", b"ann, bob"), (b"subject", b"x")])

    @given(st.binary(max_size=300).map(lambda octets: octets.replace(b"\0", b"")), st.integers(1, 20), st.booleans())
    def test_however_it_is_cut(self, octets: bytes, piece: int, dot_ends: bool) -> None:
        self.assertEqual(whole(read(octets, dot_ends, piece)), whole(read(octets, dot_ends)))

    @given(st.text(alphabet="a:\r\n .\u00e4", max_size=60), st.booleans())
    def test_what_comes_out_is_lines(self, text: str, dot_ends: bool) -> None:
        found = whole(read(text.encode(), dot_ends))
        bare = found.replace(b"\r\n", b"")
        self.assertNotIn(b"\r", bare)
        self.assertNotIn(b"\n", bare)
        self.assertTrue(found.endswith(b"\r\n"))


class Storing(SynchronousTestCase):
    def test_much_goes_to_a_file_and_comes_back(self) -> None:
        octets = Octets()
        for number in range(40):
            octets.write(bytes([number]) * (IN_MEMORY // 16))
        self.assertEqual(octets.size, 40 * (IN_MEMORY // 16))
        for _ in range(2):
            found = b"".join(octets.read())
            self.assertEqual(len(found), octets.size)
            self.assertEqual(found[:: IN_MEMORY // 16], bytes(range(40)))
