"""Ports of this machine that are a test's own."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_port() -> Iterator[int]:
    """One that nobody else is given meanwhile, and that whoever is told of it can listen on.

    It is bound here, but does not listen: who sets SO_REUSEADDR, as servers do, may bind it too.
    """
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]
