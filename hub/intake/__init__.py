"""The door: inlets hand in, the receiver stores, the disk's room decides."""
