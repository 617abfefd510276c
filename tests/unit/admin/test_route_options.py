"""Each option of ``mta route`` changes what the client would be told, as it would in a session."""

from __future__ import annotations

import json

from test_route import SITE, Command
from twisted.internet.defer import Deferred

from mta.admin.route_text import lines
from mta.admin.route_values import values
from mta.admin.trying import on_trial
from mta.config.load import load
from mta.dns.fake import FakeResolver
from mta.trial.trial import Trial
from mta.trial.values import Mail

MORE = """
[limits]
message_size = "10KiB"
recipients = 2
received_hops = 3
[lists."team@lists.example"]
owner = "ann@ours.example"
members = ["bob@ours.example"]
posting = ["ann@ours.example", "authenticated"]
[domains."lists.example"]
[[listen]]
name = "inner"
service = "lmtp"
endpoint = "tcp:2424:interface=127.0.0.1"
"""
DNS = {
    "else.example": ["MX 20 b.else.example", "MX 10 a.else.example"],
    "a.else.example": ["A 9.9.9.9", "AAAA 2620:fe::9"],
    "b.else.example": ["A 9.9.9.10"],
}


class Options(Command):
    def setUp(self) -> None:
        super().setUp()
        (self.folder / "etc/mta.toml").write_text(SITE + MORE)

    def said(self, *arguments: str, code: int = 0) -> dict[str, list[str]]:
        found = self.values(*arguments, code=code)
        return {
            "MAIL": [found["mail"][:9]],
            "RCPT": [one["reply"][:9] for one in found["rcpt"]],
            "DATA": [one[:9] for one in found["data"]],
        }

    def test_client(self) -> None:
        self.assertEqual(self.said("x@else.example", code=1)["RCPT"], ["550 5.7.1"])
        said = self.said("x@else.example", "--client", "10.1.2.3")
        self.assertEqual(said, {"MAIL": ["250 2.1.0"], "RCPT": ["250 2.1.5"], "DATA": ["250 2.0.0"]})
        # RFC 4291 2.5.5.2
        self.assertEqual(self.said("x@else.example", "--client", "::ffff:10.1.2.3"), said)

    def test_auth(self) -> None:
        self.assertEqual(self.said("team@lists.example", code=1)["RCPT"], ["550 5.7.2"])
        self.assertEqual(self.said("team@lists.example", "--auth", "joe")["RCPT"], ["250 2.1.5"])
        result = self.mta("x@else.example", "--auth", "joe", "--no-dns")
        self.assertIn("logged in as joe) may send anywhere: authenticated", result.output)

    def test_from(self) -> None:
        self.assertEqual(self.said("team@lists.example", "--from", "ann@ours.example")["RCPT"], ["250 2.1.5"])
        self.assertEqual(self.said("team@lists.example", "--from", "", code=1)["RCPT"], ["550 5.7.2"])
        self.assertEqual(self.said("ann@ours.example", "--from", "no address", code=1)["MAIL"][0][:3], "553")

    def test_size(self) -> None:
        self.assertEqual(self.said("ann@ours.example", "--size", "10240")["MAIL"], ["250 2.1.0"])
        self.assertEqual(self.said("ann@ours.example", "--size", "10241", code=1)["MAIL"], ["552 5.3.4"])

    def test_helo_and_listener(self) -> None:
        self.assertIn("(mx.x.example)", self.mta("ann@ours.example", "--helo", "mx.x.example", "--no-dns").output)
        self.assertEqual(self.values("ann@ours.example", "--helo", "a b", code=1)["mail"], "")
        self.assertEqual(len(self.said("ann@ours.example", "bob@ours.example", "--listener", "inner")["DATA"]), 2)
        # By LMTP a network has no rights.
        relayed = self.said("x@else.example", "--listener", "inner", "--client", "10.1.2.3", code=1)
        self.assertEqual(relayed["RCPT"], ["550 5.7.1"])

    def test_limits_are_those_of_the_session_and_are_shown(self) -> None:
        three = ("ann@ours.example", "bob@ours.example", "info@ours.example")
        self.assertEqual(self.said(*three, code=1)["RCPT"], ["250 2.1.5", "250 2.1.5", "452 4.5.3"])
        result = self.mta("ann@ours.example", "--no-dns")
        self.assertIn("LIMITS  message 10.0 KiB", result.output)
        self.assertIn("2 recipients, 3 hops", result.output)
        path = self.folder / "message"
        for text, code, reply in ((b"Received: x\n" * 3, 1, "554 5.4.6"), (b"Received: x\n" * 2, 0, "250 2.0.0")):
            path.write_bytes(text + b"\nhello\n")
            self.assertEqual(self.said("ann@ours.example", "--message", str(path), code=code)["DATA"], [reply])
        path.write_bytes(b"Subject: x\n\n" + b"x" * 70 + b"\n" * 20_000)
        self.assertEqual(self.said("ann@ours.example", "--message", str(path), code=1)["DATA"], ["552 5.3.4"])

    def test_mail_hosts_in_order_with_their_addresses(self) -> None:
        decides = on_trial(load(str(self.folder / "etc/mta.toml")))
        resolver = FakeResolver(DNS)
        trial = Trial(decides, resolver=resolver, names=FakeResolver(), now=lambda: 1_700_000_000_000)
        mail = Mail(recipients=("x@else.example",), client="10.1.2.3")

        async def work() -> dict[str, object]:
            return await values(decides, mail, await trial.run(mail))

        found = self.successResultOf(Deferred.fromCoroutine(work()))
        text = list(lines(json.loads(json.dumps(found))))
        first = next(number for number, line in enumerate(text) if "a.else.example" in line)
        self.assertRegex(text[first], r"^ +10 a\.else\.example \[2620:fe::9 9\.9\.9\.9\] port 25$")
        self.assertRegex(text[first + 1], r"^ +20 b\.else\.example \[9\.9\.9\.10\] port 25$")
        self.assertEqual(text[first - 1], "    TLS opportunistic")

    def test_the_text_and_the_values_say_the_same(self) -> None:
        found = self.values("info@ours.example", "team@ours.example")
        text = self.mta("info@ours.example", "team@ours.example", "--no-dns").output
        for one in (*found["recipients"], *found["rcpt"]):
            self.assertIn(one["address"], text)
        for line in lines(found):
            self.assertIn(line, text)
