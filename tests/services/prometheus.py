"""A real Prometheus on loopback, with data and rules of its own; and `promtool`."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

from tests.services import free_port, need, wait_until

CONFIG = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: {rules}
scrape_configs:
  - job_name: drehscheibe
    static_configs: [{{targets: ["127.0.0.1:{target}"]}}]
"""


def promtool(*arguments: str, folder: Path,
             stdin: Path = Path(os.devnull)) -> subprocess.CompletedProcess[str]:
    """Run `promtool` in a folder. It may fail; the caller judges the result."""
    with stdin.open("rb") as given:
        return subprocess.run([need("promtool", "prometheus"), *arguments], cwd=folder, stdin=given,
                              capture_output=True, text=True, timeout=300, check=False)


class Prometheus:
    """Scrapes `target` (a port of loopback) every second and evaluates the rule files."""

    def __init__(self, folder: Path, target: int, rules: list[Path]) -> None:
        binary = need("prometheus", "prometheus")
        self.log = folder / "prometheus.log"
        self.port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(CONFIG.format(rules=json.dumps([str(file) for file in rules]), target=target))
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}",
                 f"--web.listen-address=127.0.0.1:{self.port}", "--storage.tsdb.retention.time=1h"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_until(self._ready, f"Prometheus is ready ({self.log})")

    def _ready(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return int(answer.status) == 200
        except OSError:
            return False

    def api(self, path: str, **query: str) -> Any:
        """The ``data`` of an answer of the HTTP API."""
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def value(self, expression: str) -> float | None:
        """The single value of an expression now, or None when there is none."""
        found = self.api("query", query=expression)["result"]
        assert len(found) < 2, found
        return float(found[0]["value"][1]) if found else None

    def firing(self, name: str) -> list[dict[str, str]]:
        """The labels of the firing alerts with this name."""
        return [alert["labels"] for alert in self.api("alerts")["alerts"]
                if alert["labels"]["alertname"] == name and alert["state"] == "firing"]

    def close(self) -> None:
        """Stop the server."""
        self._process.terminate()
        self._process.wait(20)
