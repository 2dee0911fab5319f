"""How a connection is made: whom it trusts, who we are, and where an answer ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors._http import Body, Line
from connectors._http_answer import Answer
from connectors._http_options import HttpOptions
from hub.endpoint import is_certain
from hub.errors import DeliveryError, Misconfigured, Temporary
from tests.integration.contract import Effect
from tests.services import wait_until
from tests.services.fachverfahren import Fachverfahren, endless, says
from tests.services.lines import following
from tests.services.tls import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(authority: Authority) -> Iterator[Fachverfahren]:
    made = Fachverfahren(authority.server())
    yield made
    made.stop()


def send(server: Fachverfahren, effect: Effect | None = None, line: Any = Line, **options: Any) -> Answer:
    """One application over a line of its own."""
    made: Line = line(HttpOptions(**({"timeout": 5} | options)))
    try:
        return made.send("POST", f"https://localhost:{server.port}/a", {}, Body.of(b"x", "text/plain"),
                         effect or Effect())
    finally:
        made.close()


class TestTrust:
    """TLS is verified on both sides, always."""

    def test_certificates_of_both_sides(self, authority: Authority, tmp_path: Path) -> None:
        ours, theirs = authority.client("hub"), Authority(tmp_path, "fremd").client("hub")
        trust: dict[str, Any] = {"ca_file": authority.file}
        server = Fachverfahren(authority.server(), client_ca=authority)
        try:
            answer = send(server, certificate=ours.certificate, key=f"file:{ours.key}", **trust)
            assert answer.status == 200
            assert answer.expires is not None
            for options in ({}, {"certificate": theirs.certificate, "key": f"file:{theirs.key}"}):
                with pytest.raises(DeliveryError) as raised:
                    send(server, **options, **trust)
                assert isinstance(raised.value, Misconfigured | Temporary)
            assert len(server.taken) == 1
        finally:
            server.stop()

    def test_files_that_do_not_fit(self, server: Fachverfahren, authority: Authority, tmp_path: Path) -> None:
        ours, theirs = authority.client("hub"), Authority(tmp_path, "fremd").client("hub")
        effect = Effect()
        with pytest.raises(Misconfigured, match="passen nicht zusammen"):
            send(server, effect, ca_file=authority.file, certificate=ours.certificate,
                 key=f"file:{theirs.key}")
        with pytest.raises(Misconfigured, match="ca_file"):
            send(server, effect, ca_file=tmp_path / "keine.pem")
        assert effect.begun == 0

    def test_a_server_we_do_not_trust(self, server: Fachverfahren, authority: Authority,
                                      tmp_path: Path) -> None:
        effect = Effect()
        other_name = Fachverfahren(authority.server("anders.example", file="other"))
        try:
            for made, trusted in ((server, Authority(tmp_path).file), (other_name, authority.file)):
                with pytest.raises(Misconfigured, match="nicht anerkannt") as raised:
                    send(made, effect, ca_file=trusted)
                assert is_certain(raised.value)
        finally:
            other_name.stop()
        assert effect.begun == 0
        assert server.requests == []

    def test_nothing_of_the_environment(self, server: Fachverfahren, authority: Authority,
                                        monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv("SSL_CERT_FILE", "/nirgends")
        assert send(server, ca_file=authority.file).status == 200


class TestLimits:
    """An answer that is too long, or an order to go elsewhere."""

    def test_a_gigabyte_is_cut(self, server: Fachverfahren, authority: Authority) -> None:
        server.misbehave(endless(200))
        answer = send(server, ca_file=authority.file, max_answer=100_000)
        assert (answer.status, answer.content, answer.why) == (200, None, "zu groß")
        wait_until(lambda: getattr(server, "gave_up", False), "the server's end of patience")

    @pytest.mark.parametrize(("line", "status"), [
        *((Line, status) for status in (301, 302, 303, 307, 308)),
        *((following, status) for status in (301, 302, 303))])
    def test_no_redirect_is_followed(self, server: Fachverfahren, authority: Authority, status: int,
                                     line: Any) -> None:
        """The line that does follow shows that it would be noticed."""
        server.misbehave(says(status, Location=f"https://localhost:{server.port}/anderswo"))
        answer = send(server, line=line, ca_file=authority.file)
        paths = [path for _, path, _ in server.requests]
        if line is Line:
            assert (answer.status, paths) == (status, ["/a"])
        else:
            assert paths == ["/a", "/anderswo"]
