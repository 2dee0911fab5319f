"""The injuries. Each scenario builds its own stage below a folder, hurts the
hub, lets it come to rest, and has it checked.

One file for each thing that hurts. A new one is a function ``(folder, seed, *, progress, …) -> Result`` and a
line in `tests.torture.tiers`.
"""
