"""Models of the rl domain."""
