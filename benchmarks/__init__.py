"""How fast the hub is, each figure beside its own limit measured in the same
run: ``make bench``, docs/benchmarks.md.

Every module with a `main` is a command: ``python -m benchmarks.throughput --help``.
"""
