"""A line to RabbitMQ that overhears which messages a consumer acknowledges, at the moment at which it says
so.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections import defaultdict
from typing import Literal

from amqp.basic_message import Message

from tests.services.proxy import Proxy

METHOD, HEADER = 1, 2
DELIVER, ACK, REJECT = ((60, 60), (60, 80), (60, 90))

Outcome = Literal["acknowledged", "refused"]


class AmqpLine(Proxy):
    """`outcomes` says for each message id what became of its deliveries, in order (AMQP 0-9-1 §1.8.3)."""

    def __init__(self, target: int) -> None:
        self.outcomes: dict[str, list[Outcome]] = defaultdict(list)
        self._heard: dict[tuple[int, bool], bytearray] = defaultdict(bytearray)
        self._arriving: dict[tuple[int, int], int] = {}
        self._open_tags: dict[tuple[int, int], dict[int, str]] = defaultdict(dict)
        self._noting = threading.Lock()
        super().__init__(target)

    def overhear(self, client: socket.socket, data: bytes, *, answer: bool) -> None:
        """Put the frames together, and note what they say."""
        heard = self._heard[id(client), answer]
        heard += data
        if not answer and heard.startswith(b"AMQP"):
            del heard[:8]
        while len(heard) >= 8:
            kind, channel, size = struct.unpack(">BHI", heard[:7])
            if len(heard) < size + 8:
                return
            payload = bytes(heard[7:7 + size])
            del heard[:size + 8]
            with self._noting:
                (self._from_broker if answer else self._from_consumer)(kind, (id(client), channel), payload)

    def _from_broker(self, kind: int, channel: tuple[int, int], payload: bytes) -> None:
        if kind == METHOD and struct.unpack(">HH", payload[:4]) == DELIVER:
            after_consumer = 5 + payload[4]
            self._arriving[channel] = struct.unpack(">Q", payload[after_consumer:after_consumer + 8])[0]
        if kind == HEADER and channel in self._arriving:
            self._open_tags[channel][self._arriving.pop(channel)] = _message_id(payload)

    def _from_consumer(self, kind: int, channel: tuple[int, int], payload: bytes) -> None:
        if kind != METHOD or (method := struct.unpack(">HH", payload[:4])) not in (ACK, REJECT):
            return
        tag, flag = struct.unpack(">Q?", payload[4:13])
        waiting = self._open_tags[channel]
        for each in [each for each in waiting if each == tag or (method == ACK and flag and each <= tag)]:
            name = waiting.pop(each)
            if method == ACK:
                self.outcomes[name].append("acknowledged")
            elif not flag:  # not given back to its queue
                self.outcomes[name].append("refused")


def _message_id(header: bytes) -> str:
    """Of a content header; empty where the message has none, or none that can be read."""
    message = Message()
    try:
        message.inbound_header(header)
    except Exception:
        return ""
    return str(message.properties.get("message_id", ""))
