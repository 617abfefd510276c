"""What we sign is taken by those who verify: opendkim and npm's mailauth (dkimpy: tests/unit/dkim).

opendkim is a package of Debian; mailauth comes by ``make dkim-verifiers``.  Where one is missing its tests are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mta.dkim.keys import Algorithm, make, record
from mta.dkim.sign import Digest, Signatory

FOLDER = Path(__file__).parents[2] / ".bench"
OPENDKIM = shutil.which("opendkim") or shutil.which("opendkim", path="/usr/sbin")
MAILAUTH = FOLDER / "node_modules" / "mailauth"
SCRIPT = Path(__file__).with_name("dkim_mailauth.mjs")
DOMAIN = "example.org"
KEYS = {"r": make(Algorithm.RSA), "e": make(Algorithm.ED25519)}
HEADER = b"From: Ann <ann@example.org>\r\nTo: bob@b.example\r\nSubject: hello\r\n"
MESSAGES = {
    "plain": HEADER + b"\r\nHello.\r\n",
    "no-body": HEADER + b"\r\n",
    "empty-lines": HEADER + b"\r\n\r\n \r\n\t\r\n\r\n",
    "white-space": HEADER + b"Comments: a\r\n\tb  \r\n  c\r\n\r\n x \t y \r\n\r\n  \r\nz\t\r\n\r\n\r\n",
    "folded": b"from:Ann\r\n <ann@example.org>\r\nSUBJECT:\r\n\thi\r\n  you \r\nTo: a,\r\n b\r\nTo: c\r\n\r\nx\r\n",
    "many-fields": HEADER + b"List-Id: <x.example.org>\r\nResent-To: a\r\nResent-To: b\r\nSender: c\r\n\r\nx\r\n",
    "eight-bit": "From: Jörg <jörg@example.org>\r\nSubject: Grüße\r\n\r\nSchöne Grüße\r\n".encode(),
    "long-lines": HEADER + b"\r\n" + b"x" * 20_000 + b"\r\n" + b" y" * 5000 + b"\r\n",
    "dots": HEADER + b"\r\n.\r\n..\r\n.x\r\n",
    "large": HEADER + b"\r\n" + b"0123456789 abcdef  \r\n" * 50_000,
}


def signed(octets: bytes) -> bytes:
    digest = Digest()
    for at in range(0, len(octets), 1000):
        digest.feed(octets[at : at + 1000])
    digest.finish()
    who = [Signatory(DOMAIN, selector, key.algorithm) for selector, key in KEYS.items()]
    drafts = zip(digest.drafts(who, 1_795_546_800_000), KEYS.values(), strict=True)
    return b"".join(draft.field(key.sign(draft.octets)) for draft, key in drafts) + octets


class Verifiers(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.files = {}
        for name, octets in MESSAGES.items():
            self.files[name] = self.folder / name
            self.files[name].write_bytes(signed(octets))
        self.files["changed"] = self.folder / "changed"
        self.files["changed"].write_bytes(signed(MESSAGES["plain"]).replace(b"Hello.", b"Good bye."))
        self.records = {
            f"{selector}._domainkey.{DOMAIN}": record(key.algorithm, key.public) for selector, key in KEYS.items()
        }

    def expected(self, name: str, wrong: str = "fail") -> list[str]:
        return [wrong, wrong] if name == "changed" else ["pass", "pass"]

    def test_opendkim(self) -> None:
        keys, configuration = self.folder / "keys", self.folder / "opendkim.conf"
        keys.write_text("".join(f"{name} {text}\n" for name, text in self.records.items()))
        configuration.write_text(f"Mode v\nTestPublicKeys {keys}\nBackground no\nMinimumKeyBits 1024\n")
        assert OPENDKIM is not None
        for name, file in self.files.items():
            with self.subTest(name=name):
                command = [OPENDKIM, "-x", str(configuration), "-t", str(file), "-vvv"]
                done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
                found = re.findall(r"\bdkim=(\w+)", done.stdout)
                self.assertEqual(found, self.expected(name), done.stdout + done.stderr)

    def test_mailauth(self) -> None:
        keys = self.folder / "keys.json"
        keys.write_text(json.dumps(self.records))
        command = ["node", str(SCRIPT), str(keys), *map(str, self.files.values())]
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=120, check=True)
        for name, line in zip(self.files, done.stdout.splitlines(), strict=True):
            with self.subTest(name=name):
                # What it says where the digest of the body is another.
                self.assertEqual(json.loads(line), self.expected(name, "neutral"))

    if OPENDKIM is None:
        test_opendkim.skip = "opendkim is not installed"  # type: ignore[attr-defined]
    if not MAILAUTH.exists():
        test_mailauth.skip = "mailauth is not there: make dkim-verifiers"  # type: ignore[attr-defined]
