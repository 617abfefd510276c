"""Logins as others' programs do them: smtplib, swaks, msmtp, curl, gsasl and nodemailer, at the running daemon."""

from __future__ import annotations

import json
import os
import shutil
import smtplib
import ssl
import subprocess
import time
import unittest
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from mta.accounts.file import with_password
from mta.accounts.hashes import Cost
from mta.accounts.records import Record, written
from tests.certificates import Authority, put
from tests.integration.tools import Daemon, free_port

NAME, PASSWORD = "ann@ours.example", "secret, = word"
AUTHORITY, CLIENTS = Authority(), Authority("Clients")
MODULES = Path(__file__).parents[2] / ".bench/logins/node_modules"
KEY = ec.generate_private_key(ec.SECP256R1())
MORE = """
[[listen]]
name = "logins"
endpoint = "tcp:{port}:interface=127.0.0.1"
auth = true
client_authority = "tls/clients.pem"
[[listen]]
name = "implicit"
endpoint = "tcp:{implicit}:interface=127.0.0.1"
tls = "implicit"
auth = true
[tls]
certificates = "tls/ours"
[login]
refuse_after = "0s"
mechanisms = ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-1", "EXTERNAL", "OAUTHBEARER",
  "XOAUTH2", "PLAIN", "LOGIN", "CRAM-MD5"]
[accounts.main]
type = "file"
path = "accounts"
certificate_names = true
[accounts.tokens]
type = "oauth"
issuer = "https://id.example"
audience = ["mail"]
keys = "issuer.json"
[limits]
greet_delay = "0s"
"""
MAIL = f"From: {NAME}\r\nTo: bob@ours.example\r\nSubject: hello\r\n\r\nIt works.\r\n"


def trusting() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=AUTHORITY.pem.decode())
    return context


def token(**claims: Any) -> str:
    told = {"iss": "https://id.example", "aud": "mail", "exp": time.time() + 600, "email": NAME, **claims}
    return jwt.encode(told, KEY, "ES256", {"kid": "k"})


class Logins(Daemon):
    """A daemon with an account, its certificate, and an issuer of tokens."""

    def __init__(self) -> None:
        self.submit, self.implicit = free_port(), free_port()
        super().__init__(MORE.format(port=self.submit, implicit=self.implicit))
        record = with_password(
            Record(name=NAME, addresses=(NAME,)), PASSWORD.encode(), Cost(64, 1, 1, 4096), scram=True
        )
        put(self.folder / "accounts", written([record]).encode())
        keys = {**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k"}
        put(self.folder / "issuer.json", json.dumps({"keys": [keys]}).encode())
        put(self.folder / "tls/ours/mail.pem", AUTHORITY.issue("localhost", "mail.ours.example").both)
        put(self.folder / "tls/clients.pem", CLIENTS.pem)
        put(self.folder / "tls/authority.pem", AUTHORITY.pem)
        issued = CLIENTS.issue(NAME)
        put(self.folder / "tls/ann.pem", issued.certificate)
        put(self.folder / "tls/ann.key", issued.key)

    def file(self, name: str) -> str:
        return str(self.folder / "tls" / name)


class Case(unittest.TestCase):
    daemon: Logins

    @classmethod
    def setUpClass(cls) -> None:
        cls.daemon = cls.enterClassContext(Logins())

    def run_it(self, *command: str, given: str = "", okay: bool = True, **environment: str) -> str:
        """Run a program; what it said."""
        if shutil.which(command[0]) is None:
            self.skipTest(f"{command[0]} is not installed")
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
        )
        said = done.stdout + done.stderr
        self.assertEqual(done.returncode == 0, okay, f"{said}\n{self.daemon.log()[-3000:]}")
        return said

    def logged_in(self, mechanism: str) -> None:
        self.daemon.wait_for_log(f" by {mechanism}   TLSv1.3")


