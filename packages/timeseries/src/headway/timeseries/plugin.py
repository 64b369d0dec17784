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
    models=(
        "headway.timeseries.models:list_models",
        "headway.timeseries.fields.models:list_models",
    ),
    moves={
        "headway.timeseries.models.FactFormer": "headway.timeseries.fields.models.FactFormer",
        "headway.timeseries.models.GNOT": "headway.timeseries.fields.models.GNOT",
        "headway.timeseries.models.PDETransformer": "headway.timeseries.fields.models.PDETransformer",
        "headway.timeseries.models.PDETransformerSC": "headway.timeseries.fields.models.PDETransformerSC",
        "headway.timeseries.models.SwinLSTM": "headway.timeseries.fields.models.SwinLSTM",
        "headway.timeseries.tasks.LearnOperator": "headway.timeseries.fields.tasks.LearnOperator",
        "headway.timeseries.tasks.PredictFields": "headway.timeseries.fields.tasks.PredictFields",
        "headway.timeseries.models.factformer": "headway.timeseries.fields.models.factformer",
        "headway.timeseries.models.gnot": "headway.timeseries.fields.models.gnot",
        "headway.timeseries.models.pde_transformer": "headway.timeseries.fields.models.pde_transformer",
        "headway.timeseries.models.pde_transformer_sc": "headway.timeseries.fields.models.pde_transformer_sc",
        "headway.timeseries.models.simulator": "headway.timeseries.fields.models.simulator",
        "headway.timeseries.models.swin_lstm": "headway.timeseries.fields.models.swin_lstm",
        "headway.timeseries.layers.conditioned": "headway.timeseries.fields.layers.conditioned",
        "headway.timeseries.layers.cosine_fields": "headway.timeseries.fields.layers.cosine_fields",
        "headway.timeseries.layers.field_tokens": "headway.timeseries.fields.layers.field_tokens",
        "headway.timeseries.layers.gated_experts": "headway.timeseries.fields.layers.gated_experts",
        "headway.timeseries.layers.heterogeneous": "headway.timeseries.fields.layers.heterogeneous",
        "headway.timeseries.layers.kernel_block": "headway.timeseries.fields.layers.kernel_block",
        "headway.timeseries.layers.swin_cell": "headway.timeseries.fields.layers.swin_cell",
        "headway.timeseries.simulation.equations": "headway.timeseries.fields.simulation.equations",
        "headway.timeseries.simulation.flows": "headway.timeseries.fields.simulation.flows",
        "headway.timeseries.simulation.scattered": "headway.timeseries.fields.simulation.scattered",
        "headway.timeseries.simulation.trajectories": "headway.timeseries.fields.simulation.trajectories",
        "headway.timeseries.tasks.fields": "headway.timeseries.fields.tasks.predict_fields",
        "headway.timeseries.tasks.operators": "headway.timeseries.fields.tasks.learn_operator",
    },
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
