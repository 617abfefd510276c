"""What stands beside Postfix where it cannot do something itself: Dovecot checks logins, OpenDKIM signs.

Both out of Debian's packages; each runs in a folder that it is given, and is stopped by whoever started it.  Passwords
are kept by both servers as the same hash (argon2id of the strength that txmta has by default): neither gets away with
less work.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from grp import getgrgid
from pathlib import Path
from pwd import getpwnam
from typing import Final

from argon2 import PasswordHasher
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.integration.dovecot import PROGRAM
from tests.integration.surroundings import free_port, wait_for

_USER: Final = "nobody"
#: As ``mta account`` has it.
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_DOVECOT: Final = """\
protocols =
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
ssl = no
auth_mechanisms = plain
first_valid_uid = {uid}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home=/nonexistent
}}
service auth {{
  user = {user}
  unix_listener {folder}/auth.sock {{
    mode = 0666
  }}
}}
service auth-worker {{
  user = {user}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


class Helper:
    """A program beside Postfix."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.pid = self._process.pid

    def running(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def dovecot(folder: Path, login: str) -> tuple[Helper, Path]:
    """One that knows this login (``NAME:PASSWORD``), and the socket where Postfix asks it.  Raises ``LookupError``."""
    if PROGRAM is None:
        raise LookupError("Dovecot (dovecot-core) is not installed")
    name, _, password = login.partition(":")
    user = getpwnam(_USER)
    folder.mkdir()
    folder.chmod(0o755)
    values = {
        "folder": folder,
        "user": _USER,
        "group": getgrgid(user.pw_gid).gr_name,
        "uid": user.pw_uid,
        "gid": user.pw_gid,
    }
    (folder / "dovecot.conf").write_text(_DOVECOT.format(**values))
    (folder / "users").write_text(f"{name}:{{ARGON2ID}}{_HASHER.hash(password)}\n")
    socket = folder / "auth.sock"
    helper = Helper([PROGRAM, "-F", "-c", str(folder / "dovecot.conf")])
    wait_for(lambda: socket.exists() or not helper.running(), "Dovecot to start")
    if not helper.running():
        raise LookupError(f"Dovecot does not start: {(folder / 'log').read_text()[-500:]}")
    return helper, socket


def opendkim(program: Path, environment: Mapping[str, str], folder: Path, domain: str) -> tuple[Helper, int]:
    """One that signs for the domain with an RSA key of 2048 bits, and its port on loopback."""
    folder.mkdir()
    key, port = folder / "key.pem", free_port()
    made = rsa.generate_private_key(65537, 2048)
    key.write_bytes(made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    key.chmod(0o600)
    (folder / "opendkim.conf").write_text(
        f"Mode s\nDomain {domain}\nSelector s1\nKeyFile {key}\nSocket inet:{port}@127.0.0.1\n"
        "Canonicalization relaxed/relaxed\nOversignHeaders From\nInternalHosts 127.0.0.1\nRequireSafeKeys no\n"
    )
    helper = Helper([str(program), "-f", "-x", str(folder / "opendkim.conf")], environment)
    wait_for(lambda: _listens(port) or not helper.running(), "OpenDKIM to start")
    if not helper.running():
        raise LookupError("OpenDKIM does not start")
    return helper, port


def _listens(port: int) -> bool:
    return any(f":{port:04X} " in line and " 0A " in line for line in Path("/proc/net/tcp").read_text().splitlines())
