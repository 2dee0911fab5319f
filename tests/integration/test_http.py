"""The verbs of a line to an HTTP server, against a real server on loopback that dies at every point."""

from __future__ import annotations

import hashlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from connectors._http import Body, Line, announced, held_back, unseen
from connectors._http_options import HttpOptions
from hub.endpoint import is_certain, refused
from hub.errors import DeliveryError, Permanent, Temporary
from tests.services.fachverfahren import Fachverfahren
from tests.services.mortal import Death, Mortal
from tests.services.tls import Authority

DEATHS: tuple[Death, ...] = (
    "at the connection", "after the headers", "within the body", "after the request", "within the answer")
LARGE = 4_000_000  # more than the kernel's buffers on both sides hold


@pytest.fixture
def server() -> Iterator[Mortal]:
    made = Mortal()
    yield made
    made.close()


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line(HttpOptions(timeout=3, connect_timeout=3))
    yield made
    made.close()


@dataclass
class Hub:
    """Stands for the hub: what the server had of the request when the effect was announced."""

    server: Mortal
    begun: int = 0
    heads: list[int] = field(default_factory=list)

    def __call__(self) -> None:
        time.sleep(0.05)  # what had been sent has arrived
        assert self.server.acted == 0, "the server could act before the effect was announced"
        self.begun += 1
        self.heads.append(len(self.server.arrived))


Verb = Callable[[Line, str, Callable[[], None]], Any]
EFFECTS: dict[str, Verb] = {
    "act": lambda line, url, effect: line.act("MOVE", url, {"Destination": f"{url}/b"}, effect),
    "act POST": lambda line, url, effect: line.act("POST", url, {}, effect),
    "send": lambda line, url, effect: line.send("PUT", url, {}, Body.of(b"x" * 1000, "text/plain"), effect),
    "send one byte": lambda line, url, effect:
        line.send("POST", url, {}, Body.of(b"x", "text/plain"), effect),
    "send much": lambda line, url, effect:
        line.send("PUT", url, {}, Body.of(bytes(LARGE), "text/plain"), effect),
    "send nothing": lambda line, url, effect: line.send("PUT", url, {}, Body.of(b"", "text/plain"), effect)}
QUESTIONS: dict[str, Verb] = {
    "ask": lambda line, url, _: line.ask(url),
    "ask with a body": lambda line, url, _:
        line.ask(url, {"Depth": "0"}, "PROPFIND", Body.of(b"<a/>", "text/xml")),
    "fetch": lambda line, url, _: line.fetch(url, at_most=100)}


def announced_in_time(server: Mortal, line: Line, verb: Verb, death: Death) -> None:
    """What makes `in doubt` true: whoever can have acted was announced, a certain error means that he
    cannot."""
    server.death, hub = death, Hub(server)
    try:
        answer = verb(line, server.url, hub)
    except DeliveryError as error:
        if server.acted:
            assert hub.begun == 1, "the server could act and nobody had announced it"
            assert not is_certain(error), "the server could act, and the error says that it did not"
        if not hub.begun:
            assert is_certain(error), "nothing has happened, and the error does not say so"
    else:
        assert death == "within the answer", "the server died, and nobody noticed"
        assert answer.content is None, "half an answer was taken for a whole one"
        assert hub.begun == 1


