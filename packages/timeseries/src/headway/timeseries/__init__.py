"""Forecasting, imputation and anomaly detection; models come later."""