class Smtplib(Case):
    def client(self) -> smtplib.SMTP:
        client = smtplib.SMTP("127.0.0.1", self.daemon.submit, timeout=30)
        client._host = "localhost"  # type: ignore[attr-defined]  # whose certificate is wanted
        client.starttls(context=trusting())
        return client

    def test_each_mechanism_it_has(self) -> None:
        for mechanism in ("auth_plain", "auth_login"):
            with self.client() as client:
                client.ehlo()
                client.user, client.password = NAME, PASSWORD  # type: ignore[attr-defined]
                name = mechanism[5:].upper()
                for first in (True, False):
                    code, said = client.auth(name, getattr(client, mechanism), initial_response_ok=first)
                    self.assertEqual(code, 235 if first else 503, said)
                    if not first:
                        break
            self.logged_in(name)

    def test_mail_is_taken_for_anywhere_and_traced(self) -> None:
        with self.client() as client:
            client.login(NAME, PASSWORD)
            self.assertEqual(client.sendmail(NAME, ["bob@ours.example", "x@elsewhere.invalid"], MAIL), {})
        self.assertTrue(any(b"with ESMTPSA" in mail for mail in self.daemon.wait_for_mail("bob")))

    def test_an_account_sends_only_as_itself_also_where_strangers_send(self) -> None:
        with self.client() as client:
            client.ehlo()
            code, _ = client.mail("x@strange.invalid")
            self.assertEqual(code, 250)
            self.assertEqual(client.rset()[0], 250)
            client.login(NAME, PASSWORD)
            self.assertEqual(client.mail("bob@ours.example")[0], 550)
            self.assertEqual(client.mail(NAME)[0], 250)
            client.rcpt("bob@ours.example")
            self.assertEqual(client.data(MAIL.replace(f"From: {NAME}", "From: bob@ours.example"))[0], 550)

    def test_a_wrong_password(self) -> None:
        with self.client() as client, self.assertRaises(smtplib.SMTPAuthenticationError) as refused:
            client.login(NAME, "wrong")
        self.assertEqual(refused.exception.smtp_code, 535)

    def test_not_without_tls(self) -> None:
        with smtplib.SMTP("127.0.0.1", self.daemon.submit, timeout=30) as client:
            client.ehlo()
            self.assertFalse(client.has_extn("auth"))
            self.assertRaises(smtplib.SMTPNotSupportedError, client.login, NAME, PASSWORD)

    def test_implicit_tls(self) -> None:
        with smtplib.SMTP_SSL("localhost", self.daemon.implicit, timeout=30, context=trusting()) as client:
            client.login(NAME, PASSWORD)


class Swaks(Case):
    def swaks(self, *more: str, okay: bool = True, to: str = "x@elsewhere.invalid") -> str:
        place = ("--server", f"127.0.0.1:{self.daemon.submit}", "--tls")
        who = ("--from", NAME, "--to", to, "--auth-user", NAME, "--auth-password", PASSWORD)
        return self.run_it("swaks", *place, *who, *more, okay=okay)

    def test_plain_and_login(self) -> None:
        for mechanism in ("PLAIN", "LOGIN"):
            self.assertIn("235 2.7.0", self.swaks("--auth", mechanism))
            self.logged_in(mechanism)

    def test_a_wrong_password(self) -> None:
        self.assertIn("535 5.7.8", self.swaks("--auth", "PLAIN", "--auth-password", "wrong", okay=False))


class Msmtp(Case):
    def msmtp(self, mechanism: str, *more: str, okay: bool = True, password: str = PASSWORD) -> str:
        secret = self.daemon.folder / f"password-{mechanism}"
        secret.write_text(password)
        return self.run_it(
            "msmtp",
            "--file=/dev/null",
            "--host=localhost",
            f"--port={self.daemon.submit}",
            "--tls=on",
            "--tls-starttls=on",
            f"--tls-trust-file={self.daemon.file('authority.pem')}",
            f"--auth={mechanism}",
            f"--user={NAME}",
            f"--passwordeval=cat {secret}",
            f"--from={NAME}",
            "--debug",
            *more,
            "x@elsewhere.invalid",
            given=MAIL,
            okay=okay,
        )

    def test_passwords(self) -> None:
        for mechanism in ("plain", "login", "scram-sha-1", "scram-sha-256"):
            with self.subTest(mechanism):
                self.msmtp(mechanism)
                self.logged_in(mechanism.upper())

    def test_tokens(self) -> None:
        for mechanism in ("oauthbearer", "xoauth2"):
            with self.subTest(mechanism):
                self.msmtp(mechanism, password=token())
                self.logged_in(mechanism.upper())
                self.msmtp(mechanism, okay=False, password=token(aud="web"))

    def test_a_certificate(self) -> None:
        files = (f"--tls-cert-file={self.daemon.file('ann.pem')}", f"--tls-key-file={self.daemon.file('ann.key')}")
        self.msmtp("external", *files)
        self.logged_in("EXTERNAL")

    def test_a_wrong_password(self) -> None:
        for mechanism in ("plain", "scram-sha-256"):
            self.assertIn("535 5.7.8", self.msmtp(mechanism, okay=False, password="wrong"))


