"""TLS of the running daemon: certificates by name, changed while it runs; both ways as clients use them."""

from __future__ import annotations

import os
import shutil
import smtplib
import socket
import ssl
import subprocess
import sys
import unittest
from contextlib import suppress
from pathlib import Path

from cryptography import x509

from tests.certificates import Authority, Issued, put
from tests.integration.tools import DEADLINE, Daemon, Dialogue, free_port, wait_for

AUTHORITY = Authority()
MAIL = AUTHORITY.issue("mail.ours.example")
OTHER = AUTHORITY.issue("other.example", "*.other.example")
TLS = '[tls]\ncertificates = "tls"\n'
IMPLICIT = '[[listen]]\nname = "implicit"\nendpoint = "tcp:{port}:interface=127.0.0.1"\ntls = "implicit"\n'


def trusting() -> ssl.SSLContext:
    """A client that trusts our authority alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=AUTHORITY.pem.decode())
    return context


class Tls(Daemon):
    """A daemon with two certificates and a port with implicit TLS."""

    def __init__(self, more: str = "", tls: str = TLS, **others: object) -> None:
        self.implicit = free_port()
        super().__init__(IMPLICIT.format(port=self.implicit) + tls + more, start=bool(others.pop("start", True)))
        self.certificate("mail.pem", MAIL)
        self.certificate("other.pem", OTHER)

    def certificate(self, name: str, issued: Issued | bytes, mode: int = 0o600) -> Path:
        octets = issued if isinstance(issued, bytes) else issued.both
        return put(self.folder / "tls" / name, octets, mode)

    def shown(self, name: str | None) -> bytes:
        """The certificate that the port with implicit TLS shows for a name."""
        context = trusting()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", self.implicit), DEADLINE) as sock,
            context.wrap_socket(sock, server_hostname=name) as tls,
        ):
            octets = tls.getpeercert(binary_form=True)
            assert octets is not None
            return octets

    def shows(self, name: str | None, issued: Issued) -> bool:
        return x509.load_der_x509_certificate(self.shown(name)) == x509.load_pem_x509_certificate(issued.certificate)


class Clients(unittest.TestCase):
    def test_smtplib_both_ways(self) -> None:
        with Tls() as daemon:
            with smtplib.SMTP("127.0.0.1", daemon.port, timeout=DEADLINE) as smtp:
                smtp._host = "mail.ours.example"  # type: ignore[attr-defined]  # the name to verify
                smtp.ehlo()
                self.assertTrue(smtp.has_extn("starttls"))
                smtp.starttls(context=trusting())
                smtp.ehlo()
                self.assertFalse(smtp.has_extn("starttls"))
                smtp.sendmail("a@b.example", ["ann@ours.example"], "Subject: x\r\n\r\none\r\n")
            with smtplib.SMTP_SSL("127.0.0.1", daemon.implicit, context=self.any(), timeout=DEADLINE) as smtp:
                smtp.sendmail("a@b.example", ["ann@ours.example"], "Subject: x\r\n\r\n" + "two\r\n" * 200_000)
            first, second = sorted(daemon.wait_for_mail("ann", 2), key=len)
            for octets in (first, second):
                self.assertRegex(octets, rb"with ESMTPS\n\t\(version=TLSv1\.3 cipher=TLS_AES_256_GCM_SHA384\)")
            id = first.partition(b" id ")[2].split()[0].decode()
            self.assertIn("TLSv1.3 TLS_AES_256_GCM_SHA384", daemon.mta("explain", id).stdout)
            self.assertIn("2 handshakes, 0 failed", daemon.mta("status").stdout)

    @staticmethod
    def any() -> ssl.SSLContext:
        context = trusting()
        context.check_hostname = False
        return context

    def test_swaks(self) -> None:
        if shutil.which("swaks") is None:
            raise unittest.SkipTest("swaks is not installed")
        if subprocess.run(["perl", "-MNet::SSLeay", "-e1"], capture_output=True).returncode:
            raise unittest.SkipTest("swaks has no TLS without the Perl module Net::SSLeay")
        with Tls() as daemon:
            for number, (option, port) in enumerate((("--tls", daemon.port), ("--tls-on-connect", daemon.implicit)), 1):
                done = subprocess.run(
                    [
                        "swaks",
                        "--server",
                        f"127.0.0.1:{port}",
                        "--to",
                        "ann@ours.example",
                        "--from",
                        "a@b.example",
                        option,
                    ],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
                self.assertIn("TLS started", done.stdout)
                self.assertEqual(len(daemon.wait_for_mail("ann", number)), number)

    def test_old_versions_are_refused_and_told(self) -> None:
        with Tls() as daemon, socket.create_connection(("127.0.0.1", daemon.implicit), DEADLINE) as sock:
            # A ClientHello of TLS 1.0, without the extension that could say more.
            hello = b"\x01" + (43).to_bytes(3, "big") + b"\x03\x01" + b"r" * 32 + b"\0\0\x04\x00\x2f\x00\x35\x01\x00"
            hello = hello[:1] + (len(hello) - 4).to_bytes(3, "big") + hello[4:]
            sock.sendall(b"\x16\x03\x01" + len(hello).to_bytes(2, "big") + hello)
            self.assertEqual(sock.recv(1), b"\x15", "an alert")
            daemon.wait_for_log("to implicit: no TLS: unsupported protocol")
            self.assertIn("0 handshakes, 1 failed", daemon.mta("status").stdout)


class Proxies(unittest.TestCase):
    HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.1 4711 465\r\n"

    def test_header_then_tls_then_greeting(self) -> None:
        """However it is cut: header and ClientHello in one segment, and the header octet by octet."""
        port = free_port()
        more = IMPLICIT.format(port=port).replace("implicit", "proxied", 1) + 'proxy = ["127.0.0.0/8"]\n'
        with Tls(more):
            for cuts in ([len(self.HEADER)], list(range(1, len(self.HEADER) + 1)), []):
                with socket.create_connection(("127.0.0.1", port), DEADLINE) as sock:
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
                    tls = trusting().wrap_bio(into, out, server_hostname="mail.ours.example")
                    with self.assertRaises(ssl.SSLWantReadError):
                        tls.do_handshake()
                    octets = self.HEADER + out.read()
                    for begin, end in zip([0, *cuts], [*cuts, len(octets)], strict=True):
                        sock.sendall(octets[begin:end])
                    said = self.run_tls(sock, tls, into, out)
                self.assertRegex(said, rb"\A220 mail\.ours\.example [^\r]*\r\n250-[^\r]*\r\n")
                self.assertRegex(said, rb"greets client\.example\r\n")
            with Dialogue(port) as client:
                client.sock.sendall(b"EHLO a.example\r\n")
                with suppress(ConnectionResetError):
                    self.assertEqual(client.reply(), "", "no header, no word")

    def run_tls(self, sock: socket.socket, tls: ssl.SSLObject, into: ssl.MemoryBIO, out: ssl.MemoryBIO) -> bytes:
        """Finish the handshake, say EHLO and QUIT; what the server said."""
        said, greeted = b"", False
        while True:
            try:
                if not greeted:
                    tls.do_handshake()
                    greeted = True
                    tls.write(b"EHLO client.example\r\nQUIT\r\n")
                piece = tls.read(4096)
                if not piece:
                    return said
                said += piece
            except ssl.SSLWantReadError:
                sock.sendall(out.read())
                received = sock.recv(65536)
                if not received:
                    return said
                into.write(received)
            except ssl.SSLZeroReturnError:
                return said


class Injection(unittest.TestCase):
    def test_every_split_point(self) -> None:
        """CVE-2011-0411: nothing that came in clear behind STARTTLS is run, in the segment or in one of its own."""
        octets = b"EHLO a.example\r\nSTARTTLS\r\nEHLO evil.example\r\nMAIL FROM:<evil@ours.example>\r\n"
        end = octets.index(b"STARTTLS\r\n") + len(b"STARTTLS\r\n")
        with Tls("[limits]\nconnections_per_client = 500\n") as daemon:
            for cut in range(1, len(octets) + 1):
                with Dialogue(daemon.port) as client:
                    client.reply()
                    client.sock.sendall(octets[:cut])
                    if cut < end:
                        client.sock.sendall(octets[cut:])
                    self.assertTrue(client.reply().startswith("250"))
                    self.assertTrue(client.reply().startswith("220 "))
                    if cut < end:
                        continue  # what is read with STARTTLS, and what of its own, is the kernel's to say
                    self.after(client)

    def after(self, client: Dialogue) -> None:
        """The rest was in one segment with STARTTLS: TLS begins clean, and the session knows nothing."""
        context = trusting()
        with context.wrap_socket(client.sock, server_hostname="mail.ours.example") as tls:
            tls.sendall(b"MAIL FROM:<a@b.example>\r\nQUIT\r\n")
            said = b""
            while piece := tls.recv(4096):
                said += piece
        self.assertRegex(said, rb"\A503 5\.5\.1 [^\r]*\r\n221 [^\r]*\r\n\Z")


class Names(unittest.TestCase):
    def test_by_name(self) -> None:
        with Tls() as daemon:
            for name, issued in (
                ("mail.ours.example", MAIL),
                ("other.example", OTHER),
                ("a.other.example", OTHER),
                ("a.b.other.example", MAIL),
                ("unknown.example", MAIL),
                (None, MAIL),
            ):
                self.assertTrue(daemon.shows(name, issued), name)

    def test_changed_while_it_runs(self) -> None:
        """By itself within some seconds, at once by a reload, and never to one that is broken."""
        with Tls() as daemon, Dialogue(daemon.port) as open_session:
            open_session.greet()
            new = AUTHORITY.issue("other.example", "third.example")
            daemon.certificate("other.pem", new)
            wait_for(lambda: daemon.shows("third.example", new), daemon.log)
            daemon.certificate("other.pem", b"nonsense")
            daemon.wait_for_log("what was in force stays: ")
            self.assertTrue(daemon.shows("other.example", new))
            done = daemon.mta("reload")
            self.assertIn("read again", done.stdout)
            self.assertTrue(daemon.shows("other.example", new))
            newest = AUTHORITY.issue("other.example")
            daemon.certificate("other.pem", newest)
            daemon.mta("reload")
            self.assertTrue(daemon.shows("other.example", newest))
            # An open session goes over to TLS with what is in force by then.
            self.assertTrue(open_session.say("STARTTLS").startswith("220 "))
            with trusting().wrap_socket(open_session.sock, server_hostname="other.example") as tls:
                shown = tls.getpeercert(binary_form=True)
            assert shown is not None
            self.assertEqual(x509.load_der_x509_certificate(shown), x509.load_pem_x509_certificate(newest.certificate))

    def test_reload_that_names_a_broken_one_changes_nothing(self) -> None:
        with Tls() as daemon:
            daemon.change(TLS, TLS + 'certificate = "no.pem"\n')
            done = daemon.mta("reload", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no.pem: cannot be read: No such file", done.stderr)
            self.assertTrue(daemon.shows("other.example", OTHER))


class Starts(unittest.TestCase):
    def test_key_that_others_may_read(self) -> None:
        with Tls(start=False) as daemon:
            path = daemon.certificate("other.pem", OTHER, 0o644)
            self.assertIn(f"{path}: others may read this key; run: chmod o-rwx {path}", daemon.refused())
            done = daemon.mta("check", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("others may read this key", done.stderr)

    def test_everything_that_is_wrong_at_once(self) -> None:
        with Tls(start=False) as daemon:
            daemon.certificate("other.pem", b"nonsense")
            daemon.certificate("third.crt", OTHER.certificate)
            said = daemon.refused()
            self.assertIn("other.pem: is no certificate in PEM", said)
            self.assertIn("third.key: cannot be read", said)

    def test_check_warns_of_the_end_and_of_a_name_that_is_missing(self) -> None:
        with Tls(start=False) as daemon:
            daemon.certificate("mail.pem", AUTHORITY.issue("elsewhere.example", days=3))
            said = daemon.mta("check").stdout
            self.assertIn("mail.pem for elsewhere.example ends on ", said)
            self.assertIn("tls: no certificate is for mail.ours.example", said)

    def test_start_warns_of_the_end(self) -> None:
        with Tls(start=False) as daemon:
            daemon.certificate("mail.pem", AUTHORITY.issue("mail.ours.example", days=3.5))
            daemon.start()
            self.assertIn("for mail.ours.example, ends in 3 days", daemon.log())

    def test_self_signed_out_of_the_box(self) -> None:
        with Daemon() as daemon:
            self.assertIn("hint: tls: no certificate is named: a self-signed one is used", daemon.mta("check").stdout)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(daemon.state / "tls" / "self-signed.pem")
            with smtplib.SMTP("127.0.0.1", daemon.port, timeout=DEADLINE) as smtp:
                smtp._host = "mail.ours.example"  # type: ignore[attr-defined]
                smtp.starttls(context=context)
            before = (daemon.state / "tls" / "self-signed.pem").read_bytes()
            daemon.stop()
            daemon.start()
            self.assertEqual((daemon.state / "tls" / "self-signed.pem").read_bytes(), before)

    def test_none(self) -> None:
        with Daemon("[tls]\nself_signed = false\n") as daemon, Dialogue(daemon.port) as client:
            self.assertIn("STARTTLS is not offered", daemon.mta("check").stdout)
            client.reply()
            self.assertNotIn("STARTTLS", client.say("EHLO a.example"))
            self.assertTrue(client.say("STARTTLS").startswith("502 "))

    def test_override_by_listener(self) -> None:
        with Daemon(start=False) as daemon:
            daemon.arguments = ("--set", "listen.mx.tls=none")
            daemon.start()
            with Dialogue(daemon.port) as client:
                client.reply()
                self.assertNotIn("STARTTLS", client.say("EHLO a.example"))


class Privileges(unittest.TestCase):
    def test_keys_that_root_alone_may_read(self) -> None:
        """Read before privileges are dropped, kept while they cannot be read again."""
        if os.geteuid() != 0:
            raise unittest.SkipTest("only root can drop privileges")
        nobody = 65534
        try:
            subprocess.run(
                [sys.executable, "-c", "import importlib.readers"], user=nobody, capture_output=True, check=True
            )
        except (OSError, subprocess.CalledProcessError):
            raise unittest.SkipTest("the interpreter of the tests is not for other users") from None
        with Tls(start=False) as daemon:
            for path in (daemon.folder, daemon.folder / "tls"):
                path.chmod(0o755)
            for folder in (daemon.state, daemon.mail):
                folder.mkdir(mode=0o700)
                os.chown(folder, nobody, nobody)
            daemon.starter = (*daemon.starter, f"--uid={nobody}", f"--gid={nobody}")
            daemon.start()
            self.assertTrue(daemon.shows("other.example", OTHER))
            daemon.certificate("other.pem", AUTHORITY.issue("other.example"))
            daemon.wait_for_log("other.pem: cannot be read: Permission denied")
            self.assertTrue(daemon.shows("other.example", OTHER))
            self.assertIn("read again", daemon.mta("reload").stdout)
            self.assertTrue(daemon.shows("other.example", OTHER))
            daemon.certificate("new.pem", MAIL, 0o600)
            done = daemon.mta("reload", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("new.pem: cannot be read: Permission denied", done.stderr)
