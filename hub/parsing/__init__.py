"""Strangers' bytes, read within limits."""
