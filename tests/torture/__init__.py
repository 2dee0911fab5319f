"""The proof that nothing accepted is lost: `python -m tests.torture
--tier commit --seed 1`, or `make torture`.

Processes of their own, which the fault injector never kills, stand around the hub::

    producer ──HTTPS──► hub ──┬─SMTP──► mail sink      (appends, syncs, answers)
       │                 ▲    └─files─► drop folders
       ▼                 │                  │
    ledger of 202s   fault injector         ▼
       └───────────────────────────────► checker ──► scoreboard

`world` is the hub's configuration, `document` what is sent and how a copy of it is recognised, `producer` and
`sink` and `checker` the processes, `stage` keeps them, `scenarios` the injuries (by `shim` to system calls,
by `drives` to disks), `tiers` what of them is run when, `scoreboard` the result and its page.

Beside it stands `tests.simulation`: the same verdicts over the hub's own logic in thousands of small worlds,
each of which its seed replays bit by bit; the nightly tier plays 10,000 of them.
"""
