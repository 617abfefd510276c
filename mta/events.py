"""Every event and every reason that txmta can give, in one list.

What it is: an ``Event`` is a code with arguments and a time; it is formatted only when somebody reads it.
The same value goes to observers (logs, metrics), into the stored story of a message, and comes back from
decisions as a reason.  ``KINDS`` holds them all: code, meaning, and the sentence for people.
Contract: arguments are strings, numbers, booleans, None or lists of them, so an event is JSON as it stands.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple

_UNPRINTABLE = re.compile(r"[^\x20-\x7e\u00a1-\u1fff\u2030-\u2bff\u2e80-\ud7ff\uf900-\ufdff]|\\")


def escape(text: str) -> str:
    """Text from a stranger, made safe to show: control, bidirectional and invisible characters as escapes."""
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return _UNPRINTABLE.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


class Event(NamedTuple):
    """One thing that happened, or one reason.

    ``at`` is UTC milliseconds, 0 where the time is that of the decision it belongs to; ``recipient`` is the
    recipient's number within its message, -1 where it concerns the whole message or none.
    """

    code: str
    args: dict[str, Any]
    at: int = 0
    recipient: int = -1

    def __str__(self) -> str:
        kind = KINDS.get(self.code)
        if kind is None:  # written by a newer version, or by a plugin: shown as it stands
            rest = ", ".join(f"{key}={escape(str(value))}" for key, value in self.args.items())
            return f"{escape(self.code)}: {rest}"
        return kind.describe(self.args)


class Kind:
    """One kind of event.  Calling it makes the event."""

    __slots__ = ("_format", "code", "fields", "meaning")

    def __init__(self, code: str, meaning: str, sentence: str) -> None:
        self.code = code
        self.meaning = meaning
        self._format = re.sub(r"\{\w+\}", "%s", sentence.replace("%", "%%"))
        self.fields = tuple(re.findall(r"\{(\w+)\}", sentence))
        KINDS[code] = self

    def __call__(self, at: int = 0, recipient: int = -1, /, **args: Any) -> Event:
        return Event(self.code, args, at, recipient)

    def describe(self, args: dict[str, Any]) -> str:
        """The sentence with its arguments, escaped; an argument that is missing shows as ``?``."""
        values = [args.get(name, "?") for name in self.fields]
        text = self._format % tuple([v if type(v) is str else _plain(v) for v in values])
        if text.isascii() and text.isprintable() and "\\" not in text:
            return text.rstrip()  # nothing in it needs escaping: what nearly every event is
        return (self._format % tuple([escape(_plain(v)) for v in values])).rstrip()


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join([_plain(item) for item in value])
    return "" if value is None else str(value)


KINDS: Final[dict[str, Kind]] = {}

# --- the process -----------------------------------------------------------------------------------------
STARTED = Kind("started", "the service is up", "txmta {version} is up as {hostname}; state {state}")
LISTENING = Kind("listening", "a listener has its port", "listener {name} on {address}")
LOCAL_CLOSED = Kind(
    "local-closed",
    "other users cannot reach the socket of local programs",
    "{folder}: others may not pass {closed}: chmod o+x, or choose another local.folder",
)
STOPPING = Kind("stopping", "the service stops; running deliveries get their time", "{reason}")
RELOADED = Kind("reloaded", "a new configuration is in force", "configuration read again; {note}")
WORKER_UP = Kind("worker-up", "one of several processes is ready", "worker {worker} is up, process {pid}{note}")
WORKER_DIED = Kind(
    "worker-died", "one of several processes died, and is started again", "worker {worker} {how}; again in {seconds} s"
)
WORKER_EMPTY = Kind("worker-empty", "a spool that was left over has nothing any more", "worker {worker}: {note}")
RELOAD_REFUSED = Kind(
    "reload-refused", "the new configuration was wrong; the old one stays", "nothing was changed: {error}"
)
TEST_FAILED = Kind(
    "test-failed", "a test of the configuration fails; the service started all the same", "a test fails: {error}"
)
STALLED = Kind("stalled", "the reactor did not run for over a second", "the reactor stalled for {seconds} s in {where}")
SPOOL_TROUBLE = Kind("spool-trouble", "the spool cannot write", "{error}")
SPOOL_RECOVERED = Kind("spool-recovered", "the spool is in order", "{note}")
SPOOL_DAMAGE = Kind("spool-damage", "something in the spool cannot be read", "{what}")
TABLE_LOADED = Kind("table-loaded", "a table file was read again", "table {table}: read again, {entries} entries")
TABLE_REFUSED = Kind(
    "table-refused",
    "a changed table file is wrong; what it held before stays in force",
    "table {table}: the version before stays in force: {error}",
)
FORWARD_REFUSED = Kind(
    "forward-refused",
    "a file ~/.forward is not followed; mail goes into the mailbox",
    "{file} is not followed: {why}",
)
TABLE_FAILS = Kind(
    "table-fails", "what a table asks cannot be reached; mail for its addresses waits", "table {table}: {error}"
)
TABLE_ANSWERS = Kind("table-answers", "what a table asks can be reached again", "table {table}: it answers again")
CERTIFICATE_READ = Kind("certificate-read", "a certificate is in force", "{file}: for {names}, until {until}")
CERTIFICATE_GONE = Kind("certificate-gone", "a certificate is no longer used", "{file}: not used any more; for {names}")
CERTIFICATE_REFUSED = Kind(
    "certificate-refused", "a certificate is wrong; what was in force stays", "what was in force stays: {error}"
)
CERTIFICATE_EXPIRES = Kind(
    "certificate-expires", "a certificate ends soon", "{file}: for {name}, ends in {days} days, on {until}"
)
ACCOUNTS_LOADED = Kind(
    "accounts-loaded", "a file of accounts was read again", "accounts {source}: read again, {accounts} accounts"
)
ACCOUNTS_REFUSED = Kind(
    "accounts-refused",
    "a changed file of accounts is wrong; what it held before stays in force",
    "accounts {source}: the version before stays in force: {error}",
)
LOGIN_FAILED = Kind(
    "login-failed", "a client was refused who wanted to log in", "{client} is not {account} ({mechanism}): {why}"
)
LOGIN_UNKNOWN = Kind(
    "login-unknown", "a source of accounts could not say whether a login is right", "{client} as {account}: {why}"
)
LOGIN_BRAKED = Kind(
    "login-braked", "a brake against guessing closed", "too many failed logins: {kind} {name}, after one by {client}"
)
LOGIN_LIFTED = Kind("login-lifted", "an operator lifted brakes against guessing", "{which}, {count} counts: by {by}")
OPERATED = Kind("operator", "an operator changed what waits", "{by}: {what}: {recipients} recipients of {which}")
PAUSED = Kind("paused", "an operator has a destination wait", "nothing is sent to {place}: by {by}   {reason}")
RESUMED = Kind("resumed", "a pause is over", "mail is sent to {place} again: by {by}")
DRAINING = Kind("draining", "no mail is taken in, by an operator's wish; or again", "{what}: by {by}")
ERASED = Kind("erased", "an address was erased from the history", "in {records} messages: by {by}")
BACKGROUND_FAILED = Kind("background-failed", "a background task failed", "{what} failed: {error}")

# --- a session -------------------------------------------------------------------------------------------
CONNECTED = Kind("connected", "a client connected", "connection from {client} to {listener} {by}")
DISCONNECTED = Kind("disconnected", "a session ended", "connection from {client} ended: {reason}; {messages} messages")
CONNECTION_REFUSED = Kind("connection-refused", "a limit on connections", "refused {client}: {reply}")
TLS_STARTED = Kind("tls", "a session is encrypted from here on", "{client}: {tls}")
TLS_FAILED = Kind("tls-failed", "a handshake failed; the session ended", "{client} to {listener}: no TLS: {reason}")
PROXY_REFUSED = Kind(
    "proxy-refused",
    "a proxy's connection had no good header and was closed",
    "proxy {peer} to {listener}: closed: {why}",
)
RENAMED = Kind("renamed", "XCLIENT told who the client is", "{peer} says that the client is {client} {login}")
ASKED = Kind(
    "asked",
    "VRFY or EXPN was answered: who asked what",
    "{client} {login} asked {command} {what}: {reply}, {addresses} addresses",
)
LOGGED_IN = Kind(
    "logged-in", "a client logged in", "{client} logged in as {account} {credential} by {mechanism}   {tls}"
)
LOGIN_BROKEN = Kind(
    "login-broken", "an AUTH was refused before a name and a proof were there", "{client}: {mechanism}: {reply}   {why}"
)
SPOKE_EARLY = Kind("spoke-early", "a client spoke before the greeting", "{client} spoke before the greeting")
COMMAND_REFUSED = Kind("command-refused", "a command got 4yz or 5yz", "{client}: {command}: {reply}   {said}")
RECIPIENT_REFUSED = Kind(
    "recipient-refused", "RCPT was refused", "{client}: from <{sender}> to <{address}>: {reply}   {why}"
)

# --- a message: acceptance -------------------------------------------------------------------------------
POLICY = Kind("policy", "what a policy decided", "policy {policy} at {stage}: {decision}   {about}   {reply}   {why}")
IDENTITY = Kind("identity", "in whose name an account sends", "sends as {grounds}   identity: {mode}")
BRAKE_CLOSED = Kind(
    "brake-closed", "an account sent more than its brake allows; its mail is held", "account {account}: {why}"
)
ACCOUNT_RELEASED = Kind(
    "account-released",
    "mail that was held because of its account goes on, or is dropped",
    "account {account}: {recipients} recipients: {by}",
)
NOT_OWN = Kind(
    "not-own", "an account tried to send in another's name", "{check}: account {account} may not send as {address}"
)
SAID = Kind("said", "what a policy says of its verdict", "{text}")
ACCEPTED = Kind(
    "accepted",
    "a message was taken in",
    "from {client} ({helo}, {protocol}) listener {listener}, {size} octets; <{sender}> to {recipients}   {tls}",
)
PICKUP_REFUSED = Kind(
    "pickup-refused",
    "a file in the pickup folder is no mail, and was set aside",
    "{file} of uid {uid}: {why}; it is {where}",
)
PICKUP_WAITS = Kind(
    "pickup-waits", "mail in the pickup folder cannot be taken in now", "{file} of uid {uid} waits {seconds} s: {reply}"
)
PICKED_UP = Kind(
    "picked-up", "mail that was left while the service did not run", "{file} of uid {uid}: taken in; refused: {refused}"
)
COMMITTED = Kind("committed", "the message is on disk; the client was told 250", "on disk after {ms} ms")
LOGIN = Kind("login", "a proxy told by XCLIENT who has authenticated", "logged in as {login}")
REFUSED = Kind(
    "refused",
    "a message was refused at its end",
    "message from {client}, sender <{sender}>, {count} recipients: {reply}   {why}   {recipients}",
)
UNFINISHED = Kind(
    "unfinished",
    "a message had begun and the session ended before it did",
    "message from {client}, sender <{sender}>, {count} recipients: cut off: {why}   {recipients}",
)
NOT_KEPT = Kind(
    "not-kept", "more refusals of one client than are kept for mta explain", "of {client} no more is kept until {until}"
)
FORWARDED = Kind("forwarded", "XFORWARD told where the message came from", "{peer} says that it came from {said}")
EXPANDED = Kind("expanded", "an address leads elsewhere", "{address} -> {targets}   {rule}   {where}")
RENAMED_ADDRESS = Kind(
    "address-renamed", "an address was given its canonical form at acceptance", "{where}: {address} -> {to}   {rule}"
)
NOT_RENAMED = Kind("not-renamed", "the header was left as it is, and why", "addresses in the header stay: {why}")
PRIORITY = Kind("priority", "a priority was asked for by MT-PRIORITY", "priority {given}; asked for: {asked}")
SIGNED = Kind("dkim-signed", "the message was signed at acceptance", "DKIM: {domain}, {selectors}")
UNSIGNED = Kind("dkim-unsigned", "the message was not signed, and why", "no DKIM signature: {why}")
HEADER_ADDED = Kind("header-added", "a field was added at acceptance", "{fields}")
HEADER_CUT = Kind("header-cut", "a field was cut at acceptance", "{fields}")
SPAWNED = Kind("spawned", "a message that we made ourselves", "{what} about {about}, to {sender}")
SPREAD = Kind(
    "spread", "a message to a list, sent on to its members", "list {list}: from {about} to {members} members   {lists}"
)
MEMBER_LEFT_OUT = Kind("member-left-out", "a member of a list gets no copy, and why", "list {list}: {member}: {why}")

# --- a message: routing and delivery ---------------------------------------------------------------------
ROUTED = Kind("routed", "where a recipient's copy goes", "{address}: by {service} to {next_hop}   {rule}")
ATTEMPT = Kind(
    "attempt",
    "one delivery attempt for one recipient",
    "try {attempt} {address}: {status} by {service} {host} {tls} {seconds}s   {stage}: {reply}   scope: {scope}",
)
TLS_BROKEN = Kind(
    "tls-broken", "the TLS of a host is broken, and none is demanded", "service {service}: {host}: on in clear: {reply}"
)
LOGIN_REFUSED = Kind("login-refused", "a smart host does not let us in", "service {service}: {host} as {user}: {reply}")
EXPIRED = Kind("expired", "the queue time is over", "{address}: given up after {age}; last: {reply}")
HELD = Kind("held", "waits until somebody releases it", "{address}: {reason}")
BOUNCED = Kind("bounced", "the sender was told of a failure", "report {report} to {sender}: {status}")
REPORTED = Kind(
    "reported", "the sender was told of what went well, or is late", "report {report} to {sender}: {status}"
)
NOT_BOUNCED = Kind("not-bounced", "the sender was not told, and why", "no report: {reason}")
CHANGED = Kind("changed", "an operator changed it", "{change} by {by}   {detail}")
SUSPENDED = Kind("suspended", "a destination rests", "{destination} rests {seconds} s: {reason}")

# --- reasons of routing decisions ------------------------------------------------------------------------
RIGHT = Kind("right", "why mail to this address is taken", "{right}")
RULE = Kind("rule", "the rule that decided", "{rule}")
REWRITE = Kind("rewrite", "in whose name a forwarded message goes on, and why", "{how} ({why})")
MX_CHOSEN = Kind("mx", "the hosts, in order", "MX of {domain}: {hosts}")
CALLED_AHEAD = Kind("called-ahead", "the next host was asked whether an address exists", "{address}: {heard}; {said}")
CALL_AHEAD_FAILS = Kind(
    "call-ahead-fails",
    "the next host cannot be asked whether addresses exist, or its answers say nothing",
    "{domain} by {service}: {why}",
)
CALL_AHEAD_ANSWERS = Kind(
    "call-ahead-answers", "the next host can be asked again whether addresses exist", "{domain} by {service}: {where}"
)
MX_DROPPED = Kind("mx-dropped", "a host that is not used, and why", "{host} left out: {why}")
