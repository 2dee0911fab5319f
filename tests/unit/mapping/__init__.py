"""A service as data."""
