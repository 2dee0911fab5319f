"""A copy of the store, and the way back."""
