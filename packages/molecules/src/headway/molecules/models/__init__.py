"""Models of the molecules domain."""
