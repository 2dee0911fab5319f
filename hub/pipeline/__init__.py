"""What happens to one message in a worker, stage by stage."""
