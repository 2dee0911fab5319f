"""The durable store: one writer, one ledger, bodies, and proof."""
