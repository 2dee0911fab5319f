"""The door: inlets hand transfers in, the receiver stores them while the disk has room."""
