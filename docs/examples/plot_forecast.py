"""
A forecast with its interval
============================

A linear model reads two days of an hourly series that is made up here, forecasts the third, and says where
four of five values should lie.
"""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from headway.timeseries import Forecaster
from headway.timeseries.models import NLinear

# %%
# A day and a week in one series, with noise.

hours = np.arange(24 * 60)
values = 20 + 5 * np.sin(2 * np.pi * hours / 24) + 2 * np.sin(2 * np.pi * hours / 168)
values += np.random.default_rng(0).normal(0, 1, len(hours))
stamps = pd.date_range("2024-01-01", periods=len(hours), freq="h")
frame = pd.DataFrame({"unique_id": "load", "ds": stamps, "y": values})
known, future = frame[:-24], frame[-24:]

# %%
# ``fit`` keeps a part of the series to choose the best epoch and to calibrate the interval.

forecaster = Forecaster(NLinear(context_length=48, horizon=24), epochs=5).fit(known)
forecast = forecaster.predict(24, level=[80])
forecast.head()

# %%
mean, low, high = (name for name in forecast.columns if name not in ("unique_id", "ds"))
plt.plot(known["ds"][-72:], known["y"][-72:], label="known")
plt.plot(future["ds"], future["y"], label="what came")
plt.plot(forecast["ds"], forecast[mean], label="forecast")
plt.fill_between(forecast["ds"], forecast[low], forecast[high], alpha=0.3, label="80 %")
plt.gcf().autofmt_xdate()
plt.legend()
plt.show()
