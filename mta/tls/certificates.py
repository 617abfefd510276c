"""Certificates with their keys, read from files: octets in, checked values out.

What it is: ``sources`` lists what a folder holds, ``stamp`` tells one version of the files from another, ``read``
makes a ``Certificate``.
Contract: what comes back can be used: the key is that of the first certificate, it has no password, OpenSSL
takes both.  A key that others than its owner and group may read or write is refused, and so is any file that
anybody may write.
How it fails: ``CertificateError`` with a sentence that names the file; ``NotReadable`` where only the permission to
read is missing, which is how it should be once privileges are dropped.
Limits: ``MAX_FILE`` octets a file, ``MAX_SOURCES`` certificates a folder, ``MAX_CHAIN`` in one chain.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from mta.config.files import unsafe
from mta.config.problems import Wrong

MAX_FILE: Final = 1 << 20
MAX_SOURCES: Final = 4096
MAX_CHAIN: Final = 20

#: The kinds of keys that TLS servers use.
Key: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
_KEYS: Final = (rsa.RSAPrivateKey, ec.EllipticCurvePrivateKey, ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)
#: certbot makes a folder for each certificate, with these two in it.
_CHAIN_NAME: Final = "fullchain.pem"
_KEY_NAME: Final = "privkey.pem"


class CertificateError(ValueError):
    """What is wrong with a certificate or its key; ``str()`` is a sentence for people."""


class NotReadable(CertificateError):
    """Only the permission to read is missing."""


class Source(NamedTuple):
    """Where a certificate and its key stand; both may be in one file."""

    certificate: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A certificate with its key and the chain that goes with it; ``names`` as by ``normal_name``."""

    source: Source
    names: tuple[str, ...]
    begins: int  # UTC milliseconds, like all times
    expires: int
    key: Key
    leaf: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def place(self) -> str:
        """The file, for people."""
        return self.source.certificate

    @property
    def name(self) -> str:
        """Its first name, for people."""
        return self.names[0] if self.names else "no name"


def sources(folder: str) -> list[Source]:
    """What a folder holds, sorted by name; raises ``CertificateError`` for files that are not whole, ``OSError``.

    ``NAME.pem`` with key and chain (or the key in ``NAME.key``), ``NAME.crt`` with ``NAME.key``, and folders as
    certbot makes them.  Other files are passed over.
    """
    entries = {entry.name: entry.is_dir() for entry in os.scandir(folder) if not entry.name.startswith(".")}
    found: list[Source] = []
    for name, is_folder in sorted(entries.items()):
        path = os.path.join(folder, name)
        stem, extension = os.path.splitext(path)
        if is_folder:
            if _is_there(os.path.join(path, _CHAIN_NAME)):
                found.append(Source(os.path.join(path, _CHAIN_NAME), os.path.join(path, _KEY_NAME)))
        elif extension == ".crt" or (extension == ".pem" and f"{os.path.splitext(name)[0]}.key" in entries):
            found.append(Source(path, f"{stem}.key"))
        elif extension == ".pem":
            found.append(Source(path, path))
        elif extension == ".key" and not entries.keys() & _partners(name):
            raise CertificateError(f"{path}: there is no certificate beside it; name it as the key, with .crt")
    if len(found) > MAX_SOURCES:
        raise CertificateError(f"{folder} holds more than {MAX_SOURCES} certificates")
    return found


def _is_there(path: str) -> bool:
    """Whether there is such a file, or may be one that we are not let see: it must not count as deleted."""
    try:
        os.lstat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _partners(key: str) -> set[str]:
    stem = os.path.splitext(key)[0]
    return {f"{stem}.crt", f"{stem}.pem"}


def stamp(source: Source) -> tuple[tuple[int, int, int, int], ...]:
    """Tells one version of the files from another; the same for files that are not there."""
    found = []
    for path in source:
        try:
            status = os.stat(path)
        except OSError:
            found.append((0, 0, 0, 0))
        else:
            found.append((status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode))
    return tuple(found)


