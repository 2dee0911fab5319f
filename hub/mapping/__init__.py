"""A service as data: its model, its versions, its loader."""
