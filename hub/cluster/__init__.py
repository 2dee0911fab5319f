"""The other hubs on the same store."""
