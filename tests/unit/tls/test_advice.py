"""What `mta check` says of certificates."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mta.config.load import from_mapping
from mta.config.providers import Providers
from mta.tls import files
from mta.tls.advice import Advice, advise
from mta.tls.certificates import NotReadable, Source
from tests.certificates import Authority, put

AUTHORITY = Authority()
PROVIDERS = Providers.find()


class Check(SynchronousTestCase):
    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)

    def advice(self, listener: str = "starttls", **tls: Any) -> Advice:
        configuration = from_mapping(
            {
                "format": 1,
                "hostname": "mail.ours.example",
                "postmaster": "postmaster@ours.example",
                "state": "state",
                "listen": [{"name": "mx", "endpoint": "tcp:2525", "tls": listener}],
                "tls": tls,
                "domains": {"ours.example": {"deliver": "local"}},
                "delivery": {
                    "local": {"type": "maildir", "path": "mail/{domain}/{local_part}"},
                    "internet": {"type": "smtp"},
                },
            },
            str(self.folder),
            providers=PROVIDERS,
        )
        return advise(configuration, round(time.time() * 1000))

    def issue(self, *names: str, **more: Any) -> None:
        put(self.folder / "a.pem", AUTHORITY.issue(*names, **more).both)

    def test_all_is_well(self) -> None:
        for name in ("mail.ours.example", "*.ours.example"):
            self.issue(name)
            self.assertEqual(self.advice(certificate="a.pem"), Advice([], [], []))

    def test_none(self) -> None:
        self.assertIn("self-signed", self.advice().hints[0])
        self.assertIn("STARTTLS is not offered", self.advice(self_signed=False).hints[0])
        self.assertIn("no listener has TLS", self.advice("none").hints[0])

    def test_dates(self) -> None:
        for days, before, words in ((3, 1, "ends on"), (-3, 9, "ended on"), (90, -3, "is not valid before")):
            self.issue("mail.ours.example", days=days, before=before)
            (warning,) = self.advice(certificate="a.pem").warnings
            self.assertIn(f"a.pem for mail.ours.example {words} 2", warning)

    def test_name_that_is_missing(self) -> None:
        self.issue("elsewhere.example")
        (hint,) = self.advice(certificate="a.pem").warnings
        self.assertIn("no certificate is for mail.ours.example", hint)

    def test_wrong_and_unreadable(self) -> None:
        self.issue("mail.ours.example")
        (error,) = self.advice(certificate="a.pem", key="no.key").errors
        self.assertIn("no.key: cannot be read", error)

        def denied(source: Source) -> None:
            raise NotReadable(f"{source.key}: cannot be read: Permission denied")

        self.patch(files, "read", denied)
        advice = self.advice(certificate="a.pem")
        self.assertEqual(advice.errors, [])
        self.assertIn("by who runs this; the service must be able to", advice.warnings[0])
