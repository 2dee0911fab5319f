"""What `make run` is: the example configuration with its counterparts, and a table of what arrived."""
