"""Models of the speech domain."""
