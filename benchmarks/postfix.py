"""A private Postfix out of Debian's package, unpacked into a folder; nothing of it is installed.

It needs root: Postfix's master gives its processes to other users.  Its owner and group are users that every
Debian has (``mail`` and ``uucp``), since the package's own are made only by installing it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from pwd import getpwnam
from typing import Final

from benchmarks.helpers import Helper, dovecot, opendkim
from benchmarks.rows import ACCOUNT, LARGEST, Need
from benchmarks.txmta import MAILBOXES
from tests.integration.surroundings import free_port, wait_for

OWNER, GROUP = "mail", "uucp"
NAMES: Final = ("Postfix", "Postfix, tuned")
FOLDER = Path(__file__).parents[1] / ".bench"

_MAIN = """\
compatibility_level = 3.6
config_directory = {config}
queue_directory = {queue}
data_directory = {data}
daemon_directory = {root}/usr/lib/postfix/sbin
command_directory = {root}/usr/sbin
shlib_directory = {root}/usr/lib/postfix
meta_directory = {config}
maillog_file = {logs}/postfix.log
maillog_file_prefixes = {logs}
mail_owner = {owner}
setgid_group = {group}
myhostname = postfix.ours.example
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink}
disable_dns_lookups = yes
smtp_host_lookup = native
import_environment = MAIL_CONFIG LD_LIBRARY_PATH
export_environment = LD_LIBRARY_PATH
smtputf8_enable = no
alias_maps =
alias_database =
local_recipient_maps =
smtpd_client_connection_count_limit = 0
virtual_mailbox_domains = ours.example
virtual_mailbox_base = {mail}
virtual_mailbox_maps = texthash:{config}/mailboxes
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{uid}
virtual_minimum_uid = 1
message_size_limit = {largest}
virtual_mailbox_limit = 0
smtpd_recipient_limit = {recipients}
default_process_limit = {processes}
{more}"""

_TLS = """\
smtpd_tls_security_level = may
smtpd_tls_chain_files = {tls}
smtp_tls_security_level = may
"""

_LOGIN = """\
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {socket}
smtpd_tls_auth_only = yes
"""

_SIGNED = """\
smtpd_milters = inet:127.0.0.1:{milter}
milter_default_action = tempfail
"""

_TUNED = """\
default_destination_concurrency_limit = 100
initial_destination_concurrency = 50
in_flow_delay = 0
qmgr_message_active_limit = 50000
qmgr_message_recipient_limit = 200000
smtp_destination_recipient_limit = 100
smtp_tls_connection_reuse = yes
smtp_tls_session_cache_database = btree:{data}/smtp_scache
"""

_HOLD = " -o smtpd_recipient_restrictions=static:HOLD"
_MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd{options}
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
virtual unix - n n - - virtual
tlsproxy unix - - n - 0 tlsproxy
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""

_PRIVATE = (
    "incoming",
    "active",
    "bounce",
    "corrupt",
    "defer",
    "deferred",
    "flush",
    "hold",
    "private",
    "saved",
    "trace",
)


#: Libraries that every Debian has, or that must be the system's own.
_SYSTEM: Final = ("libc6", "libssl3")


class Unavailable(Exception):
    """Why there can be no Postfix here."""


def fetch_opendkim(root: Path) -> Path:
    """OpenDKIM's program, unpacked beside Postfix with its libraries.  Raises ``Unavailable``."""
    program = root / "usr/sbin/opendkim"
    if not program.exists():
        _unpack("opendkim", root)
        for library in _libraries(next(FOLDER.glob("opendkim_*.deb"))):
            if library not in _SYSTEM:
                _unpack(library, root)
    return program


def fetch() -> Path:
    """The folder that the package is unpacked in, with libraries that this system lacks.  Raises ``Unavailable``."""
    root = FOLDER / "postfix"
    if not (root / "usr/lib/postfix/sbin/master").exists():
        if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
            raise Unavailable("Debian's package tools are not here")
        FOLDER.mkdir(exist_ok=True)
        _unpack("postfix", root)
    if missing_libraries(root):
        package = next(FOLDER.glob("postfix_*.deb"), None)
        for needed in _libraries(package) if package else ():
            _unpack(needed, root)
        if missing := missing_libraries(root):
            raise Unavailable(f"libraries are missing: {', '.join(missing)}")
    return root


def _unpack(package: str, root: Path) -> None:
    try:
        subprocess.run(["apt-get", "download", "-qq", package], cwd=FOLDER, check=True, capture_output=True)
    except subprocess.CalledProcessError as error:
        why = error.stderr.decode(errors="replace").strip()[:300]
        raise Unavailable(f"the package {package} cannot be had (apt-get update first?): {why}") from None
    for found in FOLDER.glob(f"{package}_*.deb"):
        subprocess.run(["dpkg", "-x", str(found), str(root)], check=True)


def _libraries(package: Path) -> list[str]:
    """The library packages that it depends on; the C library is the system's own."""
    done = subprocess.run(["dpkg-deb", "-f", str(package), "Depends"], check=True, capture_output=True, text=True)
    names = (entry.split()[0] for entry in done.stdout.split(","))
    return [name for name in names if name.startswith("lib") and name != "libc6"]


