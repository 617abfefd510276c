"""Policies in the running service: what is held, discarded, refused and marked; what is told of it; a reload."""

from __future__ import annotations

import json
import unittest

from tests.integration.tools import Daemon, Dialogue, wait_for

PLUGIN = '''
from mta.plugin import Options, Services, Verdict, provider


class NightOptions(Options):
    """Nothing leaves that is for bob."""


@provider("policy.dispatch", "night", NightOptions)
class Night:
    def __init__(self, options: NightOptions, services: Services) -> None:
        pass

    async def check(self, attempt) -> Verdict:
        late = {one.id: Verdict.hold(reason="night") for one in attempt.recipients if one.address.local == "bob"}
        return Verdict(per_recipient=late)
'''
USED = """
[plugins]
paths = ["plugins"]
[policy.senders]
type = "table"
table = "file:senders"
[policy.night]
type = "night"
[service.mx]
policy = ["senders"]
[queue]
policy = ["night"]
"""
SENDERS = (
    "new@b.example: HOLD new customer\nodd@b.example: QUARANTINE\nspam@b.example: DISCARD\nbad@b.example: REJECT\n"
)


class Policies(unittest.TestCase):
    def daemon(self) -> Daemon:
        daemon = Daemon(USED)
        (daemon.folder / "senders").write_text(SENDERS)
        (daemon.folder / "plugins").mkdir()
        (daemon.folder / "plugins/night.py").write_text(PLUGIN)
        return daemon

    def test_what_becomes_of_mail(self) -> None:
        with self.daemon() as daemon:
            held = daemon.take("ann@ours.example", sender="new@b.example")
            thrown = daemon.take("ann@ours.example", sender="spam@b.example")
            with Dialogue(daemon.port) as client:
                self.assertRegex(client.greet().say("MAIL FROM:<bad@b.example>"), "^550 5.7.1 ")
            daemon.take("ann@ours.example", sender="odd@b.example")
            self.assertIn(b"X-Quarantine: senders (", daemon.wait_for_mail("ann")[0])
            (row,) = daemon.queue()
            self.assertEqual(row["hold"], "policy senders: sender new@b.example: new customer")
            wait_for(lambda: daemon.audit()["ended"].get("discarded") == 1, daemon.log)
            self.assertIn("Discarded by policy senders", daemon.mta("explain", thrown).stdout)
            self.assertIn("senders at sender: discard", daemon.mta("explain", thrown).stdout)
            self.assertIn("policy senders", daemon.mta("explain", "bad@b.example").stdout)
            daemon.mta("queue", "release", held, "--yes")
            daemon.wait_for_mail("ann", 2)
            daemon.drained()

    def test_before_an_attempt(self) -> None:
        with self.daemon() as daemon:
            daemon.take("ann@ours.example", "bob@ours.example")
            daemon.wait_for_mail("ann")
            (row,) = wait_for(lambda: [row for row in daemon.queue() if row["hold"]], daemon.log)
            self.assertEqual(row["hold"], "policy night: night")
            self.assertEqual(daemon.mails("bob"), [])
            self.assertEqual(json.loads(daemon.mta("audit", "--json").stdout)["unaccounted"], 0)

    def test_a_reload(self) -> None:
        with self.daemon() as daemon, Dialogue(daemon.port) as client:
            client.greet()
            self.assertRegex(client.say("MAIL FROM:<bad@b.example>"), "^550 5.7.1 ")
            daemon.change('policy = ["senders"]', "policy = []")
            daemon.mta("reload")
            self.assertRegex(client.say("MAIL FROM:<bad@b.example>"), "^250 ")
            client.say("RSET")
            daemon.change("policy = []", 'policy = ["nobody"]')
            said = daemon.mta("reload", check=False)
            self.assertIn("there is no [policy.nobody]", said.stdout + said.stderr)
            self.assertRegex(client.say("MAIL FROM:<bad@b.example>"), "^250 ")

    def test_one_that_does_not_load_stops_the_start(self) -> None:
        daemon = self.daemon()
        self.addCleanup(daemon.__exit__)
        (daemon.folder / "plugins/night.py").write_text("import a_module_that_is_not_there")
        self.assertIn("a_module_that_is_not_there", daemon.refused())
