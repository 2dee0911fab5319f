"""The processes that read what citizens wrote, and the way to them and back."""
