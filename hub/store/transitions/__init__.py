"""Changes of state: functions on one transaction."""
