"""Tests of a configuration: what they hold, and what is said of those that fail."""

from __future__ import annotations

from trial_cases import NOW, Site
from twisted.trial.unittest import SynchronousTestCase

from mta.trial import prove as module
from mta.trial.cases import MOST_CASES, matches
from mta.trial.prove import prove

CASE = '[[case]]\nname = "one"\nto = "{to}"\n{more}\n[case.expect]\n{expect}\n'


class Proving(SynchronousTestCase):
    more = ""

    def setUp(self) -> None:
        self.site = Site(self, self.more)
        self.time = 0.0

    def seconds(self) -> float:
        return self.time

    def prove(self) -> list[str]:
        problems = prove(self.site.decides(), lambda: NOW, self.seconds).problems
        return [str(problem).replace(f"{self.site.path}/", "") for problem in problems]

    def case(self, expect: str, to: str = "ann@ours.example", more: str = "") -> list[str]:
        """What is said of a case, without where it stands."""
        self.site.tests(CASE.format(to=to, more=more, expect=expect))
        return [text.removeprefix('tests.d/a.toml: case[0] "one": ') for text in self.prove()]


class Expectations(Proving):
    def test_none_are_no_trouble(self) -> None:
        self.assertEqual(prove(self.site.decides(), lambda: NOW, self.seconds), (0, []))

    def test_the_reply_in_the_end(self) -> None:
        for right in ('"250"', '"250 2.0.0"', '"/queued as/"'):
            self.assertEqual(self.case(f"reply = {right}"), [])
        (wrong,) = self.case('reply = "250"', to="nobody@ours.example")
        self.assertEqual(wrong, 'expect.reply: "250" for nobody@ours.example; came: 550 5.1.1 No such mailbox here')
        self.assertEqual(len(self.case('reply = "25"')), 1, "whole words")

    def test_the_replies_on_the_way(self) -> None:
        self.assertEqual(self.case('mail = "250 2.1.0"\nrcpt = "250 2.1.5"\ndata = "250"'), [])
        wrong = self.case('mail = "250"\nrcpt = "250"\ndata = "250"', more="size = 1_000_000_000")
        self.assertIn('expect.mail: "250" for MAIL; came: 552 5.3.4', wrong[0])
        self.assertIn("it did not come to that", wrong[1])

    def test_recipients_and_routes(self) -> None:
        everybody = 'recipients = ["ann@ours.example", "bob@ours.example", "far@else.example"]\n'
        each = 'route = ["local", "local:ours.example", "internet"]'
        self.assertEqual(self.case(everybody + each, to="team@ours.example"), [])
        self.assertEqual(
            self.case('recipients = "bob@ours.example"\nroute = "internet"', to="ann@ours.example"),
            [
                "expect.recipients: bob@ours.example; came: ann@ours.example",
                'expect.route: "internet" for ann@ours.example; came: local:ours.example',
            ],
        )
        self.assertIn("nothing was taken", self.case('route = "local"', to="x@ours.example")[0])

    def test_who_sends_counts(self) -> None:
        """Each of client, helo, auth, from, to, size and listener; without it another thing comes of the case."""
        far = "far@else.example"
        for more, expect, to in (
            ('client = "10.0.0.1"', 'reply = "250"', far),
            ('auth = "ann"', 'reply = "250"', far),
            ('helo = "mx.x.example"', 'header = { Received = "from mx.x.example" }', "ann@ours.example"),
            ('auth = "ann"', 'header = { Received = "/with ESMTPA/" }', "ann@ours.example"),
            ('from = "x@y.example"', 'sender = "x@y.example"', "ann@ours.example"),
            ('from = ""', 'sender = "/^(<>)?$/"', "ann@ours.example"),
            ("size = 1_000_000_000", 'mail = "552 5.3.4"', "ann@ours.example"),
            ('listener = "inner"', 'header = { Received = "/with LMTP/" }', "ann@ours.example"),
            ('header = "Subject: other"', 'header = { Subject = "other" }', "ann@ours.example"),
            ('header = "Received: x\\nReceived: y"\nbody = "."', 'data = "250"', "ann@ours.example"),
        ):
            self.assertEqual(self.case(expect, to, more), [], more)
            if "body" not in more:
                self.assertEqual(len(self.case(expect, to)), 1, f"without {more}")
        self.site.tests(
            '[[case]]\nname = "one"\nto = ["ann@ours.example", "nobody@ours.example"]\n'
            '[case.expect]\nrcpt = ["250 2.1.5", "550 5.1.1"]\n'
        )
        self.assertEqual(self.prove(), [])

    def test_hosts_by_the_dns_of_the_case(self) -> None:
        more = 'client = "10.0.0.1"\n[case.dns]\n"else.example" = ["MX 9 b.example", "MX 1 a.example"]\n'
        more += '"a.example" = "A 9.9.9.9"\n"b.example" = "A 9.9.9.10"'
        to = "x@else.example"
        self.assertEqual(self.case('hosts = ["a.example", "b.example"]\ntls = "opportunistic"', to, more), [])
        (wrong,) = self.case('hosts = ["a.example", "b.example"]', to, more='client = "10.0.0.1"')
        self.assertIn("came: none (550 5.1.2", wrong)

    def test_the_stored_header(self) -> None:
        right = 'header = { Subject = "Hello", Received = "/by mail.site.example/" }\nno_header = "Bcc"'
        self.assertEqual(self.case(right, more='header = "Subject: Hello you"'), [])
        wrong = self.case('header = { Subject = "x", "X-A" = "" }\nno_header = "Subject"')
        self.assertEqual(
            wrong,
            [
                'expect.header: Subject: "x"; came: test',
                'expect.header: X-A: ""; came: no such field',
                "expect.no_header: there is a field Subject",
            ],
        )

    def test_who_goes_on_in_whose_name(self) -> None:
        self.assertEqual(self.case('sender = "sender@example.net"'), [])
        self.assertEqual(len(self.case('sender = "other@example.net"')), 1)

    def test_tables_in_place_of_those_there_are(self) -> None:
        more = '[case.tables]\n"file:aliases" = { info = "ann" }'
        self.assertEqual(self.case('recipients = "ann@ours.example"', "info@ours.example", more), [])


