"""Many messages at once into Maildirs: each arrives once, whole, under a name of its own."""

from __future__ import annotations

import re
import unittest
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from tests.integration.tools import Daemon, Dialogue, wait_for

MESSAGES = 200
SESSIONS = 8
BOXES = ("ann", "bob")


class Many(unittest.TestCase):
    def send(self, port: int, numbers: range) -> list[str]:
        """One connection; the queue ids."""
        ids = []
        with Dialogue(port) as client:
            client.greet()
            for number in numbers:
                octets = b"Subject: %d\r\n\r\n" % number + b"text %d\r\n" % number * (number + 1)
                reply = client.message("a@b.example", [f"{box}@ours.example" for box in BOXES], octets)
                assert reply.startswith("250"), reply
                ids.append(reply.split()[-1])
        return ids

    def test_each_arrives_once(self) -> None:
        with Daemon() as daemon:
            with ThreadPoolExecutor(SESSIONS) as pool:
                sent = [pool.submit(self.send, daemon.port, range(n, MESSAGES, SESSIONS)) for n in range(SESSIONS)]
                ids = [id for one in sent for id in one.result()]
            self.assertEqual(len(set(ids)), MESSAGES, "queue ids are unique")
            names: set[str] = set()
            for box in BOXES:
                mails = daemon.wait_for_mail(box, MESSAGES)
                subjects = Counter(re.findall(rb"(?m)^Subject: (\d+)$", b"".join(mails)))
                self.assertEqual(subjects, Counter(b"%d" % number for number in range(MESSAGES)))
                for mail in mails:
                    number = int(re.findall(rb"(?m)^Subject: (\d+)$", mail)[0])
                    self.assertTrue(mail.endswith(b"\n\n" + b"text %d\n" % number * (number + 1)))
                files = list((daemon.mail / "ours.example" / box / "new").iterdir())
                self.assertTrue(all(file.stat().st_mode & 0o777 == 0o600 for file in files), "for its owner alone")
                names.update(file.name for file in files)
                self.assertEqual(list((daemon.mail / "ours.example" / box / "tmp").iterdir()), [])
            self.assertEqual(len(names), MESSAGES * len(BOXES), "names are unique over all mailboxes")
            wait_for(lambda: daemon.audit()["ended"] == {"delivered": MESSAGES * len(BOXES)}, lambda: daemon.log())
            self.assertEqual(daemon.audit()["unaccounted"], 0)