def missing_libraries(root: Path) -> list[str]:
    """What the dynamic linker does not find for the programs that are run."""
    programs = [str(root / name) for name in ("usr/lib/postfix/sbin/smtpd", "usr/sbin/postsuper")]
    done = subprocess.run(["ldd", *programs], env=environment(root), capture_output=True, text=True)
    return sorted({line.split()[0] for line in done.stdout.splitlines() if "not found" in line})


def environment(root: Path) -> dict[str, str]:
    """For the programs of the package: its libraries are not where the system looks."""
    folders = [root / "usr/lib/postfix", *root.glob("usr/lib/*-linux-gnu*"), *root.glob("lib/*-linux-gnu*")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, folders))}


class Postfix:
    """One instance.  ``tuned`` as in the README here; both keep each message by a sync before their 250."""

    def __init__(self, root: Path, need: Need, sink: int, tls: Path, tuned: bool) -> None:
        if os.geteuid():
            raise Unavailable("Postfix can be started by root alone")
        self.root = root
        self.name = NAMES[tuned]
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="postfix-"))
        self.folder.chmod(0o755)
        self._helpers: list[Helper] = []
        try:
            self._configure(need, sink, tls, tuned)
        except LookupError as error:
            self._end()
            raise Unavailable(str(error)) from None
        self._process = subprocess.Popen(
            [str(root / "usr/lib/postfix/sbin/master"), "-c", str(self.folder / "config"), "-d"],
            env=self._env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.pid = self._process.pid
        wait_for(lambda: "daemon started" in self.log() or self._process.poll() is not None, "Postfix to start")
        if self._process.poll() is not None:
            log = self.log()
            self.stop()
            raise Unavailable(f"Postfix does not start: {log[-500:]}")

    def _configure(self, need: Need, sink: int, tls: Path, tuned: bool) -> None:
        places = {name: self.folder / name for name in ("config", "queue", "data", "logs", "mail")}
        for place in places.values():
            place.mkdir()
        config = places["config"]
        values: dict[str, object] = {
            **places,
            "root": self.root,
            "sink": sink,
            "owner": OWNER,
            "group": GROUP,
            "uid": getpwnam(OWNER).pw_uid,
            "tls": tls,
            "largest": LARGEST,
            "recipients": need.recipients,
            # Each session needs a process; fewer are its default, and its tuning.
            "processes": need.connections if need.connections > 1000 else 200 if tuned else 100,
        }
        more = (_TUNED if tuned else "") + (_TLS if need.tls else "")
        if need.login:
            helper, values["socket"] = dovecot(self.folder / "dovecot", ACCOUNT)
            self._helpers.append(helper)
            more += _LOGIN
        if need.signed:
            program = fetch_opendkim(self.root)
            helper, values["milter"] = opendkim(program, environment(self.root), self.folder / "dkim", "sender.example")
            self._helpers.append(helper)
            more += _SIGNED
        (config / "main.cf").write_text(_MAIN.format(more=more.format(**values), **values))
        options = _HOLD if need.way == "accept" else ""
        (config / "master.cf").write_text(_MASTER.format(port=self.port, options=options))
        boxes = (f"to{number}@ours.example ours.example/to{number}/" for number in range(MAILBOXES))
        (config / "mailboxes").write_text("\n".join(boxes) + "\n")
        self._make_queue(places["queue"])
        shutil.chown(places["data"], OWNER)
        shutil.chown(places["mail"], OWNER)
        self._env = {**environment(self.root), "MAIL_CONFIG": str(config)}

    @property
    def mail(self) -> Path:
        """Where the Maildirs are."""
        return self.folder / "mail/ours.example"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.root / "usr/sbin" / program), *arguments]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{program}: {done.stderr}")

    def _make_queue(self, queue: Path) -> None:
        for name in _PRIVATE:
            (queue / name).mkdir(mode=0o700)
            shutil.chown(queue / name, OWNER)
        for name in ("maildrop", "public"):
            (queue / name).mkdir()
            shutil.chown(queue / name, OWNER, GROUP)
        (queue / "maildrop").chmod(0o1730)
        (queue / "public").chmod(0o2710)
        (queue / "pid").mkdir()

    def log(self) -> str:
        path = self.folder / "logs/postfix.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def waiting(self) -> int:
        """Messages that are not delivered yet."""
        queue = self.folder / "queue"
        return sum(
            1 for name in ("incoming", "active", "deferred") for path in (queue / name).rglob("*") if path.is_file()
        )

    def kept(self) -> int:
        """Messages on hold: what the "accept" rows took in."""
        return sum(1 for path in (self.folder / "queue/hold").rglob("*") if path.is_file())

    def release(self) -> None:
        """What is kept goes to the sink."""
        self._run("postsuper", "-H", "ALL")
        self._run("postqueue", "-f")

    def keep(self) -> None:
        """After ``release``: new mail is on hold all the time."""

    def forget(self) -> None:
        """Throw away what is kept."""
        self._run("postsuper", "-d", "ALL", "hold")

    def faults(self) -> str:
        """What is wrong by its own account."""
        wrong = [line for line in self.log().splitlines() if ": fatal: " in line or ": panic: " in line]
        return wrong[0] if wrong else ""

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._end()

    def _end(self) -> None:
        for helper in self._helpers:
            helper.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