class Forwarded(Proving):
    more = '[srs]\ndomain = "srs.example"\nkeys = ["0123456789abcdef0123456789abcdef"]\n'

    def test_a_sender_with_spf_gets_a_return_path_of_ours(self) -> None:
        self.site.write("aliases", "away: ann@else.example\n")
        dns = 'dns = { "else.example" = "MX 1 mx.else.example", "example.net" = "TXT v=spf1 -all" }'
        srs = 'sender = "/^SRS0=.+=example.net=sender@srs.example$/"'
        self.assertEqual(self.case(srs, "away@ours.example", dns), [])
        (wrong,) = self.case(srs, "away@ours.example", dns.replace("TXT v=spf1 -all", "A 192.0.2.1"))
        self.assertIn("came: sender@example.net", wrong)


class Remote(Proving):
    more = """\
[tables.far]
type = "http"
url = "http://127.0.0.1:9/{key}"
[domains."far.example"]
mailboxes = "table:far"
deliver = "local"
"""

    def test_nothing_goes_over_a_network(self) -> None:
        wrong = self.case('reply = "250"', "x@far.example")
        self.assertIn("451 4.3.0", wrong[0])
        self.assertIn("table:far has to be waited for; give what it holds for the test: tables.far = {", wrong[1])
        self.assertEqual(self.case('reply = "250"', "x@far.example", 'tables = { far = { x = "" } }'), [])


class Held(Proving):
    more = '[domains."odd.example"]\nmailboxes = "file:boxes"\ndeliver = "local"\nservices = "file:services"\n'

    def test_what_is_held_has_to_be_expected(self) -> None:
        self.site.write("services", "")
        more = '[case.tables]\n"file:services" = { ann = "gone" }'
        (wrong,) = self.case('reply = "250"', "ann@odd.example", more)
        self.assertIn("expect.held: ann@odd.example is held: the delivery service gone is not in the", wrong)
        self.assertEqual(self.case("held = true", "ann@odd.example", more), [])


