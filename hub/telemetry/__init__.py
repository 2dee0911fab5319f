"""Logs and metrics: what the hub tells machines about itself."""
