"""Several hubs on one store."""
