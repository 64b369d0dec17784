"""What the speech domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain, Verb

domain = Domain(
    name="speech",
    help="Speech recognition with the Conformer and CTC.",
    adapters=(
        "headway.speech.weights.hugging_face:adapter",
        "headway.speech.weights.parakeet:adapter",
    ),
    models=("headway.speech.models:list_models",),
    requires=("lightning", "torchaudio", "soundfile"),
    verbs={
        "transcribe": Verb(
            module="headway.speech.verbs.transcribe", help="write what is said in recordings"
        ),
    },
)
