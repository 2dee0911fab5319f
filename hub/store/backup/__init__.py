"""Backup and restore of the store."""
