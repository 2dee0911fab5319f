"""The proof that no accepted message is lost.

Run it by `python -m tests.torture --tier commit --seed 1` or `make torture`. Around the hub are processes
that the fault injector never kills::

    producer ──HTTPS──► hub ──┬─SMTP──► mail sink      (appends, syncs, answers)
       │                 ▲    └─files─► drop folders
       ▼                 │                  │
    ledger of 202s   fault injector         ▼
       └───────────────────────────────► checker ──► scoreboard

`world` has the hub's configuration. `document` makes what is sent and recognises copies of it. `producer`,
`sink` and `checker` are the processes, and `stage` starts and ends them. `scenarios` has the injuries: `shim`
injures system calls, `drives` disks. `tiers` says what is run when. `scoreboard` has the result and its page.

`tests.simulation` gives the same verdicts over the hub's own logic, in thousands of small worlds. Each seed
can be replayed exactly. The nightly tier plays 10,000 of them.
"""
