"""Makes RabbitMQ ready for the AMQP inlet, by its management API (``drehscheibe broker setup``).

It declares exchanges, queues, limits, dead letters, users and permissions, and may be repeated at any time.
It never deletes anything. The hub's user may only read: the senders' queues, and the dead letters'. A sender
may only publish, with its own routing key.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
from pydantic import Field

from hub.endpoint import Finding, OptionsModel, SecretRef, read_secret


class Admin(OptionsModel):
    """An administrator of RabbitMQ's management API, needed for `setup` alone."""

    url: str = Field("http://127.0.0.1:15672", description="where the management plugin listens")
    user: str = Field(description="a user with the tag administrator")
    password: SecretRef = Field(description="its password")
    ca: Path | None = Field(None, description="PEM file of the CA behind an https url; default: the system's")


@dataclass(frozen=True, slots=True)
class User:
    """A user at the broker. Without a password it is expected to be there."""

    name: str
    password: SecretRef | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Topology:
    """What the broker must have."""

    vhost: str
    exchange: str
    """Where senders publish."""
    dead: str
    """The dead-letter exchange, and its queue."""
    delivery_limit: int
    """Deliveries until a message goes there."""
    reader: User
    """The hub."""
    senders: Sequence[tuple[User, str]]
    """Each sender with its queue."""


def declare(topology: Topology, admin: Admin) -> list[Finding]:
    """One finding for each thing, in German. Stops at the first error.

    Raises `ConfigError` when a secret cannot be read, before anything is declared.
    """
    wishes = list(_wishes(topology))
    verify: Any = ssl.create_default_context(cafile=admin.ca) if admin.ca else True
    with httpx2.Client(base_url=f"{admin.url.rstrip('/')}/api/", verify=verify, timeout=30,
                       auth=(admin.user, read_secret(admin.password))) as client:
        findings = []
        for what, method, path, body in wishes:
            finding = _wish(client, what, method, path, body)
            findings.append(finding)
            if finding.severity == "error":
                break
        return findings


_NOTHING = {"configure": "^$", "write": "^$", "read": "^$"}

Wish = tuple[str, str, str, dict[str, Any]]
"""(what, HTTP method, path, body) of one thing."""


def _wishes(topology: Topology) -> Iterator[Wish]:
    """Everything the broker must have, in order."""
    vhost, exchange, dead = quote(topology.vhost, safe=""), topology.exchange, topology.dead
    quorum = {"x-queue-type": "quorum"}
    yield f"Exchange {dead}", "PUT", f"exchanges/{vhost}/{dead}", {"type": "fanout", "durable": True}
    yield f"Warteschlange {dead}", "PUT", f"queues/{vhost}/{dead}", {"durable": True, "arguments": quorum}
    yield f"Bindung {dead}", "POST", f"bindings/{vhost}/e/{dead}/q/{dead}", {"routing_key": ""}
    # a policy, because an existing queue keeps its arguments: since RabbitMQ 4 each look would count as a
    # delivery, and after twenty of them the letter would be gone
    yield (f"Regel {dead}", "PUT", f"policies/{vhost}/{dead}",
           {"pattern": f"^{_quoted(dead)}$", "apply-to": "queues", "priority": -1,
            "definition": {"delivery-limit": 10 ** 9}})
    yield f"Exchange {exchange}", "PUT", f"exchanges/{vhost}/{exchange}", {"type": "topic", "durable": True}
    limits = {"x-delivery-limit": topology.delivery_limit, "x-dead-letter-exchange": dead,
              "x-overflow": "reject-publish", "x-dead-letter-strategy": "at-least-once"}
    for sender, queue in topology.senders:
        yield (f"Warteschlange {queue}", "PUT", f"queues/{vhost}/{queue}",
               {"durable": True, "arguments": quorum | limits})
        yield (f"Bindung {queue}", "POST", f"bindings/{vhost}/e/{exchange}/q/{queue}",
               {"routing_key": sender.name})
        yield from _sender(sender, vhost, exchange)
    reader = topology.reader
    yield from _user(reader)
    yield (f"Rechte von {reader.name}", "PUT", f"permissions/{vhost}/{quote(reader.name, safe='')}",
           _NOTHING | {"read": f"^({_quoted(exchange)}[.].+|{_quoted(dead)})$"})


def _sender(sender: User, vhost: str, exchange: str) -> Iterator[Wish]:
    yield from _user(sender)
    # First the narrow right, then the wide one: in between a sender can do nothing rather than everything.
    yield (f"Routing-Schlüssel von {sender.name}", "PUT", f"topic-permissions/{vhost}/{sender.name}",
           {"exchange": exchange, "write": f"^{sender.name}$", "read": "^$"})
    yield (f"Rechte von {sender.name}", "PUT", f"permissions/{vhost}/{sender.name}",
           _NOTHING | {"write": f"^{_quoted(exchange)}$"})


def _quoted(name: str) -> str:
    """A name for a regular expression."""
    return name.replace(".", "[.]")


def _user(user: User) -> Iterator[Wish]:
    if user.password is not None:
        yield (f"Benutzer {user.name}", "PUT", f"users/{quote(user.name, safe='')}",
               {"password": read_secret(user.password), "tags": ""})


def _wish(client: httpx2.Client, what: str, method: str, path: str, body: dict[str, Any]) -> Finding:
    try:
        answer = client.request(method, path, json=body)
    except httpx2.TransportError as error:
        return Finding("error", f"{what}: Management-API nicht erreichbar ({type(error).__name__})",
                       "Adresse prüfen; am Broker muss das Plugin der API an sein: rabbitmq-plugins enable "
                       "rabbitmq_management.")
    if answer.status_code == 401:
        return Finding("error", f"{what}: Anmeldung an der Management-API abgelehnt",
                       "Benutzer mit dem Merkmal administrator und Kennwort prüfen.")
    if answer.status_code == 400:
        return Finding("error", f"{what}: besteht bereits mit anderen Eigenschaften",
                       "Leeren und löschen, dann erneut ausführen; es wird nie von selbst gelöscht.")
    if answer.is_error:
        return Finding("error", f"{what}: HTTP {answer.status_code}",
                       "Virtuellen Host anlegen (rabbitmqctl add_vhost), "
                       "fehlende Benutzer mit Kennwort angeben.")
    return Finding("ok", f"{what}: {'angelegt' if answer.status_code == 201 else 'bereit'}")
