"""Sessions: order, limits, time, loss of the connection, trouble of the spool; as a client sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from harness import Limits, Server
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mta.reply import Reply, TemporaryFailure
from mta.routing.tables import MemoryTable

HELLO = b"Subject: x\r\n\r\nhello\r\n"


class SlowTable:
    """Answers when told."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[Any]] = []

    def lookup(self, key: str) -> Deferred[Any]:
        self.waiting.append(Deferred())
        return self.waiting[-1]


class Order(SynchronousTestCase):
    def setUp(self) -> None:
        self.table = SlowTable()
        self.server = Server({"boxes": self.table})
        self.client = self.server.connect().greet()

    def test_pipelined_replies_wait_for_a_lookup_and_keep_their_order(self) -> None:
        # RFC 2920 3.2
        self.client.send(b"MAIL FROM:<a@b.example>\r\nRCPT TO:<ann@ours.example>\r\nFOO\r\nNOOP\r\n")
        self.assertEqual(self.client.seen(), b"250 2.1.0 Ok\r\n")
        self.table.waiting[0].callback("")
        seen = self.client.seen()
        self.assertEqual([line[:9] for line in seen.splitlines()], [b"250 2.1.5", b"500 5.5.2", b"250 2.0.0"])

    def test_client_that_goes_on_sending_is_paused_not_buffered(self) -> None:
        self.client.say("MAIL FROM:<a@b.example>")
        self.client.send(b"RCPT TO:<ann@ours.example>\r\n")
        self.assertEqual(self.client.transport.producerState, "producing")
        self.client.send(b"NOOP\r\n")
        self.assertEqual(self.client.transport.producerState, "paused")
        self.table.waiting[0].callback("")
        self.assertEqual(self.client.transport.producerState, "producing")
        self.assertEqual(len(self.client.seen().splitlines()), 2)

    def test_lookup_that_fails_is_temporary_never_unknown_user(self) -> None:
        self.client.say("MAIL FROM:<a@b.example>")
        self.client.send(b"RCPT TO:<ann@ours.example>\r\n")
        self.table.waiting[0].errback(TemporaryFailure(Reply.of(451, "4.3.0", "down")))
        self.assertTrue(self.client.seen().startswith(b"451 4.3.0"))

    def test_lookup_without_end_is_given_up(self) -> None:
        self.client.say("MAIL FROM:<a@b.example>")
        self.client.send(b"RCPT TO:<ann@ours.example>\r\n")
        self.server.clock.pump([1.0] * 301)
        self.assertTrue(self.client.seen().startswith(b"421 4.4.3"))
        self.assertTrue(self.client.closed)

    def test_connection_lost_in_a_lookup(self) -> None:
        self.client.say("MAIL FROM:<a@b.example>")
        self.client.send(b"RCPT TO:<ann@ours.example>\r\n")
        self.client.leave()
        self.assertEqual(self.server.connections.total, 0)
        self.assertEqual(self.flushLoggedErrors(), [])


