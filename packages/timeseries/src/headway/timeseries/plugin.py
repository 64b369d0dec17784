"""What the timeseries domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain, Verb

domain = Domain(
    name="timeseries",
    help="Forecasting, imputation, anomalies and classes with iTransformer, PatchTST and many others.",
    adapters=(
        "headway.timeseries.weights.hugging_face:adapter",
        "headway.timeseries.weights.neuralforecast:adapter",
        "headway.timeseries.weights.neuralforecast_autoformer:adapter",
        "headway.timeseries.weights.neuralforecast_simple:linear",
        "headway.timeseries.weights.neuralforecast_simple:patchtst",
        "headway.timeseries.weights.samformer:adapter",
        "headway.timeseries.weights.timesfm:adapter",
    ),
    models="headway.timeseries.models:list_models",
    requires=("lightning", "pandas"),
    verbs={
        "forecast": Verb(
            module="headway.timeseries.verbs.forecast", help="continue the series of CSV files"
        ),
        "impute": Verb(
            module="headway.timeseries.verbs.impute", help="fill the missing values of a file"
        ),
        "detect-anomalies": Verb(
            module="headway.timeseries.verbs.detect_anomalies",
            help="score and flag the steps of a file",
        ),
        "classify": Verb(
            module="headway.timeseries.verbs.classify", help="predict the classes of series (.ts)"
        ),
        "generate": Verb(
            module="headway.timeseries.verbs.generate", help="make up windows of series"
        ),
        "backtest": Verb(
            module="headway.timeseries.verbs.backtest",
            help="compare models and simple ones on the past of a file",
        ),
    },
)
