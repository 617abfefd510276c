"""XCLIENT and XFORWARD: what they change, and what they must not (Postfix XCLIENT_README, XFORWARD_README)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness import Client, Server
from twisted.trial.unittest import SynchronousTestCase

from mta.envelope import Right
from mta.reply import PermanentFailure
from mta.smtp.attributes import MAX_VALUE, XCLIENT, XFORWARD, read

PROXY = "198.51.100.7"  # may say both
FILTER = "198.51.100.70"  # may say XFORWARD alone


class Attributes(SynchronousTestCase):
    def wrong(self, text: str | bytes, readers: Any = XCLIENT) -> None:
        octets = text if isinstance(text, bytes) else text.encode()
        failure = self.assertRaises(PermanentFailure, read, octets, readers)
        self.assertEqual((failure.reply.code, failure.reply.enhanced), (501, "5.5.4"), text)

    def test_all_of_them(self) -> None:
        said = read(
            b"NAME=Mail.Example. ADDR=192.0.2.1 PORT=25 PROTO=esmtp HELO=a.example LOGIN=ann+20lee "
            b"DESTADDR=ipv6:2001:DB8::1 DESTPORT=587",
            XCLIENT,
        )
        self.assertEqual(
            said,
            {
                "NAME": "mail.example",
                "ADDR": "192.0.2.1",
                "PORT": "25",
                "PROTO": "ESMTP",
                "HELO": "a.example",
                "LOGIN": "ann lee",
                "DESTADDR": "2001:db8::1",
                "DESTPORT": "587",
            },
        )
        said = read(b"source=local IDENT=ABC+2B1 proto=SMTP", XFORWARD)
        self.assertEqual(said, {"SOURCE": "LOCAL", "IDENT": "ABC+1", "PROTO": "SMTP"})

    def test_mapped_address_is_an_ipv4_one(self) -> None:
        # RFC 4291 2.5.5.2
        self.assertEqual(read(b"ADDR=IPV6:::ffff:192.0.2.1", XCLIENT), {"ADDR": "192.0.2.1"})

    def test_what_is_not_known(self) -> None:
        said = read(b"NAME=[TEMPUNAVAIL] ADDR=[unavailable] LOGIN=[UNAVAILABLE] PORT=[UNAVAILABLE]", XCLIENT)
        self.assertEqual(set(said.values()), {""})
        # xtext may hide the brackets too
        self.assertEqual(read(b"NAME=+5BUNAVAILABLE+5D", XCLIENT), {"NAME": ""})

    def test_xtext_is_decoded_and_then_checked(self) -> None:
        # RFC 3461 4; CVE-2020-28021
        for value in ("a+0Ab", "a+0D+0Ab", "+00", "+7F", "a+", "a+4", "a+4g", "a+e9", "a=b", "\x7f", "+C3+A4"):
            for name in ("HELO", "LOGIN", "NAME"):
                self.wrong(f"{name}={value}")
        self.wrong("LOGIN=ä".encode())

    def test_values_of_the_wrong_kind(self) -> None:
        for text in (
            "",
            "ADDR",
            "=1",
            "ADDR=",
            "ADDR=2001:db8::1",
            "ADDR=IPV6:192.0.2.1",
            "ADDR=IPV6:fe80::1%eth0",
            "ADDR=192.0.2.300",
            "ADDR=mail.example",
            "PORT=65536",
            "PORT=-1",
            "PORT=+2B1",
            "PORT=",
            "PROTO=HTTP",
            "PROTO=",
            "NAME=two+20words",
            "NAME=a..b",
            "HELO=two+20words",
            "LOGIN=",
            "IDENT=1",
            "SOURCE=LOCAL",
            "ADDR=192.0.2.1 ADDR=192.0.2.1",
            "ADDR=192.0.2.1 NAME",
            "LOGIN=" + "x" * (MAX_VALUE + 1),
            "LOGIN=" + "+41" * (MAX_VALUE + 1),
        ):
            self.wrong(text)
        for text in ("LOGIN=ann", "DESTADDR=192.0.2.1", "SOURCE=FAR", "IDENT="):
            self.wrong(text, XFORWARD)
        self.assertEqual(len(read(b"LOGIN=" + b"+41" * MAX_VALUE, XCLIENT)["LOGIN"]), MAX_VALUE)


class Becoming(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.client = self.server.connect(PROXY).greet()

    def become(self, what: str, client: Client | None = None) -> str:
        return (client or self.client).say(f"XCLIENT {what}")

    def origin(self) -> Any:
        self.assertTrue(self.client.message("a@b.example", "ann@ours.example").startswith("250"))
        return self.server.messages()[-1][0].message.envelope.origin

    def test_greeting_again_and_all_said_before_is_forgotten(self) -> None:
        self.assertEqual(self.become("ADDR=203.0.113.9"), "220 mail.ours.example ESMTP")
        self.assertTrue(self.client.say("MAIL FROM:<a@b.example>").startswith("503 5.5.1"))

    def test_all_that_is_told_is_the_clients(self) -> None:
        self.become("ADDR=10.1.2.3 PORT=4711 NAME=pc.example")
        self.client.greet()
        origin = self.origin()
        self.assertEqual((origin.client, origin.port, origin.reverse_name), ("10.1.2.3", 4711, "pc.example"))
        self.assertEqual((origin.helo, origin.login), ("client.example", ""))
        ((_, octets),) = self.server.messages()
        self.assertIn(b"(pc.example [10.1.2.3])", octets)
        self.assertNotIn(PROXY.encode(), octets)
        told = [str(event) for _, event in self.server.events if event.code == "renamed"]
        self.assertEqual(told, ["198.51.100.7 says that the client is 10.1.2.3"])

    def test_greeting_that_it_told_stays(self) -> None:
        # XCLIENT_README: the server must not reset attributes of the command itself
        self.become("ADDR=203.0.113.9 HELO=far.example PROTO=ESMTP")
        origin = self.origin()
        self.assertEqual((origin.helo, origin.protocol), ("far.example", "ESMTP"))

    def test_rights_are_those_of_the_address(self) -> None:
        # RFC 5321 7.1
        for address, code in (("10.1.2.3", "250"), ("203.0.113.9", "550"), ("[UNAVAILABLE]", "550")):
            self.become(f"ADDR={address}")
            self.client.greet()
            self.client.say("MAIL FROM:<a@b.example>")
            self.assertEqual(self.client.say("RCPT TO:<x@foreign.example>")[:3], code)
            self.client.say("RSET")

    def test_rights_of_the_proxy_are_not_handed_on(self) -> None:
        self.server.factory.context = replace(self.server.context, networks=self.server.context.xclient)
        self.client = self.server.connect(PROXY).greet()
        self.assertEqual(self.client.protocol.session.rights, {Right.NETWORK})
        self.become("ADDR=203.0.113.9")
        self.assertEqual(self.client.protocol.session.rights, frozenset())

    def test_login_is_a_right(self) -> None:
        self.become("ADDR=203.0.113.9 LOGIN=ann")
        self.client.greet()
        self.assertTrue(self.client.message("a@b.example", "x@foreign.example").startswith("250"))
        envelope = self.server.messages()[-1][0].message.envelope
        self.assertEqual((envelope.rights, envelope.origin.login), ({Right.AUTHENTICATED}, "ann"))
        # RFC 3848
        self.assertEqual(envelope.origin.protocol, "ESMTPA")
        self.become("LOGIN=[UNAVAILABLE]")
        self.client.greet()
        self.client.say("MAIL FROM:<a@b.example>")
        self.assertTrue(self.client.say("RCPT TO:<x@foreign.example>").startswith("550 5.7.1"))

    def test_login_of_one_client_is_not_that_of_the_next(self) -> None:
        # XCLIENT_README: only what the last XCLIENT told stays
        self.become("ADDR=203.0.113.9 LOGIN=ann")
        self.become("ADDR=203.0.113.10")
        self.client.greet()
        self.client.say("MAIL FROM:<a@b.example>")
        self.assertTrue(self.client.say("RCPT TO:<x@foreign.example>").startswith("550 5.7.1"))
        self.client.say("RSET")
        self.become("ADDR=203.0.113.9")
        self.assertEqual(self.client.protocol.session.rights, frozenset())

    def test_login_that_is_told_alone(self) -> None:
        # XCLIENT_README: what is too long for one command comes in several
        self.become("ADDR=203.0.113.9")
        self.become("LOGIN=ann")
        self.become("ADDR=203.0.113.9 NAME=far.example")
        self.client.greet()
        self.assertTrue(self.client.message("a@b.example", "x@foreign.example").startswith("250"))

    def test_login_outlives_a_reload_and_is_worth_nothing_by_lmtp(self) -> None:
        self.become("ADDR=203.0.113.9 LOGIN=ann")
        self.server.factory.context = replace(self.server.context)
        self.client.greet()
        self.assertEqual(self.client.protocol.session.rights, {Right.AUTHENTICATED})
        self.server.factory.context = replace(self.server.context, lmtp=True)
        self.client.say("MAIL FROM:<a@b.example>")
        self.assertEqual(self.client.protocol.session.rights, frozenset())

    def test_names_of_one_client_are_not_those_of_the_next(self) -> None:
        self.server.resolver.add("9.113.0.203.in-addr.arpa", "PTR far.example")
        self.become("ADDR=10.1.2.3 NAME=pc.example PORT=7 LOGIN=ann")
        self.become("ADDR=203.0.113.9 LOGIN=[UNAVAILABLE]")
        self.client.greet()
        origin = self.origin()
        self.assertEqual((origin.client, origin.port, origin.reverse_name), ("203.0.113.9", 0, "far.example"))

    def test_name_that_is_not_known_is_not_looked_up(self) -> None:
        self.become("ADDR=203.0.113.9 NAME=[TEMPUNAVAIL]")
        self.client.greet()
        self.assertEqual(self.server.resolver.questions["ptr", "9.113.0.203.in-addr.arpa"], 0)

    def test_answer_that_comes_when_the_client_is_another(self) -> None:
        self.server.resolver.add("7.100.51.198.in-addr.arpa", "PTR proxy.example")
        self.server.resolver.hold()
        client = self.server.connect(PROXY).greet()
        self.become("ADDR=10.1.2.3", client)
        self.server.resolver.release()
        self.assertEqual(client.protocol.session.reverse_name, "")

    def test_connection_counts_for_the_client(self) -> None:
        clients = [self.client] + [self.server.connect(PROXY).greet() for _ in range(2)]
        self.assertTrue(self.server.connect(PROXY).seen().startswith(b"421 4.7.0"))
        for client in clients:
            self.assertTrue(self.become("ADDR=203.0.113.9", client).startswith("220"))
        fourth = self.server.connect(PROXY).greet()
        self.assertTrue(self.become("ADDR=203.0.113.9", fourth).startswith("421 4.7.0"))
        self.assertTrue(fourth.closed)
        for client in (*clients, fourth):
            client.leave()
        self.assertEqual(self.server.connections.total, 0)
        self.assertEqual(dict(self.server.connections.by_client), {})

    def test_client_without_address(self) -> None:
        self.become("ADDR=[UNAVAILABLE] HELO=far.example")
        self.assertEqual(self.origin().client, "")
        ((_, octets),) = self.server.messages()
        self.assertIn(b"Received: from far.example", octets)
        self.client.leave()
        self.assertEqual(dict(self.server.connections.by_client), {})

    def test_who_may_say_it_goes_by_the_peer_alone(self) -> None:
        self.become(f"ADDR={FILTER}")
        self.assertTrue(self.become("ADDR=10.1.2.3").startswith("220"))
        stranger = self.server.connect("10.1.2.3").greet()
        self.assertTrue(self.become(f"ADDR={PROXY}", stranger).startswith("550 5.7.0"))
        # Behind a proxy the peer is the client that its header names.
        proxied = self.server.connect("198.51.100.200")
        proxied.send(b"PROXY TCP4 203.0.113.9 198.51.100.1 4711 25\r\n")
        self.assertTrue(self.become("ADDR=10.1.2.3", proxied.greet()).startswith("550 5.7.0"))

    def test_tls_comes_before_it(self) -> None:
        # RFC 3207 4.2: what was said before TLS counts no more, so it would be lost
        self.become("ADDR=10.1.2.3")
        self.assertTrue(self.client.say("STARTTLS").startswith("50"))

    def test_wrong_one_changes_nothing(self) -> None:
        self.become("ADDR=10.1.2.3")
        self.assertTrue(self.become("ADDR=203.0.113.9 PORT=x").startswith("501 5.5.4"))
        self.assertEqual(self.client.protocol.session.client, "10.1.2.3")

    def test_they_carry_no_mail(self) -> None:
        said = [self.become("ADDR=10.1.2.3") for _ in range(25)]
        self.assertTrue(any(reply.startswith("421 4.7.0") for reply in said))


class Offered(SynchronousTestCase):
    def offer(self, client: str) -> set[str]:
        reply = Server().connect(client)
        reply.seen()
        lines = reply.say("EHLO client.example").split("|")
        return {line[4:] for line in lines if line[4:12] in ("XCLIENT ", "XFORWARD")}

    def test_to_those_alone_who_may(self) -> None:
        xclient = "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT"
        xforward = "XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"
        self.assertEqual(self.offer(PROXY), {xclient, xforward})
        self.assertEqual(self.offer(FILTER), {xforward})
        self.assertEqual(self.offer("10.1.2.3"), set())


class Forwarding(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.client = self.server.connect(FILTER).greet()

    def told(self) -> list[str]:
        return [str(event) for _, event in self.server.events if event.code == "forwarded"]

    def test_stands_in_the_story_of_the_next_message_alone(self) -> None:
        self.client.say("XFORWARD NAME=far.example ADDR=203.0.113.9")
        self.client.say("XFORWARD IDENT=ABC PORT=[UNAVAILABLE]")
        self.client.message("a@b.example", "ann@ours.example")
        expected = "198.51.100.70 says that it came from NAME=far.example, ADDR=203.0.113.9, IDENT=ABC"
        self.assertEqual(self.told(), [expected])
        (lease, _), *_ = self.server.messages()
        story = self.successResultOf(self.server.spool.story(lease.message.id))
        self.assertEqual([event.code for event in story][:2], ["accepted", "forwarded"])
        self.client.message("a@b.example", "ann@ours.example")
        self.assertEqual(len(self.told()), 1)

    def test_changes_nothing_else(self) -> None:
        self.client.say("XFORWARD ADDR=10.1.2.3 NAME=pc.ours.example")
        self.assertEqual(self.client.protocol.session.client, FILTER)
        self.client.say("MAIL FROM:<a@b.example>")
        self.assertTrue(self.client.say("RCPT TO:<x@foreign.example>").startswith("550 5.7.1"))

    def test_rset_forgets_it(self) -> None:
        self.client.say("XFORWARD ADDR=203.0.113.9")
        self.client.say("RSET")
        self.client.message("a@b.example", "ann@ours.example")
        self.assertEqual(self.told(), [])

    def test_xclient_is_not_for_filters(self) -> None:
        self.assertTrue(self.client.say("XCLIENT ADDR=10.1.2.3").startswith("550 5.7.0"))
