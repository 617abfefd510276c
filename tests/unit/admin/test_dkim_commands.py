"""``mta dkim``: a key's life from the command line, and what it says of DNS."""

from __future__ import annotations

import json
import os
from typing import Any

from stopped_state import StoppedState
from told_dns import told_dns

from mta.admin import dkim
from mta.dkim.keys import Algorithm, PrivateKey, make
from mta.dkim.published import Seen, judge
from mta.dkim.store import KeyFiles
from mta.routing.values import Answer, Found

DAY = 86_400_000
DOMAIN = "ours.example"
KEYS = {algorithm: [make(algorithm) for _ in range(3)] for algorithm in Algorithm}


class DkimCase(StoppedState):
    time = 1_795_546_800_000

    def setUp(self) -> None:
        super().setUp()
        self.dns = told_dns(self)
        self.now = self.time
        self.patch(dkim, "now_ms", lambda: self.now)
        self.ready = {algorithm: list(keys) for algorithm, keys in KEYS.items()}
        self.patch(dkim, "make", lambda algorithm, bits: self.ready[algorithm].pop(0))

    def keys(self) -> list[dict[str, Any]]:
        (found,) = json.loads(self.ok("dkim", "show", DOMAIN, "--no-dns", "--json"))
        keys: list[dict[str, Any]] = found["keys"]
        return keys

    def states(self) -> dict[str, str]:
        return {key["selector"]: key["state"] for key in self.keys()}

    def publish(self) -> None:
        for key in self.keys():
            self.dns.remove(key["name"])
            self.dns.add(key["name"], f"TXT {key['record']}")


class Life(DkimCase):
    def test_from_the_first_key_to_the_next(self) -> None:
        said = self.ok("dkim", "keygen", DOMAIN)
        self.assertIn('20261124r._domainkey.ours.example. IN TXT "v=DKIM1; k=rsa; p=', said)
        self.assertIn('20261124e._domainkey.ours.example. IN TXT "v=DKIM1; k=ed25519; p=', said)
        # RFC 1035 3.3, 5.1
        self.assertTrue(all(len(text) <= 255 for text in said.split('"')))
        self.assertIn("20261124r: not in DNS", self.refused("dkim", "rotate", DOMAIN))
        self.assertEqual(set(self.states().values()), {"new"})
        self.publish()
        self.assertIn("20261124e (ed25519-sha256) signs from now on", self.ok("dkim", "rotate", DOMAIN))
        self.assertEqual(set(self.states().values()), {"active"})

        self.now += 180 * DAY - 1
        self.assertIn("nothing is due before 2027-05-23", self.ok("dkim", "rotate", "--due"))
        self.now += 1
        self.assertIn("20270523r._domainkey", self.ok("dkim", "rotate", "--due"))
        self.publish()
        self.ok("dkim", "rotate", "--due")
        self.assertEqual(
            self.states(),
            {"20261124r": "retired", "20261124e": "retired", "20270523r": "active", "20270523e": "active"},
        )
        self.assertIn("leave 20261124r, 20261124e in DNS until 2027-06-06", self.ok("dkim", "show"))
        self.now += 14 * DAY
        self.assertIn("remove the record 20261124r._domainkey.ours.example", self.ok("dkim", "rotate", "--due"))
        self.assertEqual(self.states(), {"20270523r": "active", "20270523e": "active"})

    def test_somebody_who_cannot_wait(self) -> None:
        self.ok("dkim", "keygen", DOMAIN)
        self.ok("dkim", "rotate", DOMAIN, "--now")
        self.assertEqual(set(self.states().values()), {"active"})
        self.ok("dkim", "rotate", DOMAIN)
        self.ok("dkim", "rotate", DOMAIN, "--now")
        self.assertIn("nothing is due", self.ok("dkim", "rotate", DOMAIN))
        self.ok("dkim", "rotate", DOMAIN, "--now")
        self.assertEqual(len(self.states()), 2)

    def test_a_key_that_is_there_already(self) -> None:
        with open("old.pem", "wb") as file:
            file.write(KEYS[Algorithm.RSA][0].pem())
        self.ok("dkim", "keygen", DOMAIN, "--key", "old.pem", "--selector", "mail")
        (key,) = self.keys()
        self.assertEqual((key["selector"], key["algorithm"]), ("mail", "rsa-sha256"))
        self.assertIn("this key already", self.refused("dkim", "keygen", DOMAIN, "--key", "old.pem"))
        self.assertIn(
            "never used again",
            self.refused("dkim", "keygen", DOMAIN, "--algorithm", "rsa-sha256", "--selector", "mail"),
        )

    def test_retire(self) -> None:
        self.ok("dkim", "keygen", DOMAIN)
        self.ok("dkim", "retire", DOMAIN, "20261124e")
        self.ok("dkim", "rotate", DOMAIN, "--now")
        self.ok("dkim", "retire", DOMAIN, "20261124r")
        self.assertEqual(self.states(), {"20261124r": "retired"})
        self.assertIn('did you mean "20261124r"', self.refused("dkim", "retire", DOMAIN, "20261124"))

    def test_what_cannot_be(self) -> None:
        for arguments in (
            ("keygen", "a b"),
            ("keygen", "[192.0.2.1]"),
            ("keygen", DOMAIN, "--selector", "../x"),
            ("keygen", DOMAIN, "--selector", "two"),
            ("keygen", DOMAIN, "--key", os.devnull),
            ("rotate", DOMAIN),
            ("show", DOMAIN),
            ("retire", DOMAIN, "x"),
        ):
            with self.subTest(arguments=arguments):
                self.refused("dkim", *arguments)

    def test_a_key_that_anybody_may_read(self) -> None:
        self.ok("dkim", "keygen", DOMAIN)
        self.ok("dkim", "rotate", DOMAIN, "--now")
        folder = self.folder / "state" / "dkim" / DOMAIN
        (folder / "20261124r.pem").chmod(0o644)
        self.assertIn("20261124r.pem has mode 0644", self.refused("check"))
        (folder / "20261124r.pem").chmod(0o600)
        self.assertEqual(len(KeyFiles(str(folder.parent)).signing(DOMAIN)), 2)


