"""The scenarios. Each builds its own stage below a folder, injures the
hub, lets it come to rest, and checks it.

There is one file for each kind of injury. A new scenario is a function ``(folder, seed, *, progress, …) ->
Result`` and a line in `tests.torture.tiers`.
"""
