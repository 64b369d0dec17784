"""What the speech domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain, Verb

domain = Domain(
    name="speech",
    help="Speech recognition and synthesis; classes of sounds.",
    adapters=(
        "headway.speech.weights.hugging_face:adapter",
        "headway.speech.weights.hugging_face_ast:adapter",
        "headway.speech.weights.fast_speech_conformer:adapter",
        "headway.speech.weights.hifi_gan:adapter",
        "headway.speech.weights.whisper:adapter",
        "headway.speech.weights.whisper_ctranslate2:adapter",
        "headway.speech.weights.moonshine:adapter",
        "headway.speech.weights.parakeet:adapter",
        "headway.speech.weights.wav2vec2:adapter",
        "headway.speech.weights.wav2vec2_bert:adapter",
        "headway.speech.weights.wav2vec2_classes:adapter",
    ),
    models=("headway.speech.models:list_models",),
    requires=("lightning", "torchaudio", "soundfile"),
    verbs={
        "align": Verb(
            module="headway.speech.verbs.align",
            help="write where the tokens of texts are in recordings",
        ),
        "classify-audio": Verb(
            module="headway.speech.verbs.classify_audio",
            help="say to which class recordings belong",
        ),
        "explain": Verb(
            module="headway.speech.verbs.explain",
            help="say where in recordings the words of a transcript come from",
        ),
        "renew": Verb(
            module="headway.speech.verbs.renew",
            help="make recordings again: copies through a vocoder, or with the frequencies that they lack",
        ),
        "speak": Verb(module="headway.speech.verbs.speak", help="speak texts"),
        "transcribe": Verb(
            module="headway.speech.verbs.transcribe", help="write what is said in recordings"
        ),
    },
)