class Curl(Case):
    def curl(self, *more: str, okay: bool = True) -> str:
        body = self.daemon.folder / "mail"
        body.parent.mkdir(exist_ok=True)
        mail = self.daemon.folder / "curl.eml"
        mail.write_text(MAIL)
        place = (f"smtp://localhost:{self.daemon.submit}/client.example", "--ssl-reqd")
        trust = ("--cacert", self.daemon.file("authority.pem"), "--mail-from", NAME, "--upload-file", str(mail))
        return self.run_it("curl", "-sv", *place, *trust, "--mail-rcpt", "x@elsewhere.invalid", *more, okay=okay)

    def test_passwords(self) -> None:
        able = ("PLAIN", "LOGIN")
        if "gsasl" in self.run_it("curl", "--version"):
            able += ("SCRAM-SHA-1", "SCRAM-SHA-256")  # type: ignore[assignment]  # some are built without
        for mechanism in able:
            with self.subTest(mechanism):
                said = self.curl("--user", f"{NAME}:{PASSWORD}", "--login-options", f"AUTH={mechanism}", okay=True)
                self.assertIn("235 2.7.0", said)

    def test_tokens(self) -> None:
        for mechanism in ("OAUTHBEARER", "XOAUTH2"):
            with self.subTest(mechanism):
                options = ("--user", NAME, "--login-options", f"AUTH={mechanism}")
                self.assertIn("235 2.7.0", self.curl(*options, "--oauth2-bearer", token()))
                self.assertIn("535 5.7.8", self.curl(*options, "--oauth2-bearer", token(exp=1), okay=False))

    def test_initial_responses(self) -> None:
        for initial in ("--sasl-ir", "--no-sasl-ir"):
            self.assertIn("235 2.7.0", self.curl("--user", f"{NAME}:{PASSWORD}", initial))


class Gsasl(Case):
    def gsasl(self, mechanism: str, *more: str, okay: bool = True, password: str = PASSWORD) -> str:
        return self.run_it(
            "gsasl",
            "--smtp",
            f"--connect=localhost:{self.daemon.submit}",
            "--starttls",
            f"--x509-ca-file={self.daemon.file('authority.pem')}",
            f"--mechanism={mechanism}",
            f"--authentication-id={NAME}",
            f"--password={password}",
            "--no-client-first",
            "--application-data",
            *more,
            okay=okay,
        )

    def test_passwords_and_channel_binding(self) -> None:
        # RFC 5802, RFC 7677, RFC 9266: GnuTLS on its side computes the same binding
        for mechanism in ("PLAIN", "LOGIN", "SCRAM-SHA-1", "SCRAM-SHA-256", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256-PLUS"):
            with self.subTest(mechanism):
                # Without PLUS it would have to say that it did not see our offer, and does not: RFC 5802 6.
                self.gsasl(mechanism, *(() if "PLUS" in mechanism else ("--no-cb",)))
                self.logged_in(mechanism)

    def test_a_wrong_password(self) -> None:
        self.assertIn("535 5.7.8", self.gsasl("SCRAM-SHA-256-PLUS", okay=False, password="wrong"))


NODE = """
const transport = require('nodemailer').createTransport({
  host: 'localhost', port: Number(process.env.PORT), requireTLS: true, tls: {ca: process.env.CA},
  authMethod: process.env.METHOD,
  auth: process.env.TOKEN
    ? {type: 'OAuth2', user: process.env.WHO, accessToken: process.env.TOKEN}
    : {user: process.env.WHO, pass: process.env.PASS},
});
transport.sendMail({from: process.env.WHO, to: 'x@elsewhere.invalid', subject: 'hello', text: 'It works.'})
  .then(said => console.log(said.response), error => { console.error(error.message); process.exit(1); });
"""


class Nodemailer(Case):
    def setUp(self) -> None:
        if not (MODULES / "nodemailer").is_dir():
            self.skipTest("nodemailer is not there: make login-clients")

    def node(self, okay: bool = True, **more: str) -> str:
        given = {"PORT": str(self.daemon.submit), "CA": AUTHORITY.pem.decode(), "WHO": NAME, "PASS": PASSWORD}
        return self.run_it("node", "-e", NODE, okay=okay, NODE_PATH=str(MODULES), **{**given, **more})

    def test_passwords(self) -> None:
        for mechanism in ("PLAIN", "LOGIN"):
            self.assertIn("250 2.0.0", self.node(METHOD=mechanism))
            self.logged_in(mechanism)

    def test_a_token(self) -> None:
        self.assertIn("250 2.0.0", self.node(TOKEN=token()))
        self.logged_in("XOAUTH2")

    def test_a_wrong_password(self) -> None:
        self.assertIn("535", self.node(okay=False, PASS="wrong"))
