"""Tables, statements and the two databases."""
