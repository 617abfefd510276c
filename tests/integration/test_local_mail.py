"""Programs of this machine and the daemon: as cron, PHP, git and mail programs send, by other users, with nobody there.

The programs are Debian's git-email, mutt, s-nail, php-cli and swaks, where they are installed (.ci/run).
"""

from __future__ import annotations

import grp
import os
import pty
import shutil
import signal
import subprocess
import sys
from email import message_from_bytes
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase

from mta.sendmail import statuses
from tests.integration.tools import DEADLINE, Daemon, wait_for

LOCAL = """
[local]
folder = "state/local"
senders = "file:senders"
"""
MANY = """
[domains."many.example"]
deliver = "nowhere"

[delivery.nowhere]
type = "discard"

[brake]
messages_per_hour = 0
recipients_per_hour = 0
recipients_per_day = 0
new_recipients_per_hour = 0
"""
NOBODY = 65534
MAIL = "mail"  # a group of every Debian


class LocalDaemon(Daemon):
    """One that takes mail of local programs; ``sendmail`` is a program for its configuration."""

    def __init__(self, more: str = "", **options: Any) -> None:
        super().__init__(LOCAL + more, **options)
        (self.folder / "mailboxes").write_text("postmaster\nann\nbob\nroot\nnobody\n")
        (self.folder / "senders").write_text("nobody: ann@ours.example\n")
        self.folder.chmod(0o711)
        self.configuration.chmod(0o644)
        self.sendmail = self.folder / "sendmail"
        self.sendmail.write_text(
            f"#!{sys.executable}\nimport sys\nfrom mta.sendmail.main import main\n"
            f"sys.exit(main(configuration={str(self.configuration)!r}))\n"
        )
        self.sendmail.chmod(0o755)

    @property
    def pickup(self) -> Path:
        return self.state / "local/pickup"

    def send(
        self, *arguments: str, text: str | bytes = "Subject: x\n\nhello\n", user: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[bytes]:
        octets = text if isinstance(text, bytes) else text.encode()
        command = [*user, str(self.sendmail), *arguments]
        return subprocess.run(command, input=octets, capture_output=True, timeout=DEADLINE)

    def sent(self, *arguments: str, **options: Any) -> None:
        done = self.send(*arguments, **options)
        assert done.returncode == 0, f"{done.returncode}: {done.stderr.decode()}\n{self.log()}"

    def refused_with(self, status: int, *arguments: str, **options: Any) -> str:
        done = self.send(*arguments, **options)
        assert done.returncode == status, f"{done.returncode}: {done.stderr.decode()}\n{self.log()}"
        return done.stderr.decode()


def as_nobody(*groups: str) -> tuple[str, ...]:
    """What runs a program as another user, who is in these groups."""
    numbers = ",".join(str(grp.getgrnam(group).gr_gid) for group in groups)
    membership = f"--groups={numbers}" if groups else "--clear-groups"
    return ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", membership)


def other_user() -> str:
    """Why no program can be run as another user here; "" where it can."""
    if os.getuid():
        return "only root can run programs as other users"
    if shutil.which("setpriv") is None:
        return "setpriv (util-linux) is not installed"
    # The environment that runs the tests may be where others cannot look.
    tried = subprocess.run([*as_nobody(), sys.executable, "-c", "import mta.sendmail.main"], capture_output=True)
    return "" if tried.returncode == 0 else "other users cannot use the environment of the tests"


def needs(case: SynchronousTestCase, *programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            case.skipTest(f"{program} is not installed")


class Running(SynchronousTestCase):
    """While the service runs."""

    daemon: LocalDaemon

    @classmethod
    def setUpClass(cls) -> None:
        cls.daemon = LocalDaemon(MANY)
        cls.daemon.__enter__()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.daemon.__exit__()

    def setUp(self) -> None:
        self.daemon.drained()
        shutil.rmtree(self.daemon.mail, ignore_errors=True)

    def mail(self, mailbox: str = "bob") -> Any:
        (octets,) = self.daemon.wait_for_mail(mailbox)
        return message_from_bytes(octets)

    def test_as_cron(self) -> None:
        text = (
            "From: root (Cron Daemon)\nTo: bob\nSubject: Cron <root@host> job\nX-Cron-Env: <A=b>\n\n10%\r20%\n.\nend\n"
        )
        self.daemon.sent("-i", "-FCronDaemon", "-B8BITMIME", "-oem", "bob", text=text)
        found = self.mail()
        self.assertEqual(found["From"], "root@ours.example (Cron Daemon)")
        self.assertEqual(found["To"], "bob@ours.example")
        self.assertIn("Date", found)
        self.assertIn("Message-ID", found)
        self.assertEqual(found.get_payload(), "10%\n20%\n.\nend\n")

    def test_recipients_of_the_header(self) -> None:
        self.daemon.sent("-t", text="To: bob\nCc: ann\nBcc: root\nSubject: x\n\nhello\n.\nnot this\n")
        for mailbox in ("bob", "ann", "root"):
            found = self.mail(mailbox)
            self.assertNotIn("Bcc", found)
            self.assertEqual(found.get_payload(), "hello\n")

    def test_who_is_refused_and_what_the_program_says(self) -> None:
        said = self.daemon.refused_with(statuses.NOUSER, "bob", "nosuch")
        self.assertIn("<nosuch>: 550 5.1.1", said)
        self.assertIn("taken for the others", said)
        self.mail()
        self.assertIn("552 5.3.4", self.daemon.refused_with(statuses.DATAERR, "bob", text=b"x\n" * (26 << 20)))

    def test_a_long_message_comes_whole(self) -> None:
        body = b"".join(b"%060d\n" % number for number in range(100_000))
        self.daemon.sent("-i", "bob", text=b"Subject: long\n\n" + body)
        (octets,) = self.daemon.wait_for_mail("bob")
        self.assertTrue(octets.endswith(b"\n\n" + body))

    def test_very_many_recipients(self) -> None:
        before = self.daemon.audit()["accepted"]
        self.daemon.sent(*(f"x{number}@many.example" for number in range(2500)))
        self.assertEqual(self.daemon.audit()["accepted"] - before, 2500)

    def test_from_a_terminal(self) -> None:
        master, slave = pty.openpty()
        try:
            process = subprocess.Popen([self.daemon.sendmail, "bob"], stdin=slave, stdout=slave, stderr=slave)
            os.write(master, b"Subject: typed\n\nhello\n.\n")
            self.assertEqual(process.wait(DEADLINE), 0)
        finally:
            os.close(master)
            os.close(slave)
        self.assertEqual(self.mail()["Subject"], "typed")

    def test_interrupted_nothing_is_sent(self) -> None:
        before = self.daemon.audit()["accepted"]
        process = subprocess.Popen([self.daemon.sendmail, "bob"], stdin=subprocess.PIPE)
        assert process.stdin is not None
        process.stdin.write(b"Subject: half\n\nhel")
        process.stdin.flush()
        process.send_signal(signal.SIGTERM)
        self.assertNotEqual(process.wait(DEADLINE), 0)
        process.stdin.close()
        self.assertEqual(self.daemon.audit()["accepted"], before)

    def test_closed_descriptors(self) -> None:
        for redirection, status in (("<&-", statuses.NOINPUT), ("2>&- >&- </dev/null", 0)):
            done = subprocess.run(["sh", "-c", f'"$0" bob {redirection}', self.daemon.sendmail], timeout=DEADLINE)
            self.assertEqual(done.returncode, status, redirection)

    def test_the_environment_has_no_say(self) -> None:
        environment = {
            **os.environ,
            "MTA_CONFIG": "/nowhere",
            "MAIL_CONFIG": "/nowhere",
            "LOGNAME": "eve",
            "USER": "eve",
        }
        done = subprocess.run(
            [self.daemon.sendmail, "bob"], input=b"\nhello\n", env=environment, cwd="/", timeout=DEADLINE
        )
        self.assertEqual(done.returncode, 0)
        self.assertIn("root@ours.example" if not os.getuid() else "@ours.example", self.mail()["From"])

    def test_the_queue_in_the_classic_form(self) -> None:
        done = self.daemon.mta("sendmail", "-bp")
        self.assertEqual(done.stdout, "Mail queue is empty\n")
        done = self.daemon.mta("sendmail", "-bv", "bob", "nosuch", check=False)
        self.assertEqual(done.returncode, statuses.NOUSER)
        self.assertEqual(done.stdout.splitlines()[0], "bob... deliverable")
        self.assertEqual(self.daemon.mta("sendmail", "-bi").stdout, "")
        self.assertEqual(self.daemon.mta("sendmail", "-q").stdout, "")

    # --- as another user -----------------------------------------------------------------------------------

    def test_another_user_sends_in_its_own_name_alone(self) -> None:
        if why := other_user():
            self.skipTest(why)
        self.daemon.sent("bob", user=as_nobody())
        found = self.mail()
        self.assertEqual(found["Return-Path"], "<nobody@ours.example>")
        self.assertTrue(found["Received"].startswith(f"from nobody (uid {NOBODY})"))
        self.daemon.sent("-f", "ann@ours.example", "ann", user=as_nobody())  # the table lets it
        said = self.daemon.refused_with(statuses.NOPERM, "-f", "bob@ours.example", "bob", user=as_nobody())
        self.assertIn(f"uid:{NOBODY} may not send as", said)

    def test_another_user_may_not_see_the_queue(self) -> None:
        if why := other_user():
            self.skipTest(why)
        self.daemon.refused_with(statuses.NOPERM, "-bp", user=as_nobody())

    # --- programs ------------------------------------------------------------------------------------------

    def test_git_send_email(self) -> None:
        needs(self, "git")
        folder = subprocess.run(["git", "--exec-path"], capture_output=True, text=True, check=True).stdout.strip()
        if not (Path(folder) / "git-send-email").exists():
            self.skipTest("git send-email is not installed")
        if subprocess.run(["perl", "-MMail::Address", "-e1"], capture_output=True).returncode:
            self.skipTest("Perl's Mail::Address, which git send-email needs, is not installed")
        patch = self.daemon.folder / "0001.patch"
        patch.write_text(
            "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: Ann <ann@ours.example>\n"
            "Date: Tue, 1 Dec 2026 10:00:00 +0000\nSubject: [PATCH] Fix it\n\nIt was broken.\n---\n a | 2 +-\n\n"
            "diff --git a/a b/a\n--- a/a\n+++ b/a\n@@ -1 +1 @@\n-.\n+..\n.\n"
        )
        done = subprocess.run(
            [
                *("git", "send-email", "--confirm=never", "--from=Ann <ann@ours.example>", "--to=bob@ours.example"),
                *("--envelope-sender=auto", "--suppress-cc=all", f"--smtp-server={self.daemon.sendmail}", str(patch)),
            ],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            cwd=self.daemon.folder,
            env={**os.environ, "HOME": str(self.daemon.folder), "GIT_CONFIG_GLOBAL": "/dev/null"},
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        found = self.mail()
        self.assertEqual(found["Subject"], "[PATCH] Fix it")
        self.assertIn("\n+..\n.\n", found.get_payload())

    def test_mutt(self) -> None:
        needs(self, "mutt")
        settings = [
            f'set sendmail="{self.daemon.sendmail} -oem -oi"',
            "set from=ann@ours.example",
            "set use_envelope_from=yes",
            "unset record",
        ]
        done = subprocess.run(
            [
                "mutt",
                "-n",
                "-F",
                "/dev/null",
                *(word for one in settings for word in ("-e", one)),
                "-s",
                "from mutt",
                "bob@ours.example",
            ],
            input="h\u00e4llo\n.\nend\n",
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env={**os.environ, "HOME": str(self.daemon.folder), "TERM": "dumb", "LC_ALL": "C.UTF-8"},
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        found = self.mail()
        self.assertEqual((found["Subject"], found["Return-Path"]), ("from mutt", "<ann@ours.example>"))
        charset = found.get_content_charset()
        self.assertEqual(found.get_payload(decode=True).decode(charset), "h\u00e4llo\n.\nend\n")

    def test_s_nail(self) -> None:
        needs(self, "s-nail")
        done = subprocess.run(
            [
                *("s-nail", "-:/", f"-Smta={self.daemon.sendmail}", "-Ssendwait", "-r", "ann@ours.example"),
                *("-s", "from s-nail", "bob@ours.example"),
            ],
            input="hello\n.\nend\n",
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            env={**os.environ, "HOME": str(self.daemon.folder)},
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        found = self.mail()
        self.assertEqual((found["Subject"], found["Return-Path"]), ("from s-nail", "<ann@ours.example>"))

    def test_php(self) -> None:
        needs(self, "php")
        script = (
            'exit(mail("bob@ours.example", "from PHP", "line\\n.\\nend\\n", ["From" => "shop@ours.example"],'
            ' "-fann@ours.example") ? 0 : 1);'
        )
        done = subprocess.run(
            ["php", "-d", f"sendmail_path={self.daemon.sendmail} -t -i", "-r", script],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        found = self.mail()
        self.assertEqual((found["Subject"], found["Return-Path"]), ("from PHP", "<ann@ours.example>"))
        self.assertEqual(found.get_payload(), "line\n.\nend\n\n")  # PHP ends it with an empty line

    def test_swaks_by_standard_input_and_output(self) -> None:
        needs(self, "swaks")
        done = subprocess.run(
            [
                *("swaks", "--pipe", f"{self.daemon.sendmail} -bs", "--from", "ann@ours.example", "--to", "bob"),
                *("--data", "From: ann@ours.example\\nSubject: by -bs\\n\\nhello\\n", "--silent", "2"),
            ],
            capture_output=True,
            text=True,
            timeout=DEADLINE,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(self.mail()["Subject"], "by -bs")


class Stopped(SynchronousTestCase):
    """While it does not, and afterwards."""

    def test_mail_waits_for_the_service(self) -> None:
        with LocalDaemon() as daemon:
            daemon.stop()
            daemon.sent("-f", "ann@ours.example", "bob", "nosuch", text="Subject: while stopped\n\nhello\n")
            self.assertEqual(len(list(daemon.pickup.iterdir())), 1)
            done = daemon.send("-bs", text=b"EHLO x\r\n")
            self.assertEqual((done.returncode, done.stdout[:9]), (statuses.TEMPFAIL, b"421 4.3.2"))
            daemon.refused_with(statuses.TEMPFAIL, "-bv", "bob")
            daemon.start()
            (octets,) = daemon.wait_for_mail("bob")
            self.assertEqual(message_from_bytes(octets)["Subject"], "while stopped")
            # Who does not exist is told of to the sender.
            (report,) = daemon.wait_for_mail("ann")
            self.assertIn(b"Final-Recipient: rfc822; nosuch@ours.example", report)
            wait_for(lambda: not list(daemon.pickup.iterdir()), lambda: f"the file to go:\n{daemon.log()}")
            self.assertEqual(daemon.audit()["unaccounted"], 0)

    def test_only_members_leave_mail(self) -> None:
        if why := other_user():
            self.skipTest(why)
        with LocalDaemon(f'group = "{MAIL}"\n') as daemon:
            daemon.stop()
            said = daemon.refused_with(statuses.TEMPFAIL, "bob", user=as_nobody())
            self.assertIn("you are not of its group", said)
            daemon.sent("bob", user=as_nobody(MAIL))
            # It can neither be listed nor taken away by others of the group.
            looked = subprocess.run([*as_nobody(MAIL), "ls", str(daemon.pickup)], capture_output=True)
            self.assertNotEqual(looked.returncode, 0)
            daemon.start()
            (octets,) = daemon.wait_for_mail("bob")
            self.assertIn(f"from nobody (uid {NOBODY})".encode(), octets)

    def test_killed_while_it_takes_mail_nothing_is_lost(self) -> None:
        with LocalDaemon() as daemon:
            daemon.stop()
            for number in range(30):
                daemon.sent("bob", text=f"Subject: {number}\n\nhello\n")
            daemon.start()
            daemon.wait_for_mail("bob")
            daemon.kill()
            daemon.start()
            wait_for(lambda: not list(daemon.pickup.iterdir()), lambda: f"the files to go:\n{daemon.log()}")
            daemon.drained()
            subjects = {message_from_bytes(octets)["Subject"] for octets in daemon.mails("bob")}
            self.assertEqual(subjects, {str(number) for number in range(30)})

    def test_a_user_that_suddenly_sends_much_is_held(self) -> None:
        with LocalDaemon("\n[brake]\nmessages_per_hour = 2\n") as daemon:
            for _ in range(2):
                daemon.sent("bob")
            daemon.wait_for_mail("bob", 2)
            daemon.sent("ann")
            held = wait_for(
                lambda: [row for row in daemon.queue() if row["hold"]], lambda: f"it to be held:\n{daemon.log()}"
            )
            self.assertIn(f"account uid:{os.getuid()} is held", held[0]["hold"])
            self.assertEqual(daemon.mails("ann"), [])

    def test_with_several_workers(self) -> None:
        with LocalDaemon(top="workers = 2\n") as daemon:
            for _ in range(6):
                daemon.sent("bob")
            daemon.wait_for_mail("bob", 6)
            daemon.stop()
            daemon.sent("ann")
            daemon.start()
            daemon.wait_for_mail("ann")

    def test_without_a_configuration(self) -> None:
        daemon = LocalDaemon(start=False)
        try:
            self.assertIn("has not run yet", daemon.refused_with(statuses.CONFIG, "bob"))
            daemon.change('folder = "state/local"', "")
            self.assertIn("no [local] folder", daemon.refused_with(statuses.CONFIG, "bob"))
            daemon.configuration.unlink()
            daemon.refused_with(statuses.CONFIG, "bob")
        finally:
            daemon.__exit__()


class Speed(TestCase):
    """What a start loads: each module more costs every mail that cron sends."""

    def test_sending_loads_next_to_nothing(self) -> None:
        done = subprocess.run(
            [sys.executable, "-c", "import sys, mta.sendmail.main; print(chr(10).join(sys.modules))"],
            capture_output=True,
            text=True,
            check=True,
        )
        loaded = set(done.stdout.split())
        for heavy in ("twisted", "click", "idna", "dataclasses", "email", "tempfile", "cattrs", "zope.interface"):
            self.assertNotIn(heavy, loaded)
