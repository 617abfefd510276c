"""The command line of sendmail."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mta.sendmail.arguments import ALIASES, FLUSH, QUEUE, SPEAK, VERIFY, Asked, read_arguments
from mta.sendmail.statuses import USAGE, Trouble


class Arguments(SynchronousTestCase):
    def refused(self, *words: str) -> str:
        trouble = self.assertRaises(Trouble, read_arguments, words)
        self.assertEqual(trouble.status, USAGE)
        return str(trouble)

    def test_as_cron_calls_it(self) -> None:
        asked = read_arguments(["-i", "-FCronDaemon", "-B8BITMIME", "-oem", "root"])
        self.assertEqual(asked, Asked(recipients=("root",), full_name="CronDaemon", body="8BITMIME", dot_ends=False))

    def test_as_php_calls_it(self) -> None:
        self.assertEqual(
            read_arguments(["-t", "-i", "-fshop@ours.example"]),
            Asked(extract=True, dot_ends=False, sender="shop@ours.example"),
        )

    def test_as_git_calls_it(self) -> None:
        self.assertEqual(
            read_arguments(["-f", "Ann <ann@ours.example>", "-i", "bob@far.example"]),
            Asked(recipients=("bob@far.example",), sender="ann@ours.example", dot_ends=False),
        )

    def test_as_s_nail_calls_it(self) -> None:
        self.assertEqual(
            read_arguments(["-i", "-r", "ann", "--", "-odd@far.example"]),
            Asked(recipients=("-odd@far.example",), sender="ann", dot_ends=False),
        )

    def test_letters_may_stand_in_one_word(self) -> None:
        self.assertEqual(read_arguments(["-tivfann"]), Asked(extract=True, dot_ends=False, verbose=True, sender="ann"))

    def test_modes(self) -> None:
        for words, mode in (
            (["-bm"], "m"),
            (["-bs"], SPEAK),
            (["-bp"], QUEUE),
            (["-b", "v", "ann"], VERIFY),
            (["-bi"], ALIASES),
            (["-I"], ALIASES),
            (["-q"], FLUSH),
            (["-qf"], FLUSH),
        ):
            self.assertEqual(read_arguments(words).mode, mode, words)
        self.assertEqual(read_arguments(["-qRfar.example"]).selection, ("R", "far.example"))

    def test_the_null_sender(self) -> None:
        for words in (["-f", ""], ["-f", "<>"], ["-f<>"], ["-r", "<>"]):
            self.assertEqual(read_arguments(words).sender, "", words)

    def test_wishes_for_reports(self) -> None:
        # RFC 3461 4.1, 4.3, 4.4
        asked = read_arguments(["-N", "success,delay", "-R", "hdrs", "-V", "id 1"])
        self.assertEqual((asked.notify, asked.ret, asked.envid), ("SUCCESS,DELAY", "HDRS", "id 1"))
        for words in (["-N", "never,success"], ["-N", "often"], ["-R", "some"], ["-V", "\u00e4"], ["-V", "a\nb"]):
            self.refused(*words)

    def test_what_ends_a_message(self) -> None:
        self.assertTrue(read_arguments([]).dot_ends)
        for words in (["-i"], ["-oi"], ["-o", "i"], ["-O", "IgnoreDots=true"]):
            self.assertFalse(read_arguments(words).dot_ends, words)

    def test_what_changes_nothing_is_taken(self) -> None:
        words = "-odb -oem -om -oA/etc/aliases -o7 -O DeliveryMode=b -O Timeout.queuereturn=5d -h 5 -n -m -G -L tag"
        self.assertEqual(
            read_arguments([*words.split(), "-Am", "-p", "smtp", "-d0.1", "bob"]), Asked(recipients=("bob",))
        )

    def test_options_that_name_a_file_are_refused(self) -> None:
        # What a web form let through as the fifth argument of PHP's mail() wrote a program into the web's folder.
        for words in (["-X/var/www/x.php"], ["-C/tmp/evil.cf"], ["-D", "/tmp/x"]):
            self.refused(*words)

    def test_options_that_nobody_knows(self) -> None:
        for words in (
            ["-z"],
            ["--help"],
            ["-bd"],
            ["-bt"],
            ["-q15m"],
            ["-O", "Nonsense=1"],
            ["-O", "x"],
            ["-o!"],
            ["-f"],
        ):
            self.refused(*words)

    def test_a_recipient_never_becomes_an_option(self) -> None:
        self.assertIn("--", self.refused("bob", "-bs"))
        self.assertIn("--", self.refused("bob", "-X/tmp/x"))
        self.assertEqual(read_arguments(["--", "-bs"]).recipients, ("-bs",))

    def test_no_control_character_reaches_the_wire(self) -> None:
        for words in (["bob\r\nRCPT TO:<eve>"], ["-f", "ann\r\nDATA"], ["-F", "a\nb", "bob"], ["a\0b"], [""]):
            self.refused(*words)

    def test_modes_without_recipients(self) -> None:
        for words in (["-bs", "bob"], ["-bp", "bob"], ["-bi", "bob"], ["-q", "bob"]):
            self.refused(*words)
