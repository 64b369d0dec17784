"""What models of fields are trained for."""

from headway.timeseries.fields.tasks.learn_operator import LearnOperator
from headway.timeseries.fields.tasks.predict_fields import PredictFields

__all__ = ["LearnOperator", "PredictFields"]