class TestEffects:
    """`act` and `send`: announced before the byte that may act, never earlier than needed."""

    @pytest.mark.parametrize("death", DEATHS)
    @pytest.mark.parametrize("verb", EFFECTS)
    def test_announced_in_time(self, server: Mortal, line: Line, verb: str, death: Death) -> None:
        announced_in_time(server, line, EFFECTS[verb], death)

    @pytest.mark.parametrize("verb", EFFECTS)
    def test_nobody_there(self, server: Mortal, line: Line, verb: str) -> None:
        server.close()
        hub = Hub(server)
        with pytest.raises(Temporary, match="nicht erreichbar") as raised:
            EFFECTS[verb](line, server.url, hub)
        assert hub.begun == 0
        assert is_certain(raised.value)

    @pytest.mark.parametrize("verb", EFFECTS)
    def test_no_tls(self, server: Mortal, line: Line, verb: str) -> None:
        """A load balancer without a server behind it does that: nobody has to mend the destination."""
        server.death, hub = "at the connection", Hub(server)
        with pytest.raises(Temporary, match="nicht erreichbar") as raised:
            EFFECTS[verb](line, server.url.replace("http:", "https:"), hub)
        assert hub.begun == 0
        assert is_certain(raised.value)

    @pytest.mark.parametrize("verb", EFFECTS)
    def test_a_hub_that_cannot_announce_it_stops_it(self, server: Mortal, line: Line, verb: str) -> None:
        def stop() -> None:
            raise RuntimeError

        with pytest.raises(RuntimeError):
            EFFECTS[verb](line, server.url, stop)
        time.sleep(0.1)
        assert server.acted == 0
        hub = Hub(server)
        assert EFFECTS[verb](line, server.url, hub).content == b"good"
        assert (hub.begun, server.acted) == (1, 1)

    @pytest.mark.parametrize(("verb", "had_begun"), [("act", 0), ("send nothing", 0), ("send much", 1)])
    def test_not_one_byte_of_what_has_no_body(self, server: Mortal, line: Line, verb: str,
                                              had_begun: int) -> None:
        hub = Hub(server)
        EFFECTS[verb](line, server.url, hub)
        assert hub.heads == [had_begun]

    def test_a_kept_line_is_used_again(self, server: Mortal, line: Line) -> None:
        for verb in (*EFFECTS.values(), *QUESTIONS.values()):
            verb(line, server.url, unseen)
        assert server.connections == 1
        assert server.acted == len(EFFECTS) + len(QUESTIONS)

    @pytest.mark.parametrize("death", ["after the headers", "within the body"])
    def test_a_large_body_that_breaks_off_is_certain(self, server: Mortal, line: Line, death: Death) -> None:
        server.death, hub = death, Hub(server)
        with pytest.raises(Temporary) as raised:
            EFFECTS["send much"](line, server.url, hub)
        assert hub.begun == 0
        assert is_certain(raised.value)

    @pytest.mark.parametrize("verb", ["act", "send", "send nothing"])
    @pytest.mark.parametrize("death", ["after the request"])
    def test_a_lost_answer_is_in_doubt(self, server: Mortal, line: Line, verb: str, death: Death) -> None:
        server.death, hub = death, Hub(server)
        with pytest.raises(Temporary) as raised:
            EFFECTS[verb](line, server.url, hub)
        assert (hub.begun, server.acted) == (1, 1)
        assert not is_certain(raised.value)

    @pytest.mark.parametrize("verb", EFFECTS)
    @pytest.mark.parametrize("death", [*DEATHS, "closed"])
    def test_what_announces_nothing_says_nothing(self, server: Mortal, line: Line, verb: str,
                                                 death: Any) -> None:
        """A hidden file that was not sent does not prove that the one before was not shown."""
        if death == "closed":
            server.close()
        else:
            server.death = death
        try:
            EFFECTS[verb](line, server.url, unseen)
        except DeliveryError as error:
            assert not is_certain(error)
        else:
            assert death == "within the answer"

    @pytest.mark.parametrize(("death", "certain"), [("closed", True), ("after the request", False)])
    def test_what_was_announced_just_before_is_distinguished(self, server: Mortal, line: Line, death: Any,
                                                          certain: bool) -> None:
        if death == "after the request":
            server.death = death
        else:
            server.close()
        with pytest.raises(Temporary) as raised:
            line.act("MOVE", server.url, {}, announced)
        assert is_certain(raised.value) == certain

    def test_an_answer_before_the_last_byte(self, line: Line) -> None:
        """A server that says yes too early did not have it."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            def hasty() -> None:
                client, _ = listener.accept()
                client.recv(65536)
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                time.sleep(0.3)
                client.close()

            thread = threading.Thread(target=hasty)
            thread.start()
            hub: list[str] = []
            with pytest.raises(Temporary, match="bevor er alles hatte") as raised:
                EFFECTS["send much"](line, f"http://127.0.0.1:{listener.getsockname()[1]}/",
                                     lambda: hub.append("begun"))
            thread.join()
        assert hub == []
        assert is_certain(raised.value)

    @pytest.mark.parametrize("pieces",
                             [[], [b""], [b"abcd"], [b"ab"], [b"abc", b"d"], [b"abc", b"", b"d" * 100]])
    @pytest.mark.parametrize("verb", ["send", "ask"])
    def test_a_body_of_another_length(self, server: Mortal, line: Line, pieces: list[bytes],
                                      verb: str) -> None:
        body, hub = Body("text/plain", 3, lambda: iter(pieces)), Hub(server)
        with pytest.raises(Permanent, match="andere Länge"):
            if verb == "send":
                line.send("PUT", server.url, {}, body, hub)
            else:
                line.ask(server.url, method="PROPFIND", body=body)
        time.sleep(0.05)
        assert (hub.begun, server.acted) == (0, 0)

    @pytest.mark.parametrize("pieces", [[b"a"], [b"abc"], [b"ab", b"", b"c"], [b"abc", b"", b""], []])
    def test_the_last_byte_waits_for_the_effect(self, pieces: list[bytes]) -> None:
        said: list[bytes | str] = []
        for piece in held_back(Body("x/y", len(b"".join(pieces)), lambda: iter(pieces)),
                               lambda: said.append("effect")):
            said.append(piece)
        assert b"".join(piece for piece in said if isinstance(piece, bytes)) == b"".join(pieces)
        assert said[-2:-1] == (["effect"] if pieces else [])
        assert len(said[-1]) == 1 if pieces else said == []


class TestPlanted:
    """The faults that there were, and that the suite notices."""

    class AfterTheAnswer(Line):
        """An empty body's effect was announced when the server had acted."""

        def send(self, method: Any, url: str, headers: Any, body: Body,
                 effect_begins: Callable[[], None]) -> Any:
            answer = super().send(method, url, headers, body, unseen)
            effect_begins()
            return answer

    class AskedToMove(Line):
        """A request without a body was a question, and its lost answer was certain."""

        def act(self, method: Any, url: str, headers: Any, effect_begins: Callable[[], None]) -> Any:
            try:
                return super().act(method, url, headers, unseen)
            except DeliveryError as error:
                raise refused(error) from error

    class NeverCertain(Line):
        """Whatever goes wrong before the effect needs a person."""

        def act(self, method: Any, url: str, headers: Any, effect_begins: Callable[[], None]) -> Any:
            try:
                return super().act(method, url, headers, effect_begins)
            except Temporary as error:
                raise Temporary(str(error)) from error

    @pytest.mark.parametrize(("planted", "verb", "death", "complaint"), [
        (AfterTheAnswer, "send nothing", "within the answer", "before the effect"),
        (AfterTheAnswer, "send nothing", "after the request", "nobody had announced"),
        (AskedToMove, "act", "after the request", "nobody had announced"),
        (NeverCertain, "act", "at the connection", "does not say so")])
    def test_noticed(self, server: Mortal, planted: type[Line], verb: str, death: Death,
                     complaint: str) -> None:
        line = planted(HttpOptions(timeout=3, connect_timeout=3))
        if death == "at the connection":
            server.close()
        with pytest.raises(AssertionError, match=complaint):
            announced_in_time(server, line, EFFECTS[verb], death)
        line.close()


