"""Changes of state, as functions on one transaction."""