class Files(Proving):
    def test_mistakes_are_told_with_file_and_key(self) -> None:
        self.site.tests('[[case]]\nname = "a"\nto = []\nfron = "x"\n[case.expect]\nreplay = "250"\n', "b.toml")
        problems = self.prove()
        for words in ("case[0].fron: is not known", "case[0].to: is empty", "case[0].expect.replay"):
            self.assertTrue(any(f"tests.d/b.toml: {words}" in problem for problem in problems), (words, problems))

    def test_what_contradicts_itself(self) -> None:
        for expect, more, words in (
            ('reply = ["250", "550"]', "", "reply has neither one text nor one for each of `to`"),
            ('reply = "/(/"', "", "is no regular expression"),
            ("", "", "expects nothing"),
            ('reply = "250"', 'dns = { "a.example" = "MIX 1 b" }', "has a record that cannot be read"),
            ('reply = "250"', 'day = "tomorrow"', "is no day"),
            ('reply = "250"', 'listener = "none"', "there is no listener none"),
            ('reply = "250"', "tables = { none = {} }", "there is no [tables.none]"),
            ('reply = "250"', 'from = "a\\r\\nb"', "has a line break"),
        ):
            wrong = self.case(expect, more=more)
            self.assertEqual(len(wrong), 1, wrong)
            self.assertIn(words, wrong[0])

    def test_the_keys_of_each_file_are_its_own(self) -> None:
        good = CASE.format(to="ann@ours.example", more="", expect='reply = "250"')
        self.site.tests(good, "a.toml")
        self.site.tests(good.replace("250", "550"), "b.toml")
        self.site.tests("this is no TOML", "c.toml")
        problems = self.prove()
        self.assertEqual(len(problems), 2)
        self.assertIn("tests.d/c.toml: at line 1", problems[0].replace("line 1", "at line 1"))
        self.assertIn('tests.d/b.toml: case[0] "one": expect.reply: "550"', problems[1])

    def test_there_is_an_end_to_it(self) -> None:
        good = CASE.format(to="ann@ours.example", more="", expect='reply = "250"')
        self.site.tests(good * (MOST_CASES + 1))
        self.assertEqual(len(self.prove()), 1)

        def slow() -> float:
            self.time += 0.9
            return self.time

        self.site.tests(good * 10)
        problems = prove(self.site.decides(), lambda: NOW, slow).problems
        self.assertIn(f"{module.ALL_SECONDS:g} s were over", str(problems[-1]))


class Texts(SynchronousTestCase):
    def test_whole_words_or_an_expression(self) -> None:
        for expected, came, fits in (
            ("250", "250 2.0.0 Ok", True),
            ("250", "2500", False),
            ("250 2.0.0 Ok", "250 2.0.0 Ok", True),
            ("/2\\.0\\.\\d/", "250 2.0.0 Ok", True),
            ("/^2\\.0/", "250 2.0.0 Ok", False),
            ("", "anything", True),
        ):
            self.assertEqual(matches(expected, came), fits, (expected, came))


class CallsAhead(Proving):
    more = '[domains."backup.example"]\nrelay = true\ncall_ahead = true\n'

    def test_what_the_next_host_says_is_given(self) -> None:
        more = 'client = "9.9.9.9"\ncalls = { "x@backup.example" = "%s" }'
        for said, reply in (
            ("250", "250"),
            ("550 5.1.1 no such user", "550 5.1.1 The next host says: no such user"),
            ("450 4.2.0 later", "450 4.2.0"),
            ("554 5.7.1 you again", "451 4.4.1"),
        ):
            self.assertEqual(self.case(f'rcpt = "{reply}"', "x@backup.example", more % said), [], said)
        self.assertIn("is no reply", self.case('rcpt = "250"', "x@backup.example", more % "yes")[0])

    def test_else_it_cannot_be_known(self) -> None:
        came, lacking = self.case('rcpt = "250"', "x@backup.example", 'client = "9.9.9.9"')
        self.assertIn("451 4.4.1", came)
        self.assertIn('calls."x@backup.example" = "250"', lacking)


class Rewrites(Proving):
    more = (
        '[rewrite]\nrecipient_canonical = "file:canonical"\nsender_canonical = "file:senders"\n'
        'masquerade = ["ours.example"]\n'
    )

    def test_of_mail_of_our_clients(self) -> None:
        self.site.write("canonical", "first.last@ours.example: ann@ours.example\n")
        self.site.write("senders", "bob: robert@ours.example\n")
        more = 'auth = "bob"\nfrom = "bob@ours.example"\nheader = "From: bob@pc7.ours.example"'
        expect = 'recipients = ["ann@ours.example"]\nheader = { From = "bob@ours.example" }'
        self.assertEqual(self.case(expect, "first.last@ours.example", more), [])
