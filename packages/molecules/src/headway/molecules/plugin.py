"""What the molecules domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain, Verb

domain = Domain(
    name="molecules",
    help="Generation of molecules with a Llama over SMILES.",
    adapters=("headway.molecules.weights.hugging_face:adapter",),
    models=("headway.molecules.models:list_models",),
    requires=("lightning", "rdkit"),
    verbs={
        "sample": Verb(
            module="headway.molecules.verbs.sample", help="generate molecules and draw them"
        ),
    },
)
