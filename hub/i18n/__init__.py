"""What the hub says to people, in German and English."""
