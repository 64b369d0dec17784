"""What the molecules domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain, Verb

domain = Domain(
    name="molecules",
    help="Generation of molecules with language models over SMILES or SELFIES.",
    adapters=("headway.core.weights.language:adapters",),
    models=("headway.molecules.models:list_models",),
    requires=("lightning", "rdkit"),
    verbs={
        "optimize": Verb(
            module="headway.molecules.verbs.optimize",
            help="find molecules that score well: REINVENT, PPO, pair-tuning, graph GA",
        ),
        "sample": Verb(
            module="headway.molecules.verbs.sample", help="generate molecules and draw them"
        ),
        "score-molecules": Verb(
            module="headway.molecules.verbs.score_molecules",
            help="properties of molecules, and the metrics of MOSES",
        ),
    },
)
