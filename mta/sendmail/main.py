"""``mta-sendmail``, ``mailq`` and ``newaliases``; and what ``mta sendmail`` does.

What it is: the command line is read (arguments.py), the message (content.py, header.py), and handed to the service over
its socket (submit.py); where no service runs, it is left in the pickup folder (dropped.py).  Only what looks into the
queue or the configuration, ``mailq`` and ``newaliases``, loads more than a few small modules.
Contract: exit status 0 means that the service has the message on disk, or the pickup folder has.  Any other means that
it was not taken for somebody, and standard error says for whom.  Nothing of the environment has a say.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from itertools import chain

from mta.sendmail.arguments import ALIASES, FLUSH, QUEUE, SPEAK, VERIFY, Asked, read_arguments
from mta.sendmail.content import Content, read_content, standard_input
from mta.sendmail.header import all_recipients, author_field, word_recipients
from mta.sendmail.place import PLACE, folder_of, pickup_of, socket_of
from mta.sendmail.statuses import OK, OSERR, SOFTWARE, TEMPFAIL, Trouble
from mta.sendmail.submit import Message, NotRunning, Submitted, submit
from mta.sendmail.users import user_of
from mta.smtp.xtext import encode_xtext


def main(arguments: Sequence[str] | None = None, configuration: str = PLACE, name: str = "") -> int:
    """Do what the command line says; returns the exit status.  ``name``: of the program that it was called as."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    called = name or os.path.basename(sys.argv[0])
    try:
        _open_standard()
        asked = read_arguments(words)
        if called in ("mailq", "newaliases"):
            asked = asked._replace(mode=QUEUE if called == "mailq" else ALIASES)
        return _do(asked, configuration)
    except Trouble as trouble:
        _say(str(trouble))
        return trouble.status
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        _say(str(error))
        return OSERR
    except Exception as error:
        _say(f"a fault of this program: {type(error).__name__}: {error}")
        return SOFTWARE


def mailq() -> int:
    """The program of that name."""
    return main(name="mailq")


def newaliases() -> int:
    """The program of that name."""
    return main(name="newaliases")


def _open_standard() -> None:
    """Where 0, 1 or 2 are closed, the next file would get their number, and words for a person would go into it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # One that cannot be read, so that no input is not taken for an empty message.
            os.open(os.devnull, os.O_WRONLY)


def _say(text: str) -> None:
    """On standard error."""
    shown = "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text)
    try:
        os.write(2, f"sendmail: {shown}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass  # nobody listens any more


def _tell(text: str) -> None:
    """On standard output, for -v and -bv."""
    try:
        os.write(1, f"{text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        pass


def _do(asked: Asked, configuration: str) -> int:
    if asked.mode in (QUEUE, ALIASES, FLUSH):
        from mta.admin.classic import do  # all of the command line: none of it is needed to send mail

        return do(asked.mode, asked.selection, configuration)
    folder = folder_of(configuration)
    if asked.mode == SPEAK:
        from mta.sendmail.speaking import speak

        return speak(socket_of(folder))
    if asked.mode == VERIFY:
        from mta.sendmail.verifying import verify

        return verify(socket_of(folder), asked, word_recipients(asked.recipients), user_of(os.geteuid()).name, _tell)
    return _send(asked, folder)


def _send(asked: Asked, folder: str) -> int:
    if not asked.extract:
        all_recipients(asked.recipients, (), extract=False)  # said before anything is read
    content = read_content(standard_input, asked.dot_ends)
    recipients = all_recipients(asked.recipients, content.fields, asked.extract)
    head = _header(asked, content)
    caller = user_of(os.geteuid())
    message = Message(
        sender=caller.name if asked.sender is None else asked.sender,
        recipients=recipients,
        head=head,
        size=content.body.size,
        body=content.body.read,
        mail=_mail_parameters(asked),
        rcpt=f" NOTIFY={asked.notify}" if asked.notify else "",
    )
    try:
        done = submit(socket_of(folder), message, _tell if asked.verbose else _nothing)
    except NotRunning as why:
        return _leave(asked, folder, recipients, chain((head,), content.body.read()), str(why))
    return _told(done)


def _leave(asked: Asked, folder: str, recipients: Sequence[str], octets: Iterable[bytes], why: str) -> int:
    """Leave it for the service that comes."""
    from mta.sendmail.dropped import Envelope, drop

    envelope = Envelope(
        sender=asked.sender,
        recipients=tuple(recipients),
        notify=asked.notify,
        ret=asked.ret,
        envid=asked.envid,
        body=asked.body,
    )
    drop(pickup_of(folder), envelope, octets)
    if asked.verbose:
        _tell(f"the service takes no mail now ({why}): left for it in {pickup_of(folder)}")
    return OK


def _nothing(text: str) -> None:
    """Nobody wants to know."""


def _header(asked: Asked, content: Content) -> bytes:
    """The header section with its closing empty line, and From where it had none."""
    names = {field.name for field in content.fields}
    added = b""
    if b"from" not in names:
        caller = user_of(os.geteuid())
        # RFC 5322 3.6.2: an author has an address; of a message without a sender it is whoever runs the program.
        added = author_field(asked.full_name or caller.full_name, asked.sender or caller.name)
    return added + content.header + b"\r\n"


def _mail_parameters(asked: Asked) -> str:
    found = f" BODY={asked.body}" if asked.body else ""
    if asked.ret:
        found += f" RET={asked.ret}"
    if asked.envid:
        found += f" ENVID={encode_xtext(asked.envid)}"
    return found


def _told(done: Submitted) -> int:
    """Say who was refused; the exit status."""
    if done.last is not None and not done.last.positive and not done.taken:
        _say(str(done.last))
        return done.last.status
    for recipient, reply in done.refused:
        _say(f"<{recipient}>: {reply}")
    if not done.refused:
        return OK
    if done.taken:
        _say("the message was taken for the others")
    statuses = [reply.status for _, reply in done.refused]
    return next((status for status in statuses if status != TEMPFAIL), TEMPFAIL)


if __name__ == "__main__":
    sys.exit(main())
