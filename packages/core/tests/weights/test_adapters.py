"""Every adapter says what it leaves unread, and writes back what it has read."""

from pathlib import Path

import pytest

from headway.core.weights.adapter import adapters

# These read notes of their own: hyper-parameters beside the weights, or shapes alone.
OTHERS = ("neuralforecast", "SAMformer", "Time-Series-Library", "Informer")


@pytest.mark.parametrize("adapter", adapters(), ids=lambda adapter: adapter.name)
def test_an_adapter_knows_the_defaults_of_what_it_does_not_read(adapter) -> None:
    if adapter.name.startswith("Hugging Face"):
        assert adapter.architectures
    if not any(name in adapter.name for name in OTHERS):
        assert isinstance(adapter.defaults, dict), adapter.name


# Where the files of each are read, written back and compared bit for bit.
ROUND_TRIPS = {
    "Hugging Face AST": "speech/tests/models/test_audio_spectrogram.py",
    "Hugging Face BERT": "core/tests/weights/test_encoders.py",
    "Hugging Face Conditional DETR": "vision/tests/models/test_conditional_detr.py",
    "Hugging Face Deformable DETR": "vision/tests/models/test_deformable_detr.py",
    "Hugging Face D-FINE": "vision/tests/models/test_dfine.py",
    "Hugging Face DETR": "vision/tests/models/test_detr.py",
    "Hugging Face Decision Transformer": "rl/tests/models/test_decision_transformer.py",
    "LeRobot ACT": "rl/tests/test_lerobot_policies.py",
    "LeRobot Diffusion Policy": "rl/tests/test_lerobot_chunks.py",
    "LeRobot VQ-BeT": "rl/tests/test_lerobot_chunks.py",
    "Hugging Face EoMT": "vision/tests/models/test_eomt.py",
    "Hugging Face ESM-2": "core/tests/weights/test_encoders.py",
    "Hugging Face GPT-2": "core/tests/weights/test_language_models.py",
    "Hugging Face GPT-NeoX": "core/tests/weights/test_language_models.py",
    "Hugging Face FastSpeech2Conformer": "speech/tests/models/test_conformer_voice.py",
    "Hugging Face HiFi-GAN": "speech/tests/models/test_hifi_gan.py",
    "Hugging Face Mask2Former": "vision/tests/models/test_mask2former.py",
    "Hugging Face MaskFormer": "vision/tests/models/test_maskformer.py",
    "Hugging Face Llama": "core/tests/weights/test_language_models.py",
    "Hugging Face LW-DETR": "vision/tests/models/test_lw_detr.py",
    "Hugging Face RF-DETR": "vision/tests/models/test_lw_detr.py",
    "RF-DETR of its authors": "vision/tests/models/test_lw_detr.py",
    "Hugging Face Mistral": "core/tests/weights/test_language_models.py",
    "Hugging Face Qwen2": "core/tests/weights/test_language_models.py",
    "Hugging Face ModernBERT": "core/tests/weights/test_encoders.py",
    "Hugging Face PatchTST": "timeseries/tests/models/test_patchtst_transformers.py",
    "Hugging Face PoolFormer": "vision/tests/models/test_poolformer.py",
    "Hugging Face RT-DETR": "vision/tests/models/test_rt_detr.py",
    "Hugging Face RoBERTa": "core/tests/weights/test_encoders.py",
    "Hugging Face SegFormer": "vision/tests/models/test_segformer.py",
    "Hugging Face Swin": "vision/tests/models/test_swin.py",
    "Hugging Face T5": "core/tests/weights/test_t5.py",
    "Hugging Face TimesFM": "timeseries/tests/models/test_timesfm.py",
    "Hugging Face ViT/DeiT/DINOv2": "vision/tests/weights/test_published_formats.py",
    "Hugging Face Moonshine": "speech/tests/models/test_moonshine.py",
    "Hugging Face Parakeet": "speech/tests/models/test_parakeet.py",
    "Hugging Face HuBERT classes": "speech/tests/models/test_wav2vec2_classes.py",
    "Hugging Face Wav2Vec2 classes": "speech/tests/models/test_wav2vec2_classes.py",
    "Hugging Face WavLM classes": "speech/tests/models/test_wav2vec2_classes.py",
    "Hugging Face HuBERT": "speech/tests/models/test_wav2vec2.py",
    "Hugging Face Wav2Vec2-BERT": "speech/tests/models/test_wav2vec2_bert.py",
    "Hugging Face Wav2Vec2": "speech/tests/models/test_wav2vec2.py",
    "Hugging Face WavLM": "speech/tests/models/test_wav2vec2.py",
    "Hugging Face Wav2Vec2-Conformer": "speech/tests/models/test_conformer_parity.py",
    "Hugging Face Whisper": "speech/tests/models/test_whisper.py",
    "CTranslate2 Whisper": "speech/tests/models/test_whisper_ctranslate2.py",
    "Hugging Face YOLOS": "vision/tests/models/test_yolos.py",
    "Hugging Face XLNet": "core/tests/weights/test_xlnet.py",
    "MoLFormer of its authors": "molecules/tests/models/test_molformer.py",
    "SAFE-GPT of its authors": "molecules/tests/models/test_safe_gpt.py",
    "SAMformer of its authors": "timeseries/tests/test_window_norm.py",
    "neuralforecast Autoformer": "timeseries/tests/models/test_autoformer.py",
    "neuralforecast DLinear/NLinear": "timeseries/tests/models/test_dlinear.py",
    "neuralforecast PatchTST": "timeseries/tests/models/test_patchtst.py",
    "neuralforecast iTransformer/Informer/VanillaTransformer": "timeseries/tests/models/test_informer.py",
    "timm CaiT": "vision/tests/models/test_cait.py",
    "timm PoolFormer": "vision/tests/models/test_poolformer.py",
    "timm Swin": "vision/tests/models/test_swin.py",
    "timm ViT/DeiT/DINOv2": "vision/tests/weights/test_published_formats.py",
    "Hugging Face Hiera": "vision/tests/models/test_hiera.py",
    "timm PiT": "vision/tests/models/test_pit.py",
    "timm Hiera": "vision/tests/models/test_hiera.py",
    "Hugging Face Swin V2": "vision/tests/models/test_swin_v2.py",
    "timm Swin V2": "vision/tests/models/test_swin_v2.py",
}
PACKAGES = Path(__file__).parents[3]


def test_every_adapter_is_tried_in_both_directions() -> None:
    assert ROUND_TRIPS.keys() == {adapter.name for adapter in adapters()}
    for name, file in ROUND_TRIPS.items():
        assert "check_round_trip(" in (PACKAGES / file).read_text(encoding="utf-8"), name
