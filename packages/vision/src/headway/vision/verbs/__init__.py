"""Commands of the vision domain."""