class Time(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server(session_timeout=3000.0, transaction_timeout=1000.0)

    def wait(self, seconds: int) -> None:
        self.server.clock.pump([1.0] * seconds)

    def test_silent_client_is_told_421(self) -> None:
        # RFC 5321 4.5.3.2.7
        client = self.server.connect().greet()
        self.wait(299)
        self.assertEqual(client.seen(), b"")
        self.wait(3)
        self.assertTrue(client.seen().startswith(b"421 4.4.2"))
        self.assertTrue(client.closed)

    def test_an_octet_now_and_then_is_no_command(self) -> None:
        client = self.server.connect().greet()
        for octet in b"NOOP I AM SLOW":
            client.send(bytes([octet]))
            self.wait(30)
        self.assertTrue(client.seen().startswith(b"421 4.4.2"))

    def test_commands_keep_a_session_alive(self) -> None:
        client = self.server.connect().greet()
        for _ in range(5):
            self.wait(200)
            self.assertTrue(client.say("NOOP").startswith("250"))

    def test_silence_in_data(self) -> None:
        # RFC 5321 4.5.3.2.5
        client = self.server.connect().greet()
        client.say("MAIL FROM:<>")
        client.say("RCPT TO:<ann@ours.example>")
        client.say("DATA")
        for _ in range(3):
            self.wait(170)
            client.send(b"x\r\n")
            self.assertEqual(client.seen(), b"")
        self.wait(183)
        self.assertTrue(client.seen().startswith(b"421 4.4.2"))
        client.leave()
        self.assertEqual(self.server.memory.used, 0)

    def test_transaction_has_an_end_however_busy_it_is(self) -> None:
        client = self.server.connect().greet()
        client.say("MAIL FROM:<>")
        client.say("RCPT TO:<ann@ours.example>")
        client.say("DATA")
        for _ in range(10):
            self.wait(99)
            client.send(b"x\r\n")
        self.wait(20)
        self.assertTrue(client.seen().startswith(b"421 4.4.2"))

    def test_session_has_an_end(self) -> None:
        client = self.server.connect().greet()
        for _ in range(15):
            self.wait(198)
            client.say("NOOP")
        self.wait(60)
        self.assertTrue(client.seen().startswith(b"421 4.4.2"))

    def test_client_that_does_not_take_its_421_is_cut_off(self) -> None:
        client = self.server.connect().greet()
        self.wait(302)
        self.assertFalse(client.transport.aborted)
        self.wait(32)
        self.assertTrue(client.transport.aborted)


class Bounds(SynchronousTestCase):
    def test_message_over_the_size_is_cut_off_without_buffering(self) -> None:
        # RFC 1870 6: ten octets declared, too many sent
        server = Server()
        client = server.connect().greet()
        client.say("MAIL FROM:<> SIZE=10")
        client.say("RCPT TO:<ann@ours.example>")
        client.say("DATA")
        for _ in range(115):
            client.send(b"y" * 998 + b"\r\n")
        self.assertEqual(server.memory.used, 0)
        self.assertTrue(client.say(".").startswith("552 5.3.4"))
        self.assertEqual(client.message("", "ann@ours.example")[:3], "250")

    def test_message_that_does_not_stop_ends_the_session(self) -> None:
        # RFC 1870 6.3
        server = Server()
        client = server.connect().greet()
        client.say("MAIL FROM:<>")
        client.say("RCPT TO:<ann@ours.example>")
        client.say("DATA")
        for _ in range(210):
            client.send(b"y" * 998 + b"\r\n")
        self.assertTrue(client.seen().startswith(b"552 5.3.4"))
        self.assertTrue(client.closed)

    def test_header_over_its_limit(self) -> None:
        client = Server().connect().greet()
        header = b"X: y\r\n" * 1000
        self.assertTrue(client.message("", "ann@ours.example", data=header + b"\r\nbody\r\n").startswith("552 5.3.4"))

    def test_long_data_line_is_refused_at_its_end(self) -> None:
        # RFC 5321 4.5.3.1.6
        client = Server().connect().greet()
        self.assertTrue(client.message("", "ann@ours.example", data=b"x" * 3000 + b"\r\n").startswith("554 5.6.0"))
        self.assertTrue(client.message("", "ann@ours.example", data=b"x" * 1500 + b"\r\n").startswith("250"))

    def test_no_memory_for_another_message(self) -> None:
        server = Server(memory=1000)
        first = server.connect().greet()
        first.say("MAIL FROM:<>")
        first.say("RCPT TO:<ann@ours.example>")
        first.say("DATA")
        first.send((b"y" * 78 + b"\r\n") * 20)
        second = server.connect().greet()
        second.say("MAIL FROM:<>")
        second.say("RCPT TO:<ann@ours.example>")
        self.assertTrue(second.say("DATA").startswith("452 4.3.1"))
        self.assertTrue(first.say(".").startswith("250"))
        self.assertTrue(second.say("DATA").startswith("354"))
        self.assertEqual(server.memory.used, 0)

    def test_commands_that_carry_no_mail_are_counted(self) -> None:
        client = Server().connect().greet()
        replies = [client.say("NOOP") for _ in range(25)]
        self.assertEqual({reply[:3] for reply in replies[:19]}, {"250"})
        self.assertTrue(any(reply.startswith("421 4.7.0") for reply in replies))
        self.assertTrue(client.closed)

    def test_messages_of_one_session_are_counted(self) -> None:
        client = Server(transactions=3).connect().greet()
        for _ in range(3):
            self.assertTrue(client.message("", "ann@ours.example").startswith("250"))
        self.assertTrue(client.say("MAIL FROM:<>").startswith("421 4.7.0"))

    def test_dictionary_of_unknown_users(self) -> None:
        # RFC 5321 7.3
        client = Server().connect().greet()
        client.say("MAIL FROM:<>")
        replies = [client.say(f"RCPT TO:<user{n}@ours.example>") for n in range(10)]
        self.assertTrue(all(reply.startswith("550 5.1.1") for reply in replies))
        self.assertTrue(replies[-1].endswith("421 4.7.0 Too many errors"))

    def test_client_that_does_not_read_its_replies(self) -> None:
        client = Server().connect().greet()
        client.protocol.pauseProducing()
        client.send(b"NOOP\r\n")
        self.assertEqual(client.seen(), b"")
        self.assertEqual(client.transport.producerState, "paused")
        client.protocol.resumeProducing()
        self.assertTrue(client.seen().startswith(b"250"))

    def test_connection_closed_behind_a_full_buffer_ends_when_it_is_empty(self) -> None:
        # Twisted closes no connection whose streaming producer it has just asked to go on.
        client = Server().connect().greet()
        client.protocol.pauseProducing()
        client.protocol.session.close()
        client.protocol.resumeProducing()
        self.assertIsNone(client.transport.producer)


class Connections(SynchronousTestCase):
    def test_all_together_and_per_client(self) -> None:
        # RFC 5321 3.8
        server = Server()
        clients = [server.connect("192.0.2.1") for _ in range(4)]
        self.assertTrue(clients[3].seen().startswith(b"421 4.7.0"))
        self.assertTrue(clients[3].closed)
        clients += [server.connect(f"192.0.2.{n}") for n in range(2, 10)]
        self.assertTrue(clients[-1].seen().startswith(b"421 4.3.2"))
        for client in clients:
            client.leave()
        self.assertEqual(server.connections.total, 0)
        self.assertEqual(dict(server.connections.by_client), {})
        self.assertTrue(server.connect("192.0.2.1").seen().startswith(b"220"))

    def test_a_network_of_ipv6_is_one_client(self) -> None:
        # RFC 4291 2.5.4: a customer has a /64
        server = Server()
        for n in range(3):
            self.assertTrue(server.connect(f"2001:db8:7:8::{n}").seen().startswith(b"220"))
        self.assertTrue(server.connect("2001:db8:7:8:ffff::1").seen().startswith(b"421 4.7.0"))
        self.assertTrue(server.connect("2001:db8:7:9::1").seen().startswith(b"220"))

    def test_mapped_client_is_the_same_as_over_ipv4(self) -> None:
        # RFC 4291 2.5.5.2
        server = Server()
        client = server.connect("::ffff:10.1.2.3").greet()
        self.assertTrue(client.message("a@b.example", "x@foreign.example").startswith("250"))
        (lease, _), *_ = server.messages()
        self.assertEqual(lease.message.envelope.origin.client, "10.1.2.3")

    def test_ipv6_network_may_relay_and_others_not(self) -> None:
        server = Server()
        ours = server.connect("2001:db8:1::7").greet()
        ours.say("MAIL FROM:<a@b.example>")
        self.assertTrue(ours.say("RCPT TO:<x@foreign.example>").startswith("250"))
        other = server.connect("2001:db8:2::7").greet()
        other.say("MAIL FROM:<a@b.example>")
        self.assertTrue(other.say("RCPT TO:<x@foreign.example>").startswith("550 5.7.1"))


class Acceptance(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.client = self.server.connect("10.1.2.3").greet()

    def test_octets_are_kept_and_received_stands_on_top(self) -> None:
        # RFC 5321 4.4
        reply = self.client.message("a@b.example", "ann@ours.example", data=b"Subject: x\r\n\r\n..dot\r\n")
        ((lease, octets),) = self.server.messages()
        self.assertIn(lease.message.id, reply)
        self.assertTrue(octets.endswith(b"Subject: x\r\n\r\n.dot\r\n") or b"\r\n\r\n.dot\r\n" in octets)
        trace = octets.partition(b"Subject: x")[0].replace(b"\r\n", b"")
        for part in (
            b"Received: from client.example",
            b"10.1.2.3",
            b"by mail.ours.example",
            b"with ESMTP",
            b"+0000",
        ):
            self.assertIn(part, trace)
        self.assertIn(b"for <ann@ours.example>", trace)
        self.assertIn(lease.message.id.encode(), trace)

    def test_reverse_name_stands_in_received_if_it_came_in_time(self) -> None:
        self.server.resolver.add("9.2.1.10.in-addr.arpa", "PTR pc9.ours.example")
        known = self.server.connect("10.1.2.9").greet()
        known.message("a@b.example", "ann@ours.example")
        self.server.resolver.hold()
        late = self.server.connect("10.1.2.10").greet()
        late.message("a@b.example", "ann@ours.example")
        (_, first), (_, second) = self.server.messages()
        self.assertIn(b"pc9.ours.example [10.1.2.9]", first.replace(b"\r\n\t", b" "))
        self.assertIn(b"[10.1.2.10]", second)
        late.leave()
        self.server.resolver.release()

    def test_several_recipients_are_not_told_of_each_other(self) -> None:
        # RFC 5321 7.2
        self.client.message("a@b.example", "ann@ours.example", "bob@ours.example")
        ((_, octets),) = self.server.messages()
        self.assertNotIn(b"ann@ours.example", octets)

    def test_what_is_missing_is_added_for_our_own_clients_alone(self) -> None:
        # RFC 6409 8
        self.client.message("a@b.example", "ann@ours.example", data=b"Subject: x\r\n\r\nhello\r\n")
        stranger = self.server.connect("203.0.113.9").greet()
        stranger.message("a@b.example", "ann@ours.example", data=b"Subject: x\r\n\r\nhello\r\n")
        (_, ours), (_, theirs) = self.server.messages()
        for name in (b"\r\nDate: ", b"\r\nMessage-ID: "):
            self.assertIn(name, ours)
            self.assertNotIn(name, theirs)

    def test_recipient_that_several_paths_lead_to_gets_one_copy(self) -> None:
        self.client.message("a@b.example", "bob@ours.example", "info@ours.example", "BOB@OURS.example")
        ((lease, _),) = self.server.messages()
        (recipient,) = lease.recipients
        self.assertEqual(str(recipient.address), "bob@ours.example")
        self.assertEqual(recipient.destination.service, "local")

    def test_alias_in_a_loop_is_refused_at_rcpt(self) -> None:
        # RFC 5321 6.3
        self.client.say("MAIL FROM:<a@b.example>")
        self.assertTrue(self.client.say("RCPT TO:<loop@ours.example>").startswith("554 5.4.6"))

    def test_story_says_from_whom_and_where_to(self) -> None:
        self.client.message("a@b.example", "info@ours.example")
        codes = [event.code for _, event in self.server.events]
        for code in ("accepted", "expanded", "routed", "committed"):
            self.assertIn(code, codes)

    def test_commit_that_fails_is_451_and_the_session_goes_on(self) -> None:
        # RFC 5321 6.1
        self.server.spool.fail_next("commit", TemporaryFailure(Reply.of(452, "4.3.1", "disk full")))
        self.assertTrue(self.client.message("a@b.example", "ann@ours.example").startswith("452 4.3.1"))
        self.assertEqual(self.server.queue.leases, [])
        self.assertTrue(self.client.message("a@b.example", "ann@ours.example").startswith("250"))

    def test_what_is_committed_gets_its_250_whatever_happens_then(self) -> None:
        # RFC 5321 6.1: a 451 now would have the client send it again
        def take(*args: Any) -> None:
            raise ValueError("bug")

        self.patch(self.server.queue, "take", take)
        self.assertTrue(self.client.message("a@b.example", "ann@ours.example").startswith("250"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_unforeseen_trouble_is_451_and_logged(self) -> None:
        self.server.spool.fail_next("commit", RuntimeError("bug"))
        self.assertTrue(self.client.message("a@b.example", "ann@ours.example").startswith("451 4.3.0"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_no_reply_before_the_commit(self) -> None:
        self.server.spool.hold()
        self.assertEqual(self.client.message("a@b.example", "ann@ours.example"), "")
        self.client.send(b"NOOP\r\n")
        self.server.clock.pump([1.0] * 1000)
        self.assertEqual(self.client.seen(), b"", "a commit is waited for, whatever the time")
        self.server.spool.let_go()
        self.assertEqual([line[:9] for line in self.client.seen().splitlines()], [b"250 2.0.0", b"250 2.0.0"])

    def test_connection_lost_in_data_leaves_nothing(self) -> None:
        # RFC 5321 4.1.1.4
        self.client.say("MAIL FROM:<a@b.example>")
        self.client.say("RCPT TO:<ann@ours.example>")
        self.client.say("DATA")
        self.client.send(HELLO)
        self.client.leave()
        self.assertEqual(self.server.queue.leases, [])
        self.assertEqual(self.server.memory.used, 0)
        self.assertEqual(self.successResultOf(self.server.spool.totals()).accepted, 0)

    def test_connection_lost_in_the_commit_keeps_the_message(self) -> None:
        self.server.spool.hold()
        self.client.message("a@b.example", "ann@ours.example")
        self.client.leave()
        self.server.spool.let_go()
        self.assertEqual(len(self.server.queue.leases), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_unhealthy_spool_is_told_at_mail(self) -> None:
        # RFC 5321 4.5.3.1.10, RFC 3463 X.3.1
        self.server.spool.sick = Reply.of(452, "4.3.1", "disk full")
        self.assertTrue(self.client.say("MAIL FROM:<a@b.example>").startswith("452 4.3.1"))
        self.server.spool.sick = None
        self.assertTrue(self.client.say("MAIL FROM:<a@b.example>").startswith("250"))

    def test_stop_lets_a_commit_have_its_reply(self) -> None:
        # RFC 5321 3.8
        self.server.spool.hold()
        self.client.message("a@b.example", "ann@ours.example")
        idle = self.server.connect("10.1.2.4").greet()
        gone = self.server.factory.shut_down()
        self.assertTrue(idle.seen().startswith(b"421 4.3.2"))
        self.assertFalse(self.client.closed)
        self.server.spool.let_go()
        self.assertEqual([line[:3] for line in self.client.seen().splitlines()], [b"250", b"421"])
        idle.leave()
        self.client.leave()
        self.successResultOf(gone)

    def test_disk_that_fails_in_data_is_told_at_the_final_dot_alone(self) -> None:
        # RFC 5321 4.1.1.4: one reply, after the end of data; one before it would be taken for the next command's
        for when in ("at once", "later"):
            client = self.server.connect().greet()
            client.say("MAIL FROM:<a@b.example>")
            client.say("RCPT TO:<ann@ours.example>")
            client.say("DATA")
            disk = TemporaryFailure(Reply.of(452, "4.3.1", "disk full"))
            if when == "at once":
                self.server.spool.fail_next("write", disk)
                client.send(HELLO)
            else:
                slow: Deferred[None] = Deferred()
                transaction = client.protocol.session.transaction
                self.patch(type(transaction.incoming), "write", lambda incoming, octets, slow=slow: slow)
                client.send(HELLO)
                slow.errback(disk)
            self.assertEqual(client.seen(), b"", when)
            client.send(b"RSET\r\nQUIT\r\n")
            self.assertEqual(client.seen(), b"", "still data")
            self.assertTrue(client.say(".").startswith("452 4.3.1"), when)
            self.assertTrue(client.say("NOOP").startswith("250"), when)
            self.assertEqual(self.server.memory.used, 0)
            client.leave()
        self.assertEqual(self.server.queue.leases, [])

    def test_message_that_cannot_be_begun_is_refused_and_no_data_is_taken(self) -> None:
        self.client.say("MAIL FROM:<a@b.example>")
        self.client.say("RCPT TO:<ann@ours.example>")
        self.server.spool.fail_next("begin", TemporaryFailure(Reply.of(451, "4.3.0", "no")))
        self.assertTrue(self.client.say("DATA").startswith("451 4.3.0"))
        self.assertTrue(self.client.say("NOOP").startswith("250"))
        self.assertTrue(self.client.say("DATA").startswith("354"))

    def test_work_that_somebody_else_cancelled_has_its_reply(self) -> None:
        # Silence would have the client wait for its time-out, and all that it pipelined with it.
        waiting: Deferred[Any] = Deferred()
        self.patch(self.server.spool, "commit", lambda incoming, claim: waiting)
        self.assertEqual(self.client.message("a@b.example", "ann@ours.example"), "")
        self.client.send(b"NOOP\r\n")
        waiting.cancel()
        self.assertEqual([line[:3] for line in self.client.seen().splitlines()], [b"451", b"250"])
        self.flushLoggedErrors()

    def test_client_that_has_said_all_gets_its_replies(self) -> None:
        # It shuts down its side behind QUIT, as many scripts do, while the message is on its way to the disk.
        self.server.spool.hold()
        self.client.message("a@b.example", "ann@ours.example")
        self.client.send(b"QUIT\r\n")
        self.client.protocol.readConnectionLost()
        self.assertFalse(self.client.closed)
        self.server.spool.let_go()
        self.assertEqual([line[:3] for line in self.client.seen().splitlines()], [b"250", b"221"])
        self.assertTrue(self.client.closed)

    def test_half_closed_connection_ends_with_its_commands(self) -> None:
        self.client.protocol.readConnectionLost()
        self.assertTrue(self.client.closed)
        other = self.server.connect().greet()
        self.server.spool.hold()
        other.message("a@b.example", "ann@ours.example")
        other.protocol.readConnectionLost()
        self.server.spool.let_go()
        self.assertEqual([line[:3] for line in other.seen().splitlines()], [b"250"])
        self.assertTrue(other.closed)

    def test_new_configuration_from_the_next_mail_on(self) -> None:
        self.client.say("MAIL FROM:<a@b.example>")
        self.server.factory.context = replace(self.server.context, limits=Limits(message_size=10))
        self.client.say("RCPT TO:<ann@ours.example>")
        self.client.say("DATA")
        self.assertTrue(self.client.say(HELLO + b".").startswith("250"), "a running transaction ends with the old")
        self.assertTrue(self.client.say("MAIL FROM:<a@b.example> SIZE=11").startswith("552"))

    def test_table_out_of_order(self) -> None:
        server = Server({"boxes": MemoryTable(failing="no disk")})
        client = server.connect().greet()
        client.say("MAIL FROM:<a@b.example>")
        self.assertTrue(client.say("RCPT TO:<ann@ours.example>").startswith("451 4.3.0"))
        self.assertTrue(client.say("RCPT TO:<postmaster@ours.example>").startswith("250"))  # RFC 5321 4.5.1