class TestQuestions:
    """`ask` and `fetch` say nothing of an effect, whatever goes wrong."""

    @pytest.mark.parametrize("death", DEATHS[:-1])
    @pytest.mark.parametrize("verb", QUESTIONS)
    def test_a_lost_answer_is_never_certain(self, server: Mortal, line: Line, verb: str,
                                            death: Death) -> None:
        """Another request of the same try may have acted."""
        server.death = death
        with pytest.raises(Temporary) as raised:
            QUESTIONS[verb](line, server.url, unseen)
        assert not is_certain(raised.value)

    def test_nor_is_a_certificate_that_we_do_not_trust(self, line: Line, tmp_path: Path) -> None:
        fach = Fachverfahren(Authority(tmp_path).server())
        try:
            for verb in QUESTIONS.values():
                with pytest.raises(DeliveryError, match="nicht anerkannt") as raised:
                    verb(line, f"https://localhost:{fach.port}/", unseen)
                assert not is_certain(raised.value)
        finally:
            fach.stop()

    def test_half_an_answer(self, server: Mortal, line: Line) -> None:
        server.death, server.within = "within the answer", 1
        answer = line.ask(server.url)
        assert (answer.status, answer.content, answer.why) == (200, None, "unvollständig")


class TestMethods:
    """A verb takes the methods that it is for, and refuses all others before it connects."""

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PROPFIND"])
    def test_questions(self, server: Mortal, line: Line, method: Any) -> None:
        if method == "HEAD":
            server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"
        answer = line.ask(server.url, {"Depth": "1"}, method)
        assert answer.content == (b"" if method == "HEAD" else b"good")
        (request,) = server.arrived
        assert (request.method, request.header("Depth"), request.body) == (method, "1", b"")
        assert request.header("Content-Length") is None

    def test_a_question_with_a_body(self, server: Mortal, line: Line) -> None:
        QUESTIONS["ask with a body"](line, server.url, unseen)
        (request,) = server.arrived
        assert (request.method, request.body) == ("PROPFIND", b"<a/>")
        assert request.header("Content-Type") == "text/xml"

    @pytest.mark.parametrize("method", ["MKCOL", "MOVE", "COPY", "DELETE"])
    def test_effects_without_a_body(self, server: Mortal, line: Line, method: Any) -> None:
        line.act(method, server.url, {"Overwrite": "F", "Destination": f"{server.url}/neu"}, unseen)
        (request,) = server.arrived
        assert (request.method, request.body) == (method, b"")
        assert (request.header("Overwrite"), request.header("Destination")) == ("F", f"{server.url}/neu")
        assert request.header("Content-Length") is None

    def test_an_empty_body_has_a_length(self, server: Mortal, line: Line) -> None:
        EFFECTS["send nothing"](line, server.url, unseen)
        EFFECTS["act POST"](line, server.url, unseen)
        assert [request.header("Content-Length") for request in server.arrived] == ["0", "0"]
        assert [request.header("Transfer-Encoding") for request in server.arrived] == [None, None]

    @pytest.mark.parametrize(("verb", "method"), [
        ("ask", "MOVE"), ("ask", "MKCOL"), ("ask", "DELETE"), ("ask", "POST"), ("ask", "PUT"), ("ask", "get"),
        ("ask", "LOCK"),
        ("act", "GET"), ("act", "HEAD"), ("act", "PROPFIND"), ("send", "GET"), ("send", "MOVE"),
        ("send", "DELETE")])
    def test_refused_at_once(self, server: Mortal, line: Line, verb: str, method: Any) -> None:
        hub = Hub(server)
        calls: dict[str, Callable[[], object]] = {
            "ask": lambda: line.ask(server.url, {}, method),
            "act": lambda: line.act(method, server.url, {}, hub),
            "send": lambda: line.send(method, server.url, {}, Body.of(b"x", "a/b"), hub)}
        with pytest.raises(TypeError, match="choose the verb"):
            calls[verb]()
        assert (hub.begun, server.connections) == (0, 0)


