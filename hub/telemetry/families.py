"""The catalogue of the hub's metrics: name, kind, help, labels and buckets of each.

docs/reference/metrics.md is made from it. Operators know the names: do not change them.

Used by `hub.telemetry.counters` and `hub.operations.ledger_metrics`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 60, 300, 3600, 6 * 3600, 86400, 3 * 86400, 14 * 86400)


class Family(NamedTuple):
    """One metric. `name` is the name in a query: counters end in ``_total``.

    The series of a histogram add ``_bucket``, ``_sum`` and ``_count``.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()

    def empty(self) -> CounterMetricFamily | GaugeMetricFamily:
        """The metric for one scrape, without series."""
        made = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        return made(self.name, self.help, labels=self.labels)

    def of(self, series: Mapping[tuple[str, ...], float]) -> Metric:
        """The metric for one scrape, with a value for each combination of labels."""
        metric = self.empty()
        for labels, value in series.items():
            metric.add_metric(labels, value)
        return metric


ACCEPTED = Family("drehscheibe_messages_accepted_total", "counter",
    "Messages made durable and answered OK.", ("service",))
MESSAGES = Family("drehscheibe_messages", "gauge",
    "Messages by the state they are in now. Their sum is always drehscheibe_messages_accepted_total.",
    ("service", "state"))
PARKED = Family("drehscheibe_messages_parked_total", "counter",
    "How often a message was parked before it became deliveries, by the reason that `drehscheibe why` "
    "names.", ("service", "reason"))
PARKED_NOW = Family("drehscheibe_municipality_parked", "gauge",
    "Applications of a municipality (its tenant) that are parked now, by reason; other: of an AGS that "
    "nobody has. They have no delivery, so no destination counts them.", ("municipality", "reason"))
MESSAGE_EVENTS = Family("drehscheibe_message_events_total", "counter",
    "What else happened to messages: duplicate and conflict (nothing new was stored), completed, "
    "discarded, and what operators did.", ("service", "event"))
CREATED = Family("drehscheibe_deliveries_created_total", "counter",
    "Deliveries made: one per message and recipient.", ("service", "destination"))
DELIVERIES = Family("drehscheibe_deliveries", "gauge",
    "Deliveries by the state they are in now; the queue is due + delivering + in_doubt. Their sum is "
    "always drehscheibe_deliveries_created_total.", ("service", "destination", "state"))
DELIVERY_EVENTS = Family("drehscheibe_delivery_events_total", "counter",
    "What happened to deliveries. Outcomes of a try: done, done_partly, later (failed, tried again), "
    "in_doubt, parked. Others: claimed, held (back without a try), again, rerouted, released, and what "
    "operators did.", ("service", "destination", "event"))
OLDEST = Family("drehscheibe_oldest_undelivered_seconds", "gauge",
    "Age of the oldest message or delivery that still waits for the hub or a receiver; what is parked "
    "waits for a person and does not count. 0 when nothing waits.")
RECEIVED_OLDEST = Family("drehscheibe_oldest_received_seconds", "gauge",
    "Age of the oldest message that still waits for the hub itself: no worker has read it. 0 when none does.")
DESTINATION_OLDEST = Family("drehscheibe_destination_oldest_seconds", "gauge",
    "The same for one destination: age of its oldest delivery that is due, under way or in doubt.",
    ("destination",))
RESTING = Family("drehscheibe_destination_resting", "gauge",
    "1 from the moment a destination rests until a delivery to it succeeds; why: down (it failed several "
    "times in a row) or misconfigured (somebody must mend it).", ("destination", "why"))
HELD = Family("drehscheibe_deliveries_held", "gauge",
    "Deliveries that wait though their destination may be well; why: window (it takes none at this hour) "
    "or order (an earlier message of the same case is not delivered yet). The ages above do not count "
    "them, nor the closed hours.", ("destination", "why"))
INLET_READY = Family("drehscheibe_inlet_ready", "gauge",
    "1 while the inlet takes messages: it listens, is connected, sees its folder.", ("inlet",))
REFUSED = Family("drehscheibe_transfers_refused_total", "counter",
    "Transfers that were not taken. By the hub: not-allowed (this sender may not send this there), "
    "conflict (same key, other content). By either: unavailable (nothing could be written; the sender asks "
    "again). By the inlet: unknown-client (no certificate, or one of nobody), wrong-address, too-large, "
    "too-slow, unreadable, busy (too many connections).", ("inlet", "reason"))
FILES_NOT_TAKEN = Family("drehscheibe_inlet_files_not_taken", "gauge",
    "What lies in a watched folder now and is not taken. unfinished: uploads that are not complete and made "
    "no progress for `overdue_seconds`; left-out: files whose names are in `left_out`; special: links and "
    "the like, which nobody reads.", ("inlet", "reason"))
ACCEPT = Family("drehscheibe_accept_seconds", "histogram",
    "Time until a message was durable.", ("inlet",), _FAST)
WORKER = Family("drehscheibe_worker_seconds", "histogram",
    "Time of one trip of a batch to a worker process.", (), _FAST)
WORKER_DEATHS = Family("drehscheibe_worker_deaths_total", "counter",
    "Trips that did not come to their end because the worker died or was ended over a message.", ("reason",))
ISOLATED = Family("drehscheibe_workers_without_network", "gauge",
    "1: the worker processes gave up the network before they read anything. 0: this system did not let "
    "them, or no worker has started yet.")
