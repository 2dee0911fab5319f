"""What the hub says of itself to machines: logs, metric families, counters."""