class InDns(DkimCase):
    def test_show(self) -> None:
        self.ok("dkim", "keygen", DOMAIN)
        self.assertIn("new since 2026-11-24  not in DNS", self.ok("dkim", "show", DOMAIN))
        self.ok("dkim", "rotate", DOMAIN, "--now")
        self.assertIn("active since 2026-11-24  not in DNS", self.refused("dkim", "show", DOMAIN))
        self.publish()
        self.assertIn("active since 2026-11-24  in DNS", self.ok("dkim", "show"))

    def test_what_records_say(self) -> None:
        # RFC 6376 3.6.1
        key: PrivateKey = KEYS[Algorithm.RSA][0]
        for record, seen in {
            f"v=DKIM1; k=rsa; p={key.public}": Seen.RIGHT,
            f"p={key.public[:20]} {key.public[20:]}": Seen.RIGHT,
            f"v=DKIM1; h=sha1:sha256; s=email; t=s; p={key.public};": Seen.RIGHT,
            f"v=DKIM2; p={key.public}": Seen.WRONG,
            f"v=DKIM1; k=ed25519; p={key.public}": Seen.WRONG,
            f"v=DKIM1; h=sha1; p={key.public}": Seen.WRONG,
            f"v=DKIM1; s=tlsrpt; p={key.public}": Seen.WRONG,
            f"v=DKIM1; t=y:s; p={key.public}": Seen.WRONG,
            "v=DKIM1; p=": Seen.WRONG,
            "v=DKIM1; p=AAAA": Seen.WRONG,
            "anything": Seen.WRONG,
        }.items():
            with self.subTest(record=record):
                answer = Answer(found=Found.OK, records=(record.encode(),))
                self.assertEqual(judge(answer, Algorithm.RSA, key.public).seen, seen)
        # RFC 6376 3.6.2.2
        two = Answer(found=Found.OK, records=(b"p=a", b"p=b"))
        self.assertEqual(judge(two, Algorithm.RSA, key.public).seen, Seen.WRONG)
        for found, seen in {
            Found.FAILED: Seen.UNKNOWN,
            Found.NO_DATA: Seen.MISSING,
            Found.NO_DOMAIN: Seen.MISSING,
        }.items():
            self.assertEqual(judge(Answer(found=found), Algorithm.RSA, key.public).seen, seen)
