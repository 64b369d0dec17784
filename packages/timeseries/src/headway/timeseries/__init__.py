"""Forecasting, imputation and anomaly detection; the models come in a later version."""
