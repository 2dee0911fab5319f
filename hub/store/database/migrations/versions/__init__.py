"""The changes of the tables, one file for each, in order."""
