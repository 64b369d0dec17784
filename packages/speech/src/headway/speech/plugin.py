"""What the speech domain offers to the ``headway`` program; imports nothing heavy."""

from headway.core.plugins import Domain

domain = Domain(
    name="speech",
    help="Speech recognition with the Conformer and CTC.",
    requires=("lightning", "torchaudio", "soundfile"),
)
