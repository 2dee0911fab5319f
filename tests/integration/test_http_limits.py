"""Where a peer's patience with us ends: drips, endless answers, bombs, against real servers on loopback."""

from __future__ import annotations

import gzip
import hashlib
import io
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore2
import httpx2
import pytest

from connectors import rest
from connectors._http import Body, Line
from connectors._http_answer import Answer
from connectors._http_limits import Allowance, Limit
from connectors._http_options import HttpOptions
from hub.endpoint import is_certain
from hub.errors import DeliveryError, InDoubt, Permanent, Temporary
from tests.integration.contract import Effect, make_delivery
from tests.services import wait_until
from tests.services.fachverfahren import Fachverfahren, says
from tests.services.mortal import Mortal
from tests.services.tiresome import Tiresome

TIMEOUT = 1.0
BODY = Body.of(b"Antrag", "text/plain")
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def tiresome() -> Iterator[Callable[..., Tiresome]]:
    made: list[Tiresome] = []

    def make(*how: Any, **options: Any) -> Tiresome:
        made.append(Tiresome(*how, **options))
        return made[-1]

    yield make
    for server in made:
        server.stop()


@pytest.fixture
def server() -> Iterator[Fachverfahren]:
    made = Fachverfahren()
    yield made
    made.stop()


