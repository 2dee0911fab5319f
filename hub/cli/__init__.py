"""The command `drehscheibe`: one file per group of commands."""
