"""What failed lines mean."""

from __future__ import annotations

import socket
import threading

import pytest

from connectors._http import Line
from connectors._http_options import HttpOptions
from hub.errors import Temporary


def test_a_line_cut_while_tls_is_agreed_is_temporary() -> None:
    """A load balancer without a server behind it does that: nobody has to mend the destination."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            line, _ = listener.accept()
            line.recv(65536)
            line.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        line = Line(HttpOptions(timeout=5, connect_timeout=5))
        with pytest.raises(Temporary, match="nicht erreichbar"):
            line.ask(f"https://127.0.0.1:{listener.getsockname()[1]}/")
        line.close()
        thread.join(5)
