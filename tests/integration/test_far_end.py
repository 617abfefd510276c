"""What far ends answer at each step: 4yz waits and says why, 5yz comes back as a report, a lost connection waits."""

from __future__ import annotations

import email
import email.policy
import socket
import unittest
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from email.message import EmailMessage
from typing import Any

from tests.integration.tools import INTERNET, Daemon, Dialogue, Sink, deaf_port, deaf_udp_port, wait_for

RELAY = '[relay]\nnetworks = ["127.0.0.0/8"]\n[queue]\nretry = ["1s"]\n'


class Answers(ExitStack):
    """Far ends, one for each domain ``CASE.example``, each with its script, and a daemon with a route to each."""

    def __init__(self, scripts: Mapping[str, dict[str, Any]]) -> None:
        super().__init__()
        self.sinks = {case: self.enter_context(Sink(script)) for case, script in scripts.items()}
        routes = [
            f'{sink.delivery(case)}[[route]]\nname = "{case}"\nto = ["{case}.example"]\nvia = "{case}"\n'
            for case, sink in self.sinks.items()
        ]
        self.daemon = self.enter_context(Daemon(RELAY + "".join(routes)))
        for case in scripts:
            self.daemon.take(f"x@{case}.example")


def report_of(octets: bytes) -> EmailMessage:
    message = email.message_from_bytes(octets, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    return message


def once(reply: str) -> Callable[[str], str | None]:
    """An answer that is given to the first who comes; all others have the usual one."""
    replies = [reply]
    return lambda line: replies.pop() if replies else None


STEPS = ("connect", "EHLO", "MAIL", "RCPT", "DATA", "dot")


class FarEnd(unittest.TestCase):
    def waits_and_then_arrives(self, replies: dict[str, str], words: dict[str, str]) -> None:
        """What gets this reply at its step waits, and arrives with the next try; its story has the words."""
        scripts = {step.lower(): {step: once(reply)} for step, reply in replies.items()}
        scripts["ehlo"]["HELO"] = once(replies["EHLO"])
        with Answers(scripts) as far:
            for sink in far.sinks.values():
                sink.wait_for(1)
            far.daemon.drained()
            told = far.daemon.mta("explain", "ann@ours.example").stdout
            for step in replies:
                recipient = f"x@{step.lower()}.example"
                self.assertRegex(told, rf"try 1 +<{recipient}> deferred .*\n.*{words[step]}")
                self.assertRegex(told, rf"try 2 +<{recipient}> relayed ")
            self.assertEqual(far.daemon.mails("ann"), [], "nobody is told of a wait so short")
            self.assertEqual(far.daemon.audit()["ended"], {"relayed": len(replies)})
            self.assertEqual([len(sink.messages) for sink in far.sinks.values()], [1] * len(replies))

    def test_temporary_refusal_at_each_step(self) -> None:
        replies = {step: f"45{number} 4.3.{number} busy at {step}" for number, step in enumerate(STEPS)}
        self.waits_and_then_arrives(replies, replies)

    def test_service_not_available_at_each_step(self) -> None:
        replies = {step: f"421 4.3.2 going down at {step}" for step in STEPS}  # RFC 5321 3.8: and the connection ends
        self.waits_and_then_arrives(replies, replies)

    def test_connection_lost_at_each_step(self) -> None:
        self.waits_and_then_arrives(dict.fromkeys(STEPS, "close"), dict.fromkeys(STEPS, r"4\.4\.2"))

    def test_permanent_refusal_at_each_step_comes_back_as_a_report(self) -> None:
        steps = {
            "connect": "554 5.3.2 no mail here",
            "ehlo": "550 5.7.1 not you",
            "mail": "550 5.7.1 not from you",
            "rcpt": "550 5.1.1 nobody of that name",
            "data": "554 5.6.0 not that",
            "dot": "554 5.7.1 no such content",
        }
        scripts = {case: {case if case in ("connect", "dot") else case.upper(): reply} for case, reply in steps.items()}
        scripts["ehlo"]["HELO"] = steps["ehlo"]
        # A smart host that wants nothing of us is a mistake in the configuration, which never fails mail.
        waiting = {f"x@{case}.example": steps.pop(case) for case in ("connect", "ehlo")}
        with Answers(scripts) as far:
            reports = [report_of(mail) for mail in far.daemon.wait_for_mail("ann", len(steps))]
            seen = {}
            for report in reports:
                self.assertEqual(report["Return-Path"], "<>")
                self.assertEqual(report["To"], "ann@ours.example")
                self.assertIn("MAILER-DAEMON@mail.ours.example", report["From"])
                self.assertEqual(report.get_content_type(), "multipart/report")
                self.assertEqual(report["Content-Type"].params["report-type"], "delivery-status")
                text, status, original = report.iter_parts()
                about = status.get_payload()[1]
                self.assertEqual(about["Action"], "failed")
                case = about["Final-Recipient"].removeprefix("rfc822;").strip()
                seen[case] = about
                self.assertIn(case, text.get_content())
                self.assertIn(
                    "It works." if original.get_content_type() == "message/rfc822" else "hello", str(original)
                )
            self.assertEqual(set(seen), {f"x@{case}.example" for case in steps})
            for case, reply in steps.items():
                about = seen[f"x@{case}.example"]
                self.assertEqual(about["Diagnostic-Code"], f"smtp; {reply}")
                self.assertEqual(about["Status"], reply.split()[1])
            for address, reply in waiting.items():
                wait_for(
                    lambda reply=reply, address=address: (
                        f"The smart host refused us: {reply}" in far.daemon.mta("explain", address).stdout
                    ),
                    f"{address} to wait",
                )
            totals = far.daemon.audit()
            self.assertEqual((totals["unaccounted"], totals["queued"]), (0, len(waiting)))
            told = far.daemon.mta("explain", "x@rcpt.example").stdout
            self.assertIn("550 5.1.1 nobody of that name", told)
            self.assertIn("<ann@ours.example>: failed; the report is ", told)

    def test_host_that_knows_no_ehlo_is_greeted_with_helo(self) -> None:
        with Sink({"EHLO": "502 5.5.1 what?"}) as sink, Daemon(RELAY, internet=sink.delivery()) as daemon:
            daemon.take("x@far.example")
            sink.wait_for(1)
            self.assertEqual(sink.commands[:2], ["EHLO mail.ours.example", "HELO mail.ours.example"])

    def test_each_recipient_has_an_end_of_its_own(self) -> None:
        def rcpt(line: str) -> str | None:
            return {"gone": "550 5.1.1 gone", "full": "452 4.2.2 full"}.get(line[9:].partition("@")[0])

        with Sink({"RCPT": rcpt}) as sink, Daemon(RELAY, internet=sink.delivery()) as daemon:
            daemon.take("good@far.example", "gone@far.example", "full@far.example")
            ((lines, _),) = sink.wait_for(1)
            self.assertEqual(lines[1:], ["RCPT TO:<good@far.example>"])
            (report,) = daemon.wait_for_mail("ann")
            self.assertIn(b"gone@far.example", report)
            self.assertNotIn(b"full@far.example", report)
            daemon.tried(words="full")
            sink.script.clear()
            sink.wait_for(2)
            daemon.drained()
            self.assertEqual([lines[1:] for lines, _ in sink.messages[1:]], [["RCPT TO:<full@far.example>"]])

    def test_report_that_cannot_be_delivered_goes_to_the_postmaster(self) -> None:
        with Sink({"RCPT": "550 5.1.1 nobody"}) as sink, Daemon(RELAY, internet=sink.delivery()) as daemon:
            daemon.take("x@far.example", sender="gone@elsewhere.example")
            (mail,) = daemon.wait_for_mail("postmaster")
            for words in (b"gone@elsewhere.example", b"550 5.1.1", b"Return-Path: <>"):
                self.assertIn(words, mail)
            daemon.drained()
            self.assertEqual(daemon.audit()["unaccounted"], 0)

    def test_what_has_no_sender_concerns_the_postmaster_alone(self) -> None:
        with Sink({"RCPT": "550 5.1.1 nobody"}) as sink, Daemon(RELAY, internet=sink.delivery()) as daemon:
            id = daemon.take("x@far.example", sender="")
            (mail,) = daemon.wait_for_mail("postmaster")
            self.assertIn(b"x@far.example", mail)
            daemon.drained()
            told = daemon.mta("explain", id).stdout
            self.assertIn("550 5.1.1 nobody", told)
            self.assertIn("<postmaster@ours.example>: failed; the report is ", told)
            self.assertEqual(sink.messages, [])

    def test_time_is_over(self) -> None:
        with (
            Sink({"RCPT": "450 4.2.1 not yet"}) as sink,
            Daemon(RELAY + 'expire_after = "1s"\n', internet=sink.delivery()) as daemon,
        ):
            daemon.take("x@far.example")
            (mail,) = daemon.wait_for_mail("ann")
            report = report_of(mail)
            about = list(report.iter_parts())[1].get_payload()[1]
            self.assertEqual(about["Status"], "4.2.1")
            self.assertIn(b"not yet", mail)
            daemon.drained()
            self.assertEqual(daemon.audit()["ended"], {"expired": 1, "delivered": 1})


class Unreachable(unittest.TestCase):
    def test_host_that_is_down(self) -> None:
        with deaf_port() as port:
            internet = f'[delivery.internet]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {port}\n'
            with Daemon(RELAY, internet=internet) as daemon:
                daemon.take("x@far.example")
                (row,) = daemon.tried()
                self.assertRegex(row["reply"], r"^4\d\d 4\.4\.1 No connection: .*refused")
                told = daemon.mta("explain", row["id"]).stdout
                self.assertIn("127.0.0.1", told)
                self.assertIn("NEXT", told)
                self.assertEqual(daemon.mails("ann"), [])

    def dns_is_dead(self, port: int) -> None:
        dns = f'[dns]\nservers = ["127.0.0.1:{port}"]\ntimeout = "1s"\n'
        with Daemon(RELAY + dns, internet=INTERNET) as daemon:
            id = daemon.take("x@far.example")
            daemon.take("bob@ours.example")  # what needs no DNS goes on
            daemon.wait_for_mail("bob")
            (row,) = daemon.tried()
            self.assertRegex(row["reply"], r"^451 4\.4\.3 ")
            self.assertIn("451 4.4.3", daemon.mta("explain", id).stdout)
            self.assertEqual(daemon.mails("ann"), [], "it is a wait, never a bounce")
            self.assertEqual(len(daemon.queue()), 1)

    def test_dns_that_is_closed(self) -> None:
        with deaf_udp_port() as port:
            self.dns_is_dead(port)

    def test_dns_that_is_silent(self) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.bind(("127.0.0.1", 0))
            self.dns_is_dead(sock.getsockname()[1])

    def test_smtp_client_is_told_what_is_refused(self) -> None:
        with Daemon() as daemon, Dialogue(daemon.port) as client:
            client.greet().say("MAIL FROM:<a@b.example>")
            self.assertRegex(client.say("RCPT TO:<x@foreign.example>"), "^550 5.7.1 ")
            self.assertRegex(client.say("RCPT TO:<nobody@ours.example>"), "^550 5.1.1 ")
