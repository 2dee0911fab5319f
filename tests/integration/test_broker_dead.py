"""The commands about dead letters, on a configuration of one's own and a real RabbitMQ."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hub.cli import app
from tests.acceptance.hub_process import ROOT
from tests.integration.amqp_site import HEADERS, AmqpSite
from tests.integration.inlet_contract import SMALL
from tests.services import wait_until
from tests.services.rabbitmq import RabbitMQ, rabbitmq

__all__ = ["rabbitmq"]


class AtBroker:
    """An operator at a hub whose only broker is `site`."""

    def __init__(self, site: AmqpSite, folder: Path) -> None:
        self.site = site
        self.file = folder / "etc" / "hub.toml"
        shutil.copytree(ROOT / "etc", self.file.parent)
        options = site.options()
        senders = ", ".join(f'{{ name = "amt24", user = "{each.user}" }}' for each in options.senders[:1])
        self.file.write_text(
            self.file.read_text().replace('"../mappings"', f'"{ROOT / "mappings"}"')
            + f'\n[inlets.mq]\nconnector = "amqp"\nport = {options.port}\nvhost = "{options.vhost}"\n'
            f'user = "{options.user}"\npassword = "{options.password}"\nsenders = [{senders}]\n')
        self.admin = ("--user", site.broker.admin[0], "--password-file",
                      site.secret(site.broker.admin[1]).removeprefix("file:"))

    def run(self, *arguments: str, code: int = 0, language: str = "de") -> Result:
        result = CliRunner().invoke(app.main, ["--config", str(self.file), "broker", "dead", *arguments],
                                    env={"DREHSCHEIBE_LANG": language, "COLUMNS": "300"})
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def bury(self, *bodies: bytes, **properties: Any) -> None:
        before = self.site.dead()
        self.site.publish(*bodies, expiration="0", **properties)
        wait_until(lambda: self.site.dead() == before + len(bodies), "the messages to expire")


@pytest.fixture
def operator(rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[AtBroker]:
    site = AmqpSite(rabbitmq, tmp_path / "site")
    yield AtBroker(site, tmp_path)
    site.close()


def test_the_list_says_what_lies_there_and_never_more_than_it_may(operator: AtBroker) -> None:
    assert operator.run().stdout == "keine Dead Letters\n"
    assert operator.json("list") == {"total": 0, "letters": []}
    operator.bury(SMALL, message_id="key-1", headers=HEADERS | {"case": "Erika Musterfrau"})
    operator.bury(b"<zwei/>", b"<drei/>")
    found = operator.json("list")
    assert found["total"] == 3
    [first, *_] = found["letters"]
    assert {key: first[key] for key in ("inlet", "queue", "reason", "size", "message_id")} == {
        "inlet": "mq", "queue": operator.site.queue, "reason": "expired", "size": len(SMALL),
        "message_id": "key-1"}
    table = operator.run("list", "--limit", "2").stdout
    assert "abgelaufen" in table
    assert "Die ersten 2 von 3" in table
    assert operator.json("list", "--limit", "2")["total"] == 3, "no list is cut silently"
    assert "Erika" not in table + json.dumps(found) + operator.run("show", first["id"]).output


def test_show_saves_a_body_for_its_caller_alone(operator: AtBroker, tmp_path: Path) -> None:
    body = b"\x89PNG\r\n" + bytes(range(256))
    operator.bury(body, content_type="image/png")
    operator.bury(SMALL)
    chosen = next(each["id"] for each in operator.json("list")["letters"] if each["size"] == len(body))
    assert operator.json("show", chosen[:6])["properties"]["content_type"] == "image/png"
    target = tmp_path / "letter.bin"
    assert operator.json("show", chosen, "--output", str(target))["saved"] == str(target)
    assert target.read_bytes() == body
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert "File exists" in operator.run("show", chosen, "--output", str(target), code=75).output
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    operator.run("show", chosen, "--output", str(tmp_path / "link"), code=75)
    assert not (tmp_path / "elsewhere").exists()
    assert operator.site.dead() == 2


def test_requeue_gives_back_one_or_all_and_tells_of_each(operator: AtBroker) -> None:
    operator.bury(b"1", b"2", b"3")
    first = operator.json("list")["letters"][0]["id"]
    refused = operator.run("requeue", first, code=78)
    assert "darf das beim Broker nicht: zum Ansehen" in refused.output
    assert "liegt wieder" in operator.run("requeue", first, *operator.admin).stdout
    assert (operator.site.dead(), operator.site.left()) == (2, 1)
    assert [each["outcome"]
            for each in operator.json("requeue", "--all", *operator.admin)] == ["returned"] * 2
    wait_until(lambda: (operator.site.dead(), operator.site.left()) == (0, 3), "all to be back")
    assert operator.json("requeue", "--all", *operator.admin) == []


def test_what_stays_is_told_and_ends_with_a_finding(operator: AtBroker) -> None:
    operator.bury(SMALL)
    operator.site.broker.call("DELETE", f"queues/{operator.site.vhost}/{operator.site.queue}")
    assert "bleibt: seine Warteschlange fehlt" in operator.run("requeue", "--all", *operator.admin,
                                                               code=1).stdout
    assert operator.site.dead() == 1


def test_each_mistake_ends_with_one_line_and_its_code(operator: AtBroker) -> None:
    operator.bury(b"1", b"2")
    assert "kein Dead Letter beginnt mit 'xyz'" in operator.run("show", "xyz", code=1).output
    assert "entweder eine Kennung oder --all" in operator.run("requeue", code=2).output
    assert "gehören zusammen" in operator.run("list", "--user", "admin", code=2).output
    assert "kein Eingang 'portal' mit einem Broker" in operator.run("list", "--inlet", "portal",
                                                                    code=1).output
    operator.file.write_text(operator.file.read_text().replace(f"port = {operator.site.options().port}",
                                                               "port = 1"))
    assert "der Broker ist nicht erreichbar" in operator.run("list", code=75).output
    assert "the broker cannot be reached" in operator.run("list", code=75, language="en").output
