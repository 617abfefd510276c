"""The socket of local programs: bound once the service is the user that it is going to be."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IProtocolFactory

from mta import events
from mta.admin.control import MAX_PATH
from mta.admin.log import emit
from mta.config.endpoint import BACKLOG
from mta.config.load import Configuration
from mta.config.local_options import LISTENER, group_id
from mta.local.folder import closed_way, prepare
from mta.sendmail.place import socket_of
from mta.starting import CannotStart


def listen_local(reactor: Any, configuration: Configuration, factory: IProtocolFactory) -> Any:
    """The port.  The state is locked, so whoever made a socket that is there is gone.  Raises ``CannotStart``."""
    options = configuration.local
    assert options.folder is not None
    prepare(options.folder, configuration.state, options.group)
    path = socket_of(options.folder)
    if len(os.fsencode(path)) > MAX_PATH:
        raise CannotStart(f"local.folder: {path} is too long a name for a socket; write a shorter path")
    mode = int(options.mode, 8)
    try:
        if os.path.lexists(path):
            os.unlink(path)
        port = reactor.listenUNIX(path, factory, backlog=BACKLOG, mode=mode)
        if options.group and (gid := group_id(options.group)) is not None and gid != os.stat(path).st_gid:
            os.chown(path, -1, gid)
            os.chmod(path, mode)
    except CannotListenError as error:
        raise CannotStart(f"local.folder: {path}: {error.socketError}") from None
    except OSError as error:
        raise CannotStart(f"local.folder: {path}: {error.strerror or error}") from None
    emit(events.LISTENING(name=LISTENER, address=path), "")
    if mode & 0o006 and (closed := closed_way(options.folder)):
        emit(events.LOCAL_CLOSED(folder=options.folder, closed=closed), "")
    return port
