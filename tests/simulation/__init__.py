"""A seeded simulation of the hub's core: `python -m tests.simulation
--seeds 200`, or `make simulate SEEDS=200`.

One seed is one world: a clock, dice, senders, receivers, operators, and between them the hub's own code as
the daemon puts it together (`Receiver`, `Dispatcher`, `route`, `Store`, `Deliverer`, `Operator`). Replaced is
only what is not logic: clock, dice and names, the worker processes, the connectors, and the threads, of which
one at a time runs until it comes to a place where another may go on. There it may die, too: before and after
each commit, before and after each effect, in a worker. ::

    --replay SEED -v      each step of one seed; its trace has the same SHA-256 every time, on every machine

`world` is what happens, `tasks` the threads, `transports` the receivers, `towns` the configurations between
which it changes, `judge` what must hold, `planted` faults that have to be found.

What it does not simulate: the disk below SQLite (`tests.torture` cuts its power), the workers' sandbox, what
connectors do on the wire, and PostgreSQL with several nodes.
"""
