"""A seeded simulation of the hub's core: `python -m tests.simulation --seeds 200`, or `make simulate
SEEDS=200`.

One seed is one world: a clock, dice, senders, receivers, operators, and between them the hub's own code as
the daemon puts it together (`Receiver`, `Dispatcher`, `route`, `Store`, `Deliverer`, `Operator`). Replaced is
only what is not logic: clock, dice and names, the worker processes, the connectors, and the threads, of which
one at a time runs until it comes to a place where another may go on. There it may die, too: before and after
each commit, before and after each effect, in a worker. ::

    --replay SEED -v      each step of one seed; its trace has the same SHA-256 every time, on every machine

`ground` is a world's clock, dice and trace; `tasks` are its threads, and `inline` what the hub has instead of
its own; `lives` are the hub's, `happenings` what comes between them, `world` all of it from start to rest.
`workers` and `transports` stand for what is outside, `municipalities` are the configurations between which it
changes, `judge` says what must hold, and `planted` has the faults that have to be found.

What it does not simulate: the disk below SQLite (`tests.torture` cuts its power), the workers' sandbox, what
connectors do on the wire, and PostgreSQL with several nodes.
"""