def large(content: bytes, status: str = "200 OK", length: int | None = None, headers: str = "") -> bytes:
    """An answer."""
    size = len(content) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\n{headers}\r\n".encode() + content


class TestFetch:
    """What is larger than `max_answer`."""

    CONTENT = bytes(range(256)) * 20_000

    @pytest.fixture
    def line(self) -> Iterator[Line]:
        made = Line(HttpOptions(max_answer=1000, timeout=3))
        yield made
        made.close()

    def test_into_a_file(self, server: Mortal, line: Line, tmp_path: Path) -> None:
        server.answer = large(self.CONTENT)
        with (tmp_path / "a").open("wb") as file:
            fetched = line.fetch(server.url, {"X-Y": "z"}, into=file, at_most=len(self.CONTENT))
        assert (tmp_path / "a").read_bytes() == self.CONTENT
        assert (fetched.size, fetched.sha256) == (len(self.CONTENT), hashlib.sha256(self.CONTENT).hexdigest())
        assert server.arrived[0].header("X-Y") == "z"
        assert fetched.answer.status == 200

    def test_only_its_digest(self, server: Mortal, line: Line) -> None:
        server.answer = large(self.CONTENT)
        fetched = line.fetch(server.url, at_most=10**8)
        assert fetched.sha256 == hashlib.sha256(self.CONTENT).hexdigest()
        assert line.ask(server.url).why == "zu groß"

    @pytest.mark.parametrize(("answer", "at_most", "kind", "complaint"), [
        (large(CONTENT), 1_000_000, Permanent, "zu groß"),
        (large(CONTENT, length=10**7), 10**8, Temporary, "unvollständig"),
        (large(b"\x1f\x8b", headers="Content-Encoding: br\r\n"), 100, Temporary, "gepackt")])
    def test_not_to_be_had(self, server: Mortal, line: Line, answer: bytes, at_most: int,
                           kind: type[DeliveryError], complaint: str) -> None:
        server.answer = answer
        if complaint == "unvollständig":
            server.death, server.within = "within the answer", 1
        with pytest.raises(kind, match=complaint):
            line.fetch(server.url, at_most=at_most)

    def test_too_slow(self, server: Mortal, line: Line) -> None:
        server.answer = large(self.CONTENT)
        with pytest.raises(Temporary, match="unvollständig"):
            line.fetch(server.url, at_most=10**8, seconds=0)

    @pytest.mark.parametrize(("content", "expected"), [(b"weg", b"weg"), (b"x" * 2000, None)])
    def test_another_status_writes_nothing(self, server: Mortal, line: Line, content: bytes,
                                           expected: bytes | None) -> None:
        server.answer, file = large(content, "404 Not Found"), io.BytesIO()
        fetched = line.fetch(server.url, into=file, at_most=10**8)
        assert (fetched.answer.status, fetched.answer.content) == (404, expected)
        assert (fetched.size, fetched.sha256) == (0, "")
        assert file.getvalue() == b""

    def test_a_full_disk(self, server: Mortal, line: Line) -> None:
        server.answer = large(self.CONTENT)
        with open("/dev/full", "wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
            line.fetch(server.url, into=file, at_most=10**8)  # type: ignore[arg-type]
        assert line.fetch(server.url, at_most=10**8).size == len(self.CONTENT)
