"""The page's process opens no connection to another machine, whatever a library or a visitor's request asks it for.

gradio has several ways out: a version check, statistics, files that a request names by address. Each can be turned off
or may not be, and the next version may have one more, so the process itself refuses (an audit hook, PEP 578: it sees
connections of every library that uses Python's sockets, and cannot be taken out again).
"""

from __future__ import annotations

import ipaddress
import socket
import sys
from typing import Any


class OfflineError(ConnectionRefusedError):
    """A connection to another machine, which the page does not open."""


def stay_offline(*hosts: str) -> None:
    """From now on, until the process ends, connections go to this machine only.

    Args:
        hosts: addresses of this machine that are no loopback ones: the one that the page listens at.
    """
    own = {"", "localhost", socket.gethostname(), *hosts}

    def refuse(event: str, args: tuple[Any, ...]) -> None:
        if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
            address = args[1]
            host = address[0] if isinstance(address, tuple) and address else None
        elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
            host = args[0]
        else:
            return
        if host is None:  # a Unix socket, or a socket that is connected already
            return
        name = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
        if name not in own and not _is_loopback(name):
            raise OfflineError(f"the page opens no connection to other machines, and {name} was asked for")

    sys.addaudithook(refuse)


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified
