"""Parts of the contract between the hub and its connectors, which take them from `hub.endpoint`."""
