"""Which scenarios a tier runs, and how much of each."""

from __future__ import annotations

from tests.torture import drives
from tests.torture.scenarios import (
    backlog,
    broker,
    calls,
    clock,
    disk,
    http,
    kills,
    mail,
    nights,
    nodes,
    power,
    reloads,
    sftp,
    smtp,
)
from tests.torture.steps import Step, step

TIERS: dict[str, list[Step]] = {
    "commit": [
        step("random kills", kills.random_kills, kills=30, messages=1100),
        step("SIGTERM under load", kills.graceful, stops=4, messages=200, unclear=False),
        step("SIGSTOP and a second instance", kills.frozen, rounds=2, messages=100),
        step("SIGKILL at every 2nd sync and rename", calls.every_call, kinds=("sync", "rename"), stride=2),
        step("disk full", disk.full_disk, rounds=3, messages=150, unclear=False),
        step("EIO on fsync", disk.failing_sync, rounds=3, messages=120),
        step("mail server: each command and fault", smtp.mail_matrix, only=smtp.SHORT, smtp_sink=False, parks=True),
        step("reloads", reloads.reload_again_and_again, count=9, messages=90, unclear=False),
        step("backlog of one town", backlog.backlog, pending=150, rate=30, unclear=False),
        step("two nodes", nodes.two_nodes, kills=3, messages=100, lacks=nodes.unavailable),
    ],
    "nightly": [
        step("random kills", kills.random_kills, kills=200, messages=6000),
        step("SIGTERM under load", kills.graceful, stops=20, messages=1000, unclear=False),
        step("SIGSTOP and a second instance", kills.frozen, rounds=8, messages=400),
        step("SIGKILL at every sync, write, rename, send", calls.every_call),
        step("fault points", calls.fault_points),
        step("disk full", disk.full_disk, rounds=20, messages=1000, unclear=False),
        step("EIO on fsync", disk.failing_sync, rounds=20, messages=800),
        step("power cut", power.power_cuts, cuts=50, messages=2500, lacks=drives.unavailable),
        step("mail server: every command", mail.bad_mail_server, messages=9, parks=True),
        step("mail server: each command and fault", smtp.mail_matrix, parks=True),
        step("Fachverfahren: each fault", http.bad_web_server, parks=True),
        step("SFTP server: each fault", sftp.bad_file_server, unclear=False),
        step("broker: each fault", broker.broken_broker, unclear=False),
        step("reloads", reloads.reload_again_and_again, count=100, messages=1000, unclear=False),
        step("backlog of one town", backlog.backlog, pending=3000, rate=50, unclear=False),
        step("one of 50 destinations hangs", backlog.hanging, rounds=4, seconds=20),
        step("two nodes", nodes.two_nodes, kills=20, messages=400, lacks=nodes.unavailable),
        step("database: each fault", nodes.broken_database, lacks=nodes.unavailable),
        step("clock jumps", clock.clock_jumps, rounds=10, messages=500),
        step("clock jumps and nights", nights.jumps_and_nights, rounds=1, messages=200, unclear=False),
    ],
    "release": [
        step("random kills", kills.random_kills, kills=1000, messages=20_000),
    ],
}
TIERS["release"] += TIERS["nightly"][1:]
LARGE = {each.name: each for each in (
    step("backlog of one town", backlog.backlog, pending=50_000, rate=60, unclear=False),
    step("two nodes", nodes.two_nodes, kills=100, messages=2000, lacks=nodes.unavailable))}
TIERS["release"] = [LARGE.get(each.name, each) for each in TIERS["release"]]
