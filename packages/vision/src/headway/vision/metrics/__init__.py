"""Scores of vision that torchmetrics lacks."""
