"""What the molecules domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain, Verb

domain = Domain(
    name="molecules",
    help="Language models over SMILES, SELFIES or SAFE: new molecules, properties of molecules.",
    adapters=(
        "headway.molecules.weights.safe_gpt:adapter",
        "headway.molecules.weights.molformer:adapter",
        "headway.core.weights.language:adapters",
    ),
    models=("headway.molecules.models:list_models",),
    requires=("lightning", "rdkit"),
    verbs={
        "backbones": Verb(
            module="headway.molecules.verbs.backbones", help="generate backbones of proteins"
        ),
        "predict": Verb(
            module="headway.molecules.verbs.predict", help="predict properties of molecules"
        ),
        "optimize": Verb(
            module="headway.molecules.verbs.optimize",
            help="find molecules that score well: REINVENT, PPO, pair-tuning, graph GA",
        ),
        "sample": Verb(
            module="headway.molecules.verbs.sample", help="generate molecules and draw them"
        ),
        "score-molecules": Verb(
            module="headway.molecules.verbs.score_molecules",
            help="properties of molecules, and the metrics of MOSES and GuacaMol",
        ),
    },
)
