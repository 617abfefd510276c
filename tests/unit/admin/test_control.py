"""The control socket from the side of who asks: all that may be at its other end."""

from __future__ import annotations

import os
import socket
import tempfile
import threading

from twisted.trial.unittest import SynchronousTestCase

from mta.admin.control import ControlError, NotRunning, request, socket_path, too_long


class Asking(SynchronousTestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory(prefix="txmta-")
        self.addCleanup(holder.cleanup)
        self.state = holder.name

    def listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX)
        self.addCleanup(listening.close)
        listening.bind(socket_path(self.state))
        listening.listen()
        return listening

    def answered(self, octets: bytes) -> str:
        listening = self.listen()

        def serve() -> None:
            connection, _ = listening.accept()
            with connection, connection.makefile("rb") as file:
                file.readline()
                connection.sendall(octets)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            return str(self.assertRaises(ControlError, request, self.state, "status"))
        finally:
            thread.join()

    def test_nobody(self) -> None:
        self.assertIn("there is no control socket", str(self.assertRaises(NotRunning, request, self.state, "status")))

    def test_one_that_was_left_behind(self) -> None:
        self.listen().close()
        self.assertIn("nobody listens", str(self.assertRaises(NotRunning, request, self.state, "status")))

    def test_one_that_does_not_answer(self) -> None:
        self.listen()
        said = str(self.assertRaises(ControlError, request, self.state, "status", 0.01))
        self.assertIn("did not answer", said)

    def test_one_that_closes(self) -> None:
        self.assertIn("without an answer", self.answered(b""))

    def test_something_else(self) -> None:
        self.assertIn("is no txmta", self.answered(b"220 hello\r\n"))

    def test_something_like_it(self) -> None:
        self.assertIn("is no txmta", self.answered(b"[]\n"))

    def test_a_refusal(self) -> None:
        self.assertEqual(self.answered(b'{"ok": false, "error": "no"}\n'), "no")

    def test_a_name_that_is_too_long(self) -> None:
        # unix(7): 107 octets
        self.assertEqual(too_long("/" + "x" * 98), "")
        long = "/" + "x" * 99
        self.assertIn("a name of 108 octets, and a socket's has 107 at most", too_long(long))
        self.assertRaises(NotRunning, request, long, "status")
        self.assertIn("108", too_long("/" + "é" * 49 + "x"))
        self.assertFalse(os.path.exists(long))
