"""A PostgreSQL and an OpenLDAP server, each in a folder of its own, on a UNIX socket or loopback, without privilege.

Debian has them in ``postgresql`` and ``slapd``; where one is not installed, a test that asks for it is skipped and
says so.  Both run as ``nobody`` when the tests run as root: PostgreSQL refuses to be root.
"""

from __future__ import annotations

import getpass
import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.certificates import Authority
from tests.integration.surroundings import free_port, wait_for

NOBODY = "nobody"


def _program(name: str, *folders: str) -> str | None:
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
    return found or next((path for folder in folders for path in sorted(glob.glob(f"{folder}/{name}"))[-1:]), None)


class _Server:
    """A process in a folder that belongs to the user it runs as."""

    def __init__(self) -> None:
        self.user = NOBODY if os.geteuid() == 0 else getpass.getuser()
        self.folder = Path(tempfile.mkdtemp(prefix="db"))  # short: it holds sockets
        self.process: subprocess.Popen[bytes] | None = None

    def run(self, *command: str) -> None:
        """A command that ends."""
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, **self._who())

    def begin(self, *command: str) -> None:
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **self._who())

    def own(self) -> None:
        """Give all of the folder to the user."""
        if os.geteuid() == 0:
            entry = pwd.getpwnam(self.user)
            for path in (self.folder, *self.folder.rglob("*")):
                os.chown(path, entry.pw_uid, entry.pw_gid)

    def _who(self) -> dict[str, str]:
        return {"user": self.user} if os.geteuid() == 0 else {}

    def stop(self, how: int = signal.SIGTERM) -> None:
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgresql(_Server):
    """``info`` is the connection string.  Everybody who reaches the socket is let in."""

    def __init__(self) -> None:
        initdb = _program("initdb", "/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin")
        postgres = _program("postgres", "/usr/lib/postgresql/*/bin", "/usr/local/pgsql/bin")
        psql = _program("psql")
        if initdb is None or postgres is None or psql is None:
            raise unittest.SkipTest("PostgreSQL is not installed (Debian: postgresql)")
        self._postgres, self._psql = postgres, psql
        super().__init__()
        self.info = f"host={self.folder} user={self.user} dbname=postgres"
        try:
            self.own()
            self.run(initdb, "-D", "data", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
            self.start()
        except BaseException:
            self.remove()
            raise

    def start(self) -> None:
        self.begin(
            *(self._postgres, "-D", "data", "-k", str(self.folder), "-c", "listen_addresses=", "-c", "fsync=off"),
        )
        wait_for(lambda: (self.folder / ".s.PGSQL.5432").exists() and self.sql("SELECT 1"))

    def sql(self, text: str) -> bool:
        """Run statements; False: it does not answer yet."""
        command = [self._psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.info, "-c", text]
        return subprocess.run(command, cwd=self.folder, capture_output=True).returncode == 0


CONFIGURATION = """\
include {schema}/core.schema
include {schema}/cosine.schema
include {schema}/inetorgperson.schema
modulepath {modules}
moduleload back_mdb
TLSCertificateFile {folder}/cert.pem
TLSCertificateKeyFile {folder}/key.pem
TLSCACertificateFile {folder}/ca.pem
database mdb
suffix "dc=example,dc=org"
rootdn "cn=mta,dc=example,dc=org"
rootpw s3cret
directory {folder}/data
maxsize 10485760
require authc
"""
TOP = """\
dn: dc=example,dc=org
objectClass: dcObject
objectClass: organization
dc: example
o: Example

dn: ou=people,dc=example,dc=org
objectClass: organizationalUnit
ou: people
"""


class Slapd(_Server):
    """``url`` is where it is; ``ca`` the authority of its certificate, which is for 127.0.0.1."""

    def __init__(self, people: str) -> None:
        slapd, slapadd = _program("slapd"), _program("slapadd")
        modules = next((path for path in ("/usr/lib/ldap", "/usr/libexec/openldap") if os.path.isdir(path)), None)
        if slapd is None or slapadd is None or modules is None or not os.path.isdir("/etc/ldap/schema"):
            raise unittest.SkipTest("OpenLDAP's server is not installed (Debian: slapd)")
        self._slapd = slapd
        super().__init__()
        self.port = free_port()
        self.url = f"ldap://127.0.0.1:{self.port}"
        self.ca = str(self.folder / "ca.pem")
        try:
            authority = Authority()
            issued = authority.issue("127.0.0.1")
            (self.folder / "data").mkdir()
            (self.folder / "ca.pem").write_bytes(authority.pem)
            (self.folder / "cert.pem").write_bytes(issued.certificate)
            (self.folder / "key.pem").write_bytes(issued.key)
            text = CONFIGURATION.format(folder=self.folder, schema="/etc/ldap/schema", modules=modules)
            (self.folder / "slapd.conf").write_text(text, encoding="utf-8")
            (self.folder / "all.ldif").write_text(f"{TOP}\n{people}", encoding="utf-8")
            self.own()
            self.run(slapadd, "-f", "slapd.conf", "-l", "all.ldif")
            self.start()
        except BaseException:
            self.remove()
            raise

    def start(self) -> None:
        self.begin(self._slapd, "-f", "slapd.conf", "-h", f"ldap://127.0.0.1:{self.port}", "-d", "0")
        wait_for(self._answers)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True
