"""The engine of backtests: candidates forecast from the same origins, and their errors are compared."""
