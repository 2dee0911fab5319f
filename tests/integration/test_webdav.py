"""WebDAV against a real Apache with mod_dav."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import ValidationError

from connectors import webdav
from connectors._http import Line
from connectors._http_answer import Answer
from connectors.webdav import Options, Outlet
from hub.endpoint import Absent, Done, build_outlet, is_certain, options_model
from hub.errors import DeliveryError, Misconfigured, Permanent, Temporary, TooLarge
from tests.integration.contract import Effect, NetworkContract, make_delivery
from tests.integration.drop_contract import NAME, DropContract, DropFolder
from tests.services import wait_until
from tests.services.apache import PASSWORD, USER, Apache
from tests.services.proxy import Proxy
from tests.services.tls import Authority, KeyPair

NO_MOVE = "<LimitExcept MOVE>\nRequire valid-user\n</LimitExcept>\n<Limit MOVE>\nRequire all denied\n</Limit>"
READ_ONLY = ("<Limit PROPFIND GET>\nRequire valid-user\n</Limit>\n"
             "<LimitExcept PROPFIND GET>\nRequire all denied\n</LimitExcept>")


class Drop(DropFolder):
    """A folder on a WebDAV server behind a proxy, over TLS and with a login."""

    def __init__(self, server: Apache, authority: Authority, folder: Path, scheme: str = "https") -> None:
        super().__init__(server.files, server.owner)
        self.server = server
        self.authority = authority
        self.proxy = Proxy(server.port)
        self.base = f"{scheme}://localhost:{self.proxy.port}/"
        self.outlets: list[Outlet] = []
        self.password = folder / "password"
        self.password.write_text(f"{PASSWORD}\n")

    def outlet(self, **options: Any) -> Outlet:
        values: dict[str, Any] = {"url": self.base, "user": USER, "password": f"file:{self.password}",
                                  "ca_file": self.authority.file}
        self.outlets.append(Outlet(Options(**(values | options))))
        return self.outlets[-1]

    def impatient(self) -> Outlet:
        return self.outlet(connect_timeout=3, timeout=3)

    def missing(self) -> dict[str, Any]:
        return {"url": f"{self.base}fehlt"}

    def wait_for_arrivals(self, count: int) -> None:
        wait_until(lambda: len(self.arrivals()) >= count, "the files have arrived")

    def stop(self) -> None:
        self.server.kill()

    def drop_connections(self) -> None:
        self.proxy.drop()

    def close(self) -> None:
        try:
            for outlet in self.outlets:
                outlet.close()
            self.proxy.close()
        finally:
            self.server.close()


@pytest.fixture
def serve(authority: Authority, tmp_path: Path) -> Iterator[Callable[..., Drop]]:
    """Starts a server with these settings."""
    drops: list[Drop] = []

    def start(*, tls: bool = True, **settings: Any) -> Drop:
        server = Apache(authority if tls else None, **settings)
        drops.append(Drop(server, authority, tmp_path, "https" if tls else "http"))
        return drops[-1]

    yield start
    for drop in drops:
        drop.close()


@pytest.fixture
def receiver(serve: Callable[..., Drop]) -> Drop:
    return serve()


class TestWebdav(NetworkContract):
    """Everything every outlet over TCP promises."""

    def test_a_server_killed_after_the_effect_began(self, receiver: Drop) -> None:
        """Nothing was moved, and the probe says so: the hidden folder is still there."""
        outlet, effect = receiver.outlet(collected=True), Effect(receiver.server.kill)
        with pytest.raises(Temporary):
            outlet.deliver(make_delivery(), effect)
        assert effect.begun == 1
        receiver.server.start()
        assert outlet.probe(make_delivery()) == Absent()
        outlet.deliver(make_delivery(attempt=2), Effect())
        assert receiver.names() == [NAME]

    def test_an_answer_to_put_that_is_lost_harms_nobody(self, receiver: Drop,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
        """The file is there, hidden: nothing is in doubt, and the next try sweeps it."""
        outlet, effect, honest = receiver.impatient(), Effect(), Line.send

        def cut(self: Line, *arguments: Any) -> Answer:
            receiver.proxy.cut_at_answer()
            return honest(self, *arguments)

        monkeypatch.setattr(Line, "send", cut)
        with pytest.raises(Temporary):
            outlet.deliver(make_delivery(), effect)
        monkeypatch.undo()
        receiver.proxy.behave()
        assert effect.begun == 0
        assert receiver.arrivals() == []
        outlet.deliver(make_delivery(attempt=2), Effect())
        assert receiver.names() == [NAME]


class TestWebdavDrop(DropContract):
    """Everything every drop promises."""

    place = webdav.Collection


class TestServer:
    """What a server may allow, refuse, or believe of itself."""

    @pytest.mark.parametrize("layout", ["folder", "single"])
    def test_check_leaves_nothing_where_renaming_is_refused(self, serve: Callable[..., Drop],
                                                            layout: str) -> None:
        drop = serve(require=NO_MOVE)
        error, *others = drop.outlet(layout=layout).check()
        assert error.severity == "error"
        assert "verweigert" in error.text
        assert others == []
        assert drop.names() == []

    def test_a_move_that_is_refused_is_a_clear_no(self, serve: Callable[..., Drop]) -> None:
        drop, effect = serve(require=NO_MOVE), Effect()
        with pytest.raises(Misconfigured, match="verweigert") as raised:
            drop.outlet().deliver(make_delivery(), effect)
        assert effect.begun == 1
        assert is_certain(raised.value)
        assert drop.arrivals() == []

    def test_a_server_that_takes_nothing(self, serve: Callable[..., Drop]) -> None:
        drop, effect = serve(require=READ_ONLY), Effect()
        with pytest.raises(Misconfigured, match="verweigert"):
            drop.outlet().deliver(make_delivery(), effect)
        assert effect.begun == 0
        assert drop.names() == []

    def test_files_that_are_too_large_go_elsewhere(self, serve: Callable[..., Drop]) -> None:
        drop, effect = serve(more="LimitRequestBody 100000"), Effect()
        big = make_delivery([("xml", "a.xml", "application/xml", bytes(200_000))])
        with pytest.raises(TooLarge):
            drop.outlet().deliver(big, effect)
        assert effect.begun == 0
        assert drop.names() == []

    @pytest.mark.parametrize(("status", "kind"), [(415, Permanent), (422, Permanent), (403, Misconfigured),
                                                  (409, Misconfigured), (507, Temporary), (503, Temporary)])
    def test_what_an_answer_to_put_means(self, receiver: Drop, monkeypatch: pytest.MonkeyPatch, status: int,
                                         kind: type[DeliveryError]) -> None:
        """Only here a no may be about this very delivery; busy servers say for how long."""
        busy = httpx2.Headers({"Retry-After": "30"})
        monkeypatch.setattr(Line, "send", lambda *_: Answer(status, busy, b""))
        effect = Effect()
        with pytest.raises(kind) as raised:
            receiver.outlet().deliver(make_delivery(), effect)
        assert type(raised.value) is kind
        assert getattr(raised.value, "retry_after", 30) == 30
        assert effect.begun == 0
        assert receiver.names() == []

    def test_no_webdav_at_all(self, serve: Callable[..., Drop]) -> None:
        drop = serve(more="Dav Off")
        with pytest.raises(Misconfigured, match="niemand WebDAV"):
            drop.outlet().deliver(make_delivery(), Effect())
        assert "niemand WebDAV" in drop.outlet().check()[0].text

    def test_a_file_where_the_folder_should_be(self, receiver: Drop) -> None:
        receiver.put("ziel", b"x")
        with pytest.raises(Misconfigured, match="kein Ordner"):
            receiver.outlet(url=f"{receiver.base}ziel").deliver(make_delivery(), Effect())

    def test_a_folder_below_with_letters_that_are_encoded(self, receiver: Drop) -> None:
        receiver.put("Eingang Ä")
        outlet = receiver.outlet(url=f"{receiver.base}Eingang%20%C3%84/")
        receipt = outlet.deliver(make_delivery(), Effect())
        assert outlet.deliver(make_delivery(attempt=2), Effect()) == receipt
        assert outlet.probe(make_delivery()) == Done(receipt)
        assert [path.name for path in (receiver.root / "Eingang Ä").iterdir()] == [NAME]

    def test_a_folder_in_a_folder_of_its_name_is_listed(self, receiver: Drop) -> None:
        for name in ("a/a", "a/.b", "a/c d"):
            receiver.put(name)
        names = receiver.outlet(url=f"{receiver.base}a").place().names("")
        assert sorted(names) == [".b", "a", "c d"]

    def test_a_folder_too_full_to_be_listed_takes_second_tries(self, receiver: Drop) -> None:
        for number in range(50):
            receiver.put(f"{number:040}.xml", b"x")
        outlet = receiver.outlet(max_answer=4000)
        with pytest.raises(Misconfigured, match="max_answer"):
            outlet.place().names("")
        outlet.deliver(make_delivery(attempt=2), Effect())
        assert NAME in receiver.names()

    def test_behind_a_proxy_the_server_has_another_name(self, serve: Callable[..., Drop]) -> None:
        """TLS ends before the server, which then believes to be spoken to without."""
        itself = "https://dav.musterstadt.example:8443"
        drop = serve(name=itself, outside="\nUseCanonicalName On\n", tls=False)
        outlet, effect = drop.outlet(), Effect()
        with pytest.raises(Misconfigured, match="destination_base") as raised:
            outlet.deliver(make_delivery(), effect)
        assert not is_certain(raised.value), "502 is what a proxy says, too, when the server did not answer"
        assert outlet.probe(make_delivery()) == Absent()
        known = drop.outlet(destination_base=f"{itself}/")
        receipt = known.deliver(make_delivery(attempt=2), Effect())
        assert known.probe(make_delivery()) == Done(receipt)
        assert drop.names() == [NAME]


class TestTrust:
    """TLS, logins, certificates."""

    def test_a_wrong_password(self, receiver: Drop) -> None:
        receiver.password.write_text("falsch")
        effect = Effect()
        with pytest.raises(Misconfigured, match="lässt uns nicht zu"):
            receiver.outlet().deliver(make_delivery(), effect)
        assert effect.begun == 0

    def test_a_server_of_an_unknown_authority(self, receiver: Drop, other: Authority) -> None:
        with pytest.raises(Misconfigured, match="nicht anerkannt"):
            receiver.outlet(ca_file=other.file).deliver(make_delivery(), Effect())

    def test_a_client_certificate(self, serve: Callable[..., Drop], authority: Authority,
                                  portal: KeyPair) -> None:
        drop = serve(client_ca=authority)
        with pytest.raises(Misconfigured, match="Zertifikat"):
            drop.outlet().deliver(make_delivery(), Effect())
        outlet = drop.outlet(certificate=portal.certificate, key=f"file:{portal.key}")
        receipt = outlet.deliver(make_delivery(), Effect())
        assert drop.names() == [receipt.reference]

    def test_the_check_names_the_certificates_end(self, receiver: Drop) -> None:
        texts = [finding.text for finding in receiver.outlet().check()]
        assert any("beschreibbar" in text for text in texts)
        assert any("Zertifikat des Servers gilt bis" in text for text in texts)


@pytest.mark.parametrize(("status", "kind", "certain"), [
    (400, Misconfigured, True), (401, Misconfigured, True), (403, Misconfigured, True),
    (301, Misconfigured, True),
    (404, Temporary, False), (409, Misconfigured, True), (412, Temporary, False), (423, Temporary, True),
    (429, Temporary, True), (418, Misconfigured, True), (500, Temporary, False), (502, Misconfigured, False),
    (503, Temporary, False), (504, Temporary, False), (507, Temporary, True), (207, Temporary, False)])
def test_what_an_answer_to_move_means(receiver: Drop, monkeypatch: pytest.MonkeyPatch, status: int,
                                      kind: type[DeliveryError], certain: bool) -> None:
    """A lost MOVE is in doubt; of the answers only a clear no is certain."""
    outlet, act = receiver.outlet(), Line.act

    def answer(self: Line, method: Any, url: str, headers: Any, effect_begins: Any) -> Answer:
        if method != "MOVE":
            return act(self, method, url, headers, effect_begins)
        if status == 412:
            act(self, "DELETE", url, {}, effect_begins)  # as if the first of two had moved it
        return Answer(status, httpx2.Headers({"Retry-After": "30"}), b"")

    monkeypatch.setattr(Line, "act", answer)
    with pytest.raises(kind) as raised:
        outlet.deliver(make_delivery(), Effect())
    assert type(raised.value) is kind
    assert is_certain(raised.value) == certain


class TestOptions:
    """What `check` says about a configuration before anything runs."""

    @pytest.mark.parametrize(("changes", "complaint"), [
        ({"url": "eingang"}, "is no URL"), ({"url": "https://dav.example/?a=b"}, "is no URL"),
        ({"url": "http://dav.musterstadt.example/"}, "in the clear"),
        ({"destination_base": "/eingang"}, "is no URL"),
        ({"destination_base": "ftp://dav.example/"}, "is no URL"), ({"user": "hub"}, "belong together"),
        ({"name": "{dog}_{id}"}, "unknown placeholder"), ({"pfad": "/"}, "Extra")])
    def test_refused(self, changes: dict[str, Any], complaint: str) -> None:
        with pytest.raises(ValidationError, match=complaint):
            Options(**({"url": "https://dav.musterstadt.example/eingang"} | changes))

    def test_the_servers_own_name_may_be_without_tls(self) -> None:
        options = Options(url="https://dav.musterstadt.example/eingang",
                          destination_base="http://intern/eingang")
        assert options.destination_base == "http://intern/eingang"

    def test_every_option_is_described(self) -> None:
        assert [name for name, field in Options.model_fields.items() if not field.description] == []


def test_xdomea_goes_through_it(receiver: Drop) -> None:
    drop = {"connector": "webdav", **receiver.outlet().options.model_dump(exclude_defaults=True)}
    options = options_model("xdomea", "Outlet")(receiver="Stadt Musterstadt", drop=drop)
    outlet = build_outlet("xdomea", options)
    receipt = outlet.deliver(make_delivery(), Effect())
    assert outlet.probe(make_delivery()) == Done(receipt)
    outlet.close()
    assert receiver.names() == [receipt.reference]
    assert receipt.reference.endswith(".zip")
    assert os.stat(receiver.root / receipt.reference).st_size > 1000


class TestTheSuiteNotices:
    """Faults that a WebDAV drop could have."""

    def test_a_move_that_overwrites(self, receiver: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        act = Line.act

        def careless(self: Line, method: Any, url: str, headers: Any, effect_begins: Any) -> Answer:
            return act(self, method, url, {**headers, "Overwrite": "T"}, effect_begins)

        monkeypatch.setattr(Line, "act", careless)
        with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
            TestWebdavDrop().test_what_appears_in_the_last_moment_is_not_overwritten(receiver, "single")

    def test_a_put_that_overwrites(self, receiver: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        send = Line.send
        monkeypatch.setattr(Line, "send", lambda self, method, url, headers, body, effect: send(
            self, method, url, {}, body, effect))
        with pytest.raises((AssertionError, DeliveryError)):
            TestWebdavDrop().test_two_tries_of_one_number_write_below_two_names(receiver, "single")

    def test_a_size_that_nobody_compares(self, receiver: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
        real = webdav.Collection.size
        monkeypatch.setattr(webdav.Collection, "size",
                            lambda self, path: 7 if path.endswith(".pdf") else real(self, path))
        effect = Effect()
        with pytest.raises(Temporary, match="andere Größe"):
            receiver.outlet().deliver(make_delivery(), effect)
        assert effect.begun == 0
        assert receiver.names() == []
