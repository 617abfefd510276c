"""Asks PAM whether a password is right: a script of its own, with nothing but the standard library.

What it is: ``pam_check.py SERVICE [FOLDER]`` reads a user's name, NUL and a password from its standard input, and ends
with ``RIGHT`` (its output is the name by which PAM knows the user), ``WRONG`` or ``CANNOT_KNOW`` (its output says why).
``FOLDER`` is where the services of PAM are described, if not in /etc/pam.d.  ``mta.accounts.pam`` starts it, as the
service's own user or by the helper, which is root (``mta.delivery.launch``).
Contract: it authenticates and sees whether the account may log in (``pam_acct_mgmt``); it opens no session and changes
no password.  The password goes to modules that ask without echo, the name to those that ask with it.
How it fails: every answer of PAM that is not a plain no is ``CANNOT_KNOW``.
Limits: ``MOST_INPUT`` octets; ``CPU_SECONDS``; the time is limited by who starts it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import sys
from typing import Any, Final

RIGHT: Final = 0
WRONG: Final = 1
CANNOT_KNOW: Final = 75  # EX_TEMPFAIL
MOST_INPUT: Final = 4096
CPU_SECONDS: Final = 20
#: security/_pam_types.h of Linux-PAM.
_SUCCESS: Final = 0
_REFUSALS: Final = frozenset(
    {
        6,  # PAM_PERM_DENIED
        7,  # PAM_AUTH_ERR
        8,  # PAM_CRED_INSUFFICIENT
        10,  # PAM_USER_UNKNOWN
        11,  # PAM_MAXTRIES
        12,  # PAM_NEW_AUTHTOK_REQD
        13,  # PAM_ACCT_EXPIRED
        27,  # PAM_AUTHTOK_EXPIRED
    }
)
_ECHO_OFF, _ECHO_ON = 1, 2
_BUF_ERR: Final = 5
_CONV_ERR: Final = 19
_USER: Final = 2  # an item
_MOST_MESSAGES: Final = 32
_SILENT, _NO_EMPTY = 0x8000, 0x0001


class _Message(ctypes.Structure):
    _fields_ = (("style", ctypes.c_int), ("text", ctypes.c_char_p))


class _Response(ctypes.Structure):
    _fields_ = (("text", ctypes.c_void_p), ("code", ctypes.c_int))


_CONVERSE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_int,
    ctypes.POINTER(ctypes.POINTER(_Message)),
    ctypes.POINTER(ctypes.c_void_p),
    ctypes.c_void_p,
)


class _Conversation(ctypes.Structure):
    _fields_ = (("call", _CONVERSE), ("data", ctypes.c_void_p))


def _conversation(libc: Any, name: bytes, password: bytes) -> Any:
    """What modules ask; they free what they are answered."""

    def converse(count: int, messages: Any, responses: Any, data: Any) -> int:
        if not 0 < count <= _MOST_MESSAGES:
            return _CONV_ERR
        block = libc.calloc(count, ctypes.sizeof(_Response))
        if not block:
            return _BUF_ERR
        answers = ctypes.cast(block, ctypes.POINTER(_Response))
        for index in range(count):
            style = messages[index].contents.style
            if style in (_ECHO_OFF, _ECHO_ON):
                answers[index].text = libc.strdup(password if style == _ECHO_OFF else name)
        responses[0] = block
        return _SUCCESS

    return _CONVERSE(converse)


def check(service: bytes, name: bytes, password: bytes, folder: bytes | None = None) -> tuple[int, str]:
    """The status to end with, and what to say."""
    libc = ctypes.CDLL(None)
    libc.calloc.restype = libc.strdup.restype = ctypes.c_void_p
    libc.calloc.argtypes, libc.strdup.argtypes = (ctypes.c_size_t, ctypes.c_size_t), (ctypes.c_char_p,)
    try:
        pam = ctypes.CDLL("libpam.so.0")
    except OSError as error:
        return CANNOT_KNOW, str(error)
    pam.pam_strerror.restype = ctypes.c_char_p
    pam.pam_strerror.argtypes = (ctypes.c_void_p, ctypes.c_int)
    for call in (pam.pam_authenticate, pam.pam_acct_mgmt, pam.pam_end):
        call.argtypes = (ctypes.c_void_p, ctypes.c_int)
    pam.pam_get_item.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p))
    converse = _conversation(libc, name, password)
    conversation, handle = _Conversation(converse, None), ctypes.c_void_p()
    begin = (service, name, ctypes.byref(conversation))
    if folder is None:
        status = pam.pam_start(*begin, ctypes.byref(handle))
    else:
        status = pam.pam_start_confdir(*begin, folder, ctypes.byref(handle))
    if status != _SUCCESS:
        return CANNOT_KNOW, f"PAM cannot be started: {status}"
    try:
        for call in (pam.pam_authenticate, pam.pam_acct_mgmt):
            status = call(handle, _SILENT | _NO_EMPTY)
            if status != _SUCCESS:
                why = (pam.pam_strerror(handle, status) or b"").decode("utf-8", "replace")
                return WRONG if status in _REFUSALS else CANNOT_KNOW, f"{why} ({status})"
        user = ctypes.c_char_p()
        pam.pam_get_item(handle, _USER, ctypes.byref(user))
        return RIGHT, (user.value or name).decode("utf-8", "replace")
    finally:
        pam.pam_end(handle, status)


def main(service: str, folder: str | None = None) -> int:
    """See the module's text."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold a password
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    octets = b""
    while part := os.read(0, MOST_INPUT + 1):
        octets += part
        if len(octets) > MOST_INPUT:
            return CANNOT_KNOW
    name, nul, password = octets.partition(b"\0")
    if not name or not nul or not password or b"\0" in password:
        return WRONG
    status, said = check(service.encode(), name, password, folder.encode() if folder else None)
    os.write(1, said.encode())
    return status


if __name__ == "__main__":
    os._exit(main(*sys.argv[1:]))
