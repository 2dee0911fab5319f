"""Which scenarios a tier runs, and how much of each."""

from __future__ import annotations

from tests.torture import drives
from tests.torture.scenarios import (
    backlog,
    broker,
    calls,
    clock,
    damage,
    disk,
    http,
    kills,
    mail,
    nights,
    nodes,
    power,
    reloads,
    sftp,
    simulated,
    smtp,
)
from tests.torture.steps import Step, step

TIERS: dict[str, list[Step]] = {
    "commit": [
        step("random kills", kills.random_kills, kills=20, messages=1100),
        step("SIGTERM under load", kills.graceful, stops=3, messages=150, unclear=False),
        step("SIGSTOP and a second instance", kills.frozen, rounds=2, messages=100),
        step("SIGKILL at every 3rd sync and rename", calls.every_call, kinds=("sync", "rename"), stride=3),
        step("disk full", disk.full_disk, rounds=2, messages=100, unclear=False),
        step("EIO on fsync", disk.failing_sync, rounds=2, messages=80),
        step("power cut", power.power_cuts, cuts=2, messages=60, lacks=drives.unavailable),
        step("mail server: each command and fault", smtp.mail_matrix, only=smtp.SHORT, smtp_sink=False,
             parks=True),
        step("reloads", reloads.reload_again_and_again, count=9, messages=90, unclear=False),
        step("backlog of one municipality", backlog.backlog, pending=150, rate=30, unclear=False),
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
        step("slow fsync", disk.slow_sync, rounds=8, messages=600, unclear=False),
        step("no descriptors", disk.no_descriptors, rounds=8, messages=600),
        step("no space left on a real disk", disk.no_room, of="space", rounds=6, messages=600,
             lacks=drives.unavailable),
        step("no inode left", disk.no_room, of="inodes", rounds=6, messages=600, lacks=drives.unavailable),
        step("read-only file system", disk.read_only, rounds=6, messages=600, lacks=drives.unavailable),
        step("power cut", power.power_cuts, cuts=50, messages=2500, lacks=drives.unavailable),
        step("damaged stores", damage.damage, count=300),
        step("mail server: every command", mail.bad_mail_server, messages=9, parks=True),
        step("mail server: each command and fault", smtp.mail_matrix, parks=True),
        step("Fachverfahren: each fault", http.bad_web_server, parks=True),
        step("SFTP server: each fault", sftp.bad_file_server, unclear=False),
        step("broker: each fault", broker.broken_broker, unclear=False),
        step("reloads", reloads.reload_again_and_again, count=100, messages=1000, unclear=False),
        step("backlog of one municipality", backlog.backlog, pending=3000, rate=50, unclear=False),
        step("one of 50 destinations hangs", backlog.hanging, rounds=4, seconds=20),
        step("two nodes", nodes.two_nodes, kills=20, messages=400, lacks=nodes.unavailable),
        step("database: each fault", nodes.broken_database, lacks=nodes.unavailable),
        step("simulation", simulated.simulation, seeds=10_000),
        step("clock jumps", clock.clock_jumps, rounds=10, messages=500),
        step("clock jumps and nights", nights.jumps_and_nights, rounds=2, messages=100, unclear=False),
    ],
}

LARGER = {each.name: each for each in (
    step("random kills", kills.random_kills, kills=1000, messages=20_000),
    step("power cut", power.power_cuts, cuts=100, messages=5000, lacks=drives.unavailable),
    step("damaged stores", damage.damage, count=1000),
    step("backlog of one municipality", backlog.backlog, pending=50_000, rate=60, unclear=False),
    step("two nodes", nodes.two_nodes, kills=100, messages=2000, lacks=nodes.unavailable),
)}
TIERS["release"] = [LARGER.get(each.name, each) for each in TIERS["nightly"]]
"""The release tier: everything of the nightly tier, some of it at full size."""