def descriptors() -> int:
    """How many files and sockets this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


class Ended:
    """What became of one request, which must end by itself, with its thread and its socket."""

    def __init__(self, act: Callable[[], Any], patience: float = 20 * TIMEOUT) -> None:
        self.answer: Any = None
        self.error: Exception | None = None
        self._open_before, began = descriptors(), time.monotonic()

        def run() -> None:
            try:
                self.answer = act()
            except Exception as error:
                self.error = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        thread.join(patience)
        assert not thread.is_alive(), "the peer holds the thread"
        self.took = time.monotonic() - began

    def closed(self) -> bool:
        """Whether nothing is left open, as soon as the server has closed its end, too."""
        wait_until(lambda: descriptors() <= self._open_before, "the end of the socket")
        return True


def request(server: Tiresome, effect: Effect, scheme: str = "http", **options: Any) -> Ended:
    line = Line(HttpOptions(**({"timeout": TIMEOUT, "connect_timeout": TIMEOUT} | options)))
    ended = Ended(lambda: line.send("POST", f"{scheme}://127.0.0.1:{server.port}/a", {}, BODY, effect))
    assert ended.took < 10 * TIMEOUT
    return ended


class TestNoHead:
    """The head of the answer never ends: a lost line, after the effect has begun."""

    @pytest.mark.parametrize(("first", "forever", "pause"), [
        (b"", b"H", 0.05), (OK, b"X-A: b\r\n", 0.05), (OK + b"X-A: ", b"a", 0.05),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05), (b"", b"HTTP/1.1 102 Processing\r\n\r\n", 0.05),
        (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n", 0.05),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0), (b"", b"HTTP/1.1 103 \r\n\r\n", 0),
        (OK, b"X-A: b\r\n", 0),
        (OK + b"X-A: ", b"a" * 1000, 0), (OK + b"X-A: b", b"\r\n c", 0.05)])
    def test_it_ends(self, tiresome: Callable[..., Tiresome], first: bytes, forever: bytes,
                     pause: float) -> None:
        server, effect = tiresome(first, forever, pause), Effect()
        ended = request(server, effect)
        assert isinstance(ended.error, Temporary)
        assert effect.begun == 1
        assert not is_certain(ended.error)
        assert server.gone.wait(5), "the line is still open"
        assert ended.closed()

    def test_tls_that_drips(self, tiresome: Callable[..., Tiresome]) -> None:
        """A record of TLS announced, and sent byte by byte: nothing has happened."""
        server, effect = tiresome(b"\x16\x03\x03\x40\x00", b"\2", 0.05, listens=False), Effect()
        ended = request(server, effect, "https")
        assert isinstance(ended.error, Temporary)
        assert (effect.begun, is_certain(ended.error)) == (0, True)
        assert server.gone.wait(5)
        assert ended.closed()


    def test_a_token_server_that_drips(self, tiresome: Callable[..., Tiresome], tmp_path: Path) -> None:
        """The receiver has heard nothing yet."""
        server, effect = tiresome(OK, b"X-A: b\r\n", 0.05), Effect()
        (tmp_path / "pw").write_text("geheim")
        ended = request(server, effect, token_url=f"http://127.0.0.1:{server.port}/token", client_id="hub",
                        client_secret=f"file:{tmp_path / 'pw'}")
        assert isinstance(ended.error, Temporary)
        assert (effect.begun, is_certain(ended.error), server.requests) == (0, True, 1)
        assert ended.closed()

    def test_the_suite_notices_a_line_that_waits_for_ever(self, tiresome: Callable[..., Tiresome]) -> None:
        """The library alone: each byte comes in time."""
        server = tiresome(OK, b"X-A: b\r\n", 0.05)
        line = Line(HttpOptions(), lambda options: httpx2.Client(timeout=TIMEOUT, trust_env=False))
        with pytest.raises(AssertionError, match="holds the thread"):
            Ended(lambda: line.send("POST", f"http://127.0.0.1:{server.port}/a", {}, BODY, Effect()),
                  3 * TIMEOUT)
        line.close()

    @pytest.mark.parametrize(("first", "kind"), [(OK, Temporary), (CHUNKED, InDoubt)])
    def test_a_delivery_is_in_doubt(self, tiresome: Callable[..., Tiresome], first: bytes,
                                    kind: type[DeliveryError]) -> None:
        server, effect = tiresome(first, b"1\r\na\r\n" if first is CHUNKED else b"X-A: b\r\n", 0.05), Effect()
        outlet = rest.Outlet(rest.Options(
            url=f"http://127.0.0.1:{server.port}/a", body="xml", timeout=TIMEOUT, answer="json",
            code_path="/rc", code_success=("1",)))
        ended = Ended(lambda: outlet.deliver(make_delivery(), effect))
        assert type(ended.error) is kind
        assert (effect.begun, is_certain(ended.error)) == (1, False)
        assert ended.closed()


class TestNoEnd:
    """The status is known, the content never ends."""

    @pytest.mark.parametrize(("first", "forever", "pause"), [
        (OK + b"Content-Length: 1000000\r\n\r\n", b"a", 0.05), (OK + b"\r\n", b"a", 0.05),
        (CHUNKED, b"1\r\na\r\n", 0.05), (CHUNKED + b"1;x=", b"y", 0.05), (CHUNKED + b"1;x=", b"y" * 1000, 0),
        (CHUNKED, b"1;x=" + b"y" * 10_000 + b"\r\na\r\n", 0), (CHUNKED, b"0", 0.05),
        (CHUNKED + b"0\r\n", b"X-A: b\r\n", 0.05), (CHUNKED + b"0\r\n", b"X-A: b\r\n", 0)])
    def test_it_ends(self, tiresome: Callable[..., Tiresome], first: bytes, forever: bytes,
                     pause: float) -> None:
        server = tiresome(first, forever, pause)
        ended = request(server, Effect(), max_answer=10_000)
        assert (ended.answer.status, ended.answer.content) == (200, None)
        assert ended.answer.why in ("unvollständig", "zu groß")
        assert server.gone.wait(5), "the line is still open"
        assert ended.closed()

    def test_a_large_one_has_its_own_time(self, tiresome: Callable[..., Tiresome]) -> None:
        server = tiresome(OK + b"\r\n", b"a", 0.05)
        line = Line(HttpOptions(timeout=30))
        ended = Ended(lambda: line.fetch(f"http://127.0.0.1:{server.port}/a", at_most=10**6, seconds=TIMEOUT))
        assert isinstance(ended.error, Temporary)
        assert ended.took < 10 * TIMEOUT


class TestAllowance:
    """Seconds for sending grow with the body; they begin with its first byte."""

    @pytest.mark.parametrize(("size", "late"), [(0, True), (40_960, False)])
    def test_sending(self, size: int, late: bool) -> None:
        allowance = Allowance(0.05)
        allowance.begin(size)
        time.sleep(0.1)  # to connect takes its own time
        assert allowance.to_write(None) <= 0.05 + size / 4096
        time.sleep(0.1)
        if late:
            with pytest.raises(httpcore2.WriteTimeout):
                allowance.to_write(120)
        else:
            assert allowance.to_write(0.01) == 0.01
        assert 0 < allowance.to_read(120) <= 0.05, "the answer has its own time"

    def test_bytes(self) -> None:
        allowance = Allowance(5)
        allowance.begin(0)
        allowance.to_read(None)
        allowance.has_read(262_145)
        with pytest.raises(httpcore2.ReadError):
            allowance.to_read(None)
        allowance.answer(Limit(1, 5))
        allowance.to_read(None)
        allowance.begin(0)
        allowance.to_read(None)


def bare_deflate(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()


PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress, "x-gzip": gzip.compress, "GZIP": gzip.compress, "deflate": zlib.compress}


class TestPacking:
    """Packed although nobody asked for it."""

    def ask(self, server: Fachverfahren, body: bytes, packing: str, **options: Any) -> Answer:
        server.misbehave(says(200, body, "text/plain", Content_Encoding=packing))
        line = Line(HttpOptions(timeout=5, **options))
        try:
            return line.send("POST", f"http://127.0.0.1:{server.port}/a", {}, BODY, Effect())
        finally:
            line.close()

    @pytest.mark.parametrize("packing", PACKINGS)
    @pytest.mark.parametrize("content", [b"", b"gut", bytes(range(256)) * 2000])
    def test_unpacked(self, server: Fachverfahren, packing: str, content: bytes) -> None:
        answer = self.ask(server, PACKINGS[packing](content), packing)
        assert (answer.content, answer.why) == (content, "")
        assert server.requests[-1][2]["Accept-Encoding"] == "identity"

    def test_dialects(self, server: Fachverfahren) -> None:
        for body, packing, content in ((bare_deflate(b"gut" * 99), "deflate", b"gut" * 99),
                                       (gzip.compress(b"a") + gzip.compress(b"b"), "gzip", b"ab"),
                                       (b"gut", "identity", b"gut"), (b"", "gzip", b"")):
            assert self.ask(server, body, packing).content == content

    @pytest.mark.parametrize("packing", PACKINGS)
    def test_a_bomb_ends(self, server: Fachverfahren, packing: str) -> None:
        """100 MB of zeros in 100 KB; the memory that it takes is that of the limit."""
        import tracemalloc

        bomb = PACKINGS[packing](bytes(100_000_000))
        tracemalloc.start()
        answer = self.ask(server, bomb, packing)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (answer.content, answer.why) == (None, "zu groß")
        assert peak < 10_000_000

    @pytest.mark.parametrize(("body", "packing", "why"), [
        (gzip.compress(b"gut" * 999)[:-12], "gzip", "unvollständig"), (b"gut", "gzip", "unvollständig"),
        (b"gut", "br", "unbekannt gepackt"), (b"gut", "zstd", "unbekannt gepackt"),
        (b"gut", "gzip, gzip", "unbekannt gepackt")])
    def test_what_cannot_be_unpacked(self, server: Fachverfahren, body: bytes, packing: str,
                                          why: str) -> None:
        answer = self.ask(server, body, packing)
        assert (answer.status, answer.content, answer.why) == (200, None, why)

    def test_a_fetched_one(self) -> None:
        """What is written and hashed is what was packed; `at_most` counts that, too."""
        packed = gzip.compress(b"gut" * 1000)
        head = b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
        server = Mortal(answer=OK + head + packed)
        line, target = Line(HttpOptions(timeout=5)), io.BytesIO()
        try:
            found = line.fetch(server.url, at_most=3000, into=target)
            assert (target.getvalue(), found.size) == (b"gut" * 1000, 3000)
            assert found.sha256 == hashlib.sha256(b"gut" * 1000).hexdigest()
            with pytest.raises(Permanent, match="zu groß"):
                line.fetch(server.url, at_most=2999)
        finally:
            line.close()
            server.close()
