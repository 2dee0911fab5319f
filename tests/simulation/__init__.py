"""A seeded simulation of the hub's core.

Run it by `python -m tests.simulation --seeds 200` or `make simulate SEEDS=200`. ::

    --replay SEED -v      each step of one seed; its trace has the same SHA-256 every time, on every machine

One seed is one world: a clock, dice, senders, receivers, operators, and the hub's own code as the daemon
puts it together (`Receiver`, `Dispatcher`, `route`, `Store`, `Deliverer`, `Operator`). Replaced is only
what is not logic: clock, dice and names, the worker processes, the connectors, and the threads. Only one
thread runs at a time, until it reaches a place where another one may go on. At such a place the hub may
also die: before and after each commit, before and after each effect, and in a worker.

`ground` has the clock, dice and trace of a world. `tasks` are its threads, and `inline` replaces the
hub's own threads. `lives` starts and kills the hub, `happenings` is what happens between, and
`world` plays all of it from the start until rest. `workers` and `transports` stand for what is
outside of the hub. `municipalities` has the configurations between which the world changes. `judge`
knows what must hold. `planted` has faults that must be found.

It does not simulate the disk below SQLite (`tests.torture` cuts its power), the workers' sandbox, what
connectors do on the wire, and PostgreSQL with several nodes.
"""
