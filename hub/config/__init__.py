"""From the operator's files to one checked snapshot."""