WORKERS_MISSING = Family("drehscheibe_workers_missing", "gauge",
    "Workers that could not be started when it was last tried. Messages are accepted and wait; 0: all are "
    "there.")
ATTEMPT = Family("drehscheibe_attempt_seconds", "histogram",
    "Time of one try to deliver, by how it came out.", ("connector", "outcome"), _FAST)
GIVEN_UP = Family("drehscheibe_attempts_given_up_total", "counter",
    "Tries that took longer than their total and were given up: a connector ignored its own time-outs. "
    "Each leaves a thread behind until it lets go.", ("connector",))
DELIVERED = Family("drehscheibe_delivered_seconds", "histogram",
    "Time from the making of a delivery to its arrival, waits and retries included.", ("connector",), _LONG)
ACCEPTING = Family("drehscheibe_accepting", "gauge",
    "1: there is room on the disk, and applications are accepted. 0: senders are told to come again; "
    "deliveries go on.")
RESERVE = Family("drehscheibe_disk_reserve_bytes", "gauge",
    "Bytes laid by on the store's disk for the outcomes of deliveries; 0 while they are in use, or unset.")
FREE = Family("drehscheibe_disk_free_bytes", "gauge",
    "Free space of the file system of the store (place: state).", ("place",))
SIZE = Family("drehscheibe_disk_size_bytes", "gauge",
    "Size of the file system of the store (place: state).", ("place",))
CERTIFICATE = Family("drehscheibe_certificate_expiry_timestamp_seconds", "gauge",
    "When a certificate ends that an inlet or destination names, as Unix time: the first of a chain, the "
    "last of a CA file. 0: the file cannot be read. used_by: the first that names it.", ("file", "used_by"))
SENDER_CERTIFICATE = Family("drehscheibe_sender_certificate_expiry_timestamp_seconds", "gauge",
    "When the certificate ends with which a sender came in, as Unix time; of several within a day the "
    "soonest. There is none before the sender's first connection since the start.", ("inlet", "sender"))
SENDER_CERTIFICATES_REFUSED = Family("drehscheibe_sender_certificates_refused_total", "counter",
    "Requests refused because their certificate, of a trusted CA, was not valid then: expired, "
    "not-yet-valid, authority-expired (the CA has ended). sender: the configured sender whose certificate "
    "it is, else unknown.", ("inlet", "sender", "reason"))
DEAD_LETTERS = Family("drehscheibe_dead_letters", "gauge",
    "Messages in the broker's dead-letter queue, which nobody takes by itself (`drehscheibe broker dead`). "
    "NaN while the inlet cannot know. Hubs on one broker say the same: do not add them up.", ("inlet",))
SENDER_SILENT = Family("drehscheibe_sender_silent_seconds", "gauge",
    "How long a sender has sent nothing but tests, counted on business days only (`[silence]` in hub.toml).",
    ("sender",))
SENDER_USUAL_GAP = Family("drehscheibe_sender_usual_gap_seconds", "gauge",
    "The longest gap on business days that was usual for a sender in the 90 days before its last message. "
    "There is none while too little is known of it.", ("sender",))
STORE_READY = Family("drehscheibe_store_ready", "gauge",
    "1: the store is read and written. 0: the database is away; senders are told to come again, and what "
    "the store says is missing here.")
NODES = Family("drehscheibe_nodes", "gauge",
    "Hubs that live on this store; 1 for a hub with a store of its own. Each of them says the same about "
    "messages and deliveries: do not add them up.")
SILENT = Family("drehscheibe_nodes_silent_seconds", "gauge",
    "How long the most silent of the living hubs has not been heard of; 0 for a hub with a store of its "
    "own.")
RETAINED = Family("drehscheibe_retention_last_run_timestamp_seconds", "gauge",
    "When the last run of the retention came to its end, as Unix time; 0: none has since the start.")
OVERDUE = Family("drehscheibe_retention_overdue", "gauge",
    "What the last run of the retention should have deleted and did not: messages whose content is there "
    "still, proofs, and log (1: deleted content stands in the store's write-ahead log until the next run).",
    ("what",))
RELOADS = Family("drehscheibe_reloads_total", "counter",
    "Reloads of the configuration; a refused one changed nothing.", ("outcome",))
RELOADED = Family("drehscheibe_config_last_reload_successful", "gauge",
    "1: the files on disk were taken up. 0: the last reload was refused, and the hub runs on the "
    "configuration before it.")
INFO = Family("drehscheibe_info", "gauge",
    "Always 1; the version of the program and the digest of the configuration in force.",
    ("version", "configuration"))

FAMILIES = (
    ACCEPTED, MESSAGES, PARKED, PARKED_NOW, MESSAGE_EVENTS, CREATED, DELIVERIES, DELIVERY_EVENTS, OLDEST,
    RECEIVED_OLDEST, DESTINATION_OLDEST, RESTING, HELD, INLET_READY, REFUSED, FILES_NOT_TAKEN, ACCEPT,
    WORKER, WORKER_DEATHS, WORKERS_MISSING,
    ISOLATED, ATTEMPT, GIVEN_UP, DELIVERED, ACCEPTING, FREE, SIZE, RESERVE, STORE_READY, NODES, SILENT,
    CERTIFICATE, SENDER_CERTIFICATE, SENDER_CERTIFICATES_REFUSED, DEAD_LETTERS, SENDER_SILENT,
    SENDER_USUAL_GAP, RETAINED, OVERDUE, RELOADS, RELOADED, INFO,
)
