"""How fast the hub is. Each figure stands beside a limit that is measured in the same run.

``make bench`` runs all benchmarks and writes docs/benchmarks.md. Each module with a `main` is a command:
``python -m benchmarks.throughput --help``.
"""