def read(source: Source) -> Certificate:
    """Read and check a certificate and its key; see the module's text."""
    text = _contents(source.certificate, private=source.key == source.certificate)
    try:
        found = x509.load_pem_x509_certificates(text)
    except ValueError:
        raise CertificateError(
            f"{source.certificate}: is no certificate in PEM, or not a whole one; write all from BEGIN to END"
        ) from None
    if len(found) > MAX_CHAIN:
        raise CertificateError(f"{source.certificate}: has more than {MAX_CHAIN} certificates")
    leaf, *chain = found
    key = _key(source, text)
    spki = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*spki) != leaf.public_key().public_bytes(*spki):
        raise CertificateError(
            f"{source.key}: is not the key of the first certificate in {source.certificate}; "
            "both must be of one issue, and the host's own certificate stands before those above it"
        )
    return Certificate(
        source=source,
        names=_names(source, leaf),
        begins=round(leaf.not_valid_before_utc.timestamp() * 1000),
        expires=round(leaf.not_valid_after_utc.timestamp() * 1000),
        key=key,
        leaf=leaf,
        chain=tuple(chain),
    )


def _key(source: Source, text: bytes) -> Key:
    if source.key != source.certificate:
        text = _contents(source.key, private=True)
    elif b"PRIVATE KEY-----" not in text:
        raise CertificateError(
            f"{source.key}: has no key; write it into the file, or name the file that has it (tls.key, NAME.key)"
        )
    try:
        key = load_pem_private_key(text, None)
    except TypeError:
        raise CertificateError(f"{source.key}: the key has a password; write it without one") from None
    except ValueError:
        raise CertificateError(
            f"{source.key}: is no private key in PEM, or not a whole one; write all from BEGIN to END"
        ) from None
    if not isinstance(key, _KEYS):
        raise CertificateError(f"{source.key}: is no RSA, ECDSA or EdDSA key, which is what TLS takes")
    return key


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]


def _contents(path: str, private: bool) -> bytes:
    """The octets of a file; what is ``private`` must be so.  The file that is looked at is the one that is read."""
    try:
        with open(path, "rb", opener=_open) as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode):
                raise CertificateError(f"{path}: is no regular file")
            if private and mode & (stat.S_IROTH | stat.S_IWOTH):
                raise CertificateError(f"{path}: others may read this key; run: chmod o-rwx {path}")
            trouble: Wrong | None = unsafe(path)
            if trouble is not None:
                raise CertificateError(f"{path}: {trouble.what}; {trouble.instead}")
            octets = file.read(MAX_FILE + 1)
    except PermissionError as error:
        raise NotReadable(f"{path}: cannot be read: {error.strerror}") from None
    except OSError as error:
        raise CertificateError(f"{path}: cannot be read: {error.strerror or error}") from None
    if len(octets) > MAX_FILE:
        raise CertificateError(f"{path}: is larger than {MAX_FILE} octets")
    return octets


def _open(path: str, flags: int) -> int:
    # A pipe that nobody writes to must not hold us.
    return os.open(path, flags | os.O_NONBLOCK)


def _names(source: Source, leaf: x509.Certificate) -> tuple[str, ...]:
    """The names that it is for (RFC 6125 6.4): those of the extension; the common name where it has none."""
    try:
        extension = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        given = extension.value.get_values_for_type(x509.DNSName)
    except x509.ExtensionNotFound:
        common = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        given = [str(attribute.value) for attribute in common]
    except ValueError as error:
        raise CertificateError(f"{source.certificate}: its names cannot be read: {_first_line(error)}") from None
    return tuple(dict.fromkeys(normal_name(name) for name in given))


def normal_name(name: str) -> str:
    """A host's name in the form in which names are compared (RFC 4343: without regard to case)."""
    return name.lower().removesuffix(".")
