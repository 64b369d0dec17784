"""Policies from recorded trajectories: the decision transformer and behaviour cloning."""
