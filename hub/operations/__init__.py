"""What operators and Prometheus see and do."""
