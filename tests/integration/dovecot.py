"""A Dovecot that takes mail by LMTP, on loopback and a UNIX socket, in a folder of its own, without any privilege.

Mailboxes are Maildirs ``mail/NAME`` in the folder.  Debian has it in ``dovecot-lmtpd``; where it is not installed, or
cannot run, a test that asks for it is skipped and says why.
"""

from __future__ import annotations

import getpass
import grp
import os
import pwd
import shutil
import subprocess
import tempfile
import unittest
from collections.abc import Mapping
from pathlib import Path

from tests.integration.surroundings import DEADLINE, free_port, wait_for

#: Who it runs as when the tests run as root, which Dovecot refuses to give mail to.
NOBODY = "nobody"
#: Where packages have it: /usr/sbin is not in everybody's PATH.
PROGRAM = shutil.which("dovecot", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
LIBRARIES = ("/usr/lib", "/usr/libexec")

CONFIGURATION = """\
protocols = lmtp
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
first_valid_uid = {uid}
first_valid_gid = {gid}
ssl = no
mail_location = maildir:~/
mail_save_crlf = yes
mail_plugins = quota
hostname = dovecot.ours.example
postmaster_address = postmaster@ours.example
auth_mechanisms = plain
auth_username_format = %Ln
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
service lmtp {{
  user = {user}
  inet_listener lmtp {{
    address = 127.0.0.1
    port = {port}
  }}
  unix_listener {folder}/lmtp.sock {{
    mode = 0666
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
service auth {{
  user = {user}
}}
service auth-worker {{
  user = {user}
}}
plugin {{
  quota = maildir:User quota
  quota_grace = 0%%
}}
"""


class Dovecot:
    """One of it.  ``quotas`` are the mailboxes with their quota rules ("" for none); ``more`` further settings."""

    def __init__(self, quotas: Mapping[str, str], more: str = "") -> None:
        if PROGRAM is None or not any(Path(folder, "dovecot/lmtp").exists() for folder in LIBRARIES):
            raise unittest.SkipTest("Dovecot's LMTP server (dovecot-lmtpd) is not installed")
        self.user = NOBODY if os.geteuid() == 0 else getpass.getuser()
        account = pwd.getpwnam(self.user)
        self.uid, self.gid = account.pw_uid, account.pw_gid
        self.folder = Path(tempfile.mkdtemp(prefix="txmta-dovecot-", dir="/tmp"))  # a socket's path is short
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._write(quotas, more)

    @property
    def socket(self) -> Path:
        return self.folder / "lmtp.sock"

    def delivery(self, name: str, *, unix: bool = False, more: str = "") -> str:
        """The configuration of a delivery service that leads here."""
        where = f'path = "{self.socket}"' if unix else f'host = "127.0.0.1"\nport = {self.port}'
        return f'[delivery.{name}]\ntype = "lmtp"\n{where}\n{more}'

    def mails(self, mailbox: str) -> list[bytes]:
        """What has been delivered to a mailbox."""
        folder = self.folder / "mail" / mailbox / "new"
        return [path.read_bytes() for path in sorted(folder.glob("*"))] if folder.exists() else []

    def wait_for_mail(self, mailbox: str, count: int = 1) -> list[bytes]:
        wait_for(lambda: len(self.mails(mailbox)) >= count, lambda: f"{count} mails for {mailbox}:\n{self.log()}")
        return self.mails(mailbox)

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def start(self) -> None:
        """Start it and wait until it is up."""
        assert PROGRAM is not None
        try:
            before = self._starts()
            self.process = subprocess.Popen(
                [PROGRAM, "-F", "-c", str(self.folder / "dovecot.conf")],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                **({"user": self.uid, "group": self.gid, "extra_groups": []} if os.geteuid() == 0 else {}),
            )
            wait_for(lambda: self._is_up(before), lambda: f"Dovecot to start:\n{self.log()}")
        except BaseException:
            self.__exit__()
            raise

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone."""
        process, self.process = self.process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(DEADLINE)

    def __enter__(self) -> Dovecot:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _starts(self) -> int:
        return self.log().count("starting up for lmtp")

    def _is_up(self, before: int) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"Dovecot ended with {self.process.returncode}:\n{self.log()}")
        return self.socket.exists() and self._starts() > before

    def _write(self, quotas: Mapping[str, str], more: str) -> None:
        text = CONFIGURATION.format(
            folder=self.folder,
            user=self.user,
            group=grp.getgrgid(self.gid).gr_name,
            uid=self.uid,
            gid=self.gid,
            port=self.port,
        )
        (self.folder / "dovecot.conf").write_text(text + more)
        lines = [self._account(name, rule) for name, rule in quotas.items()]
        (self.folder / "users").write_text("".join(f"{line}\n" for line in lines))
        for path in (self.folder, *self.folder.iterdir()):
            os.chown(path, self.uid, self.gid)

    def _account(self, name: str, rule: str) -> str:
        extra = f"userdb_quota_rule={rule}" if rule else ""
        return f"{name}:{{plain}}x:{self.uid}:{self.gid}::{self.folder}/mail/{name}::{extra}"
