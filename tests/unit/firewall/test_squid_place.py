"""Who is connected to squid's port."""

from __future__ import annotations

import socket
import time

from airlock.firewall.squid_place import connections, free_port


def test_a_connection_counts_until_the_listener_has_closed_it() -> None:
    with socket.create_server(("127.0.0.1", free_port())) as listener:
        port = listener.getsockname()[1]
        assert not list(connections(port))
        client = socket.create_connection(("127.0.0.1", port))
        served, _ = listener.accept()
        assert len(list(connections(port))) == 1
        client.close()
        wait_for_end(served)
        assert len(list(connections(port))) == 1
        served.close()
        assert not list(connections(port))


def wait_for_end(served: socket.socket) -> None:
    served.settimeout(5)
    assert served.recv(1) == b""
    time.sleep(0.01)
