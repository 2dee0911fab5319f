"""From the store to the receivers: when, how often, how fast, and with what result."""
