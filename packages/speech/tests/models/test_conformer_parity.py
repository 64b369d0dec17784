"""The Conformer against Wav2Vec2-Conformer of transformers, with copied weights."""

import json
from pathlib import Path

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn import functional as F
from transformers import Wav2Vec2ConformerConfig, Wav2Vec2ConformerForCTC

from headway.core.errors import UserError
from headway.core.positions import Rotary
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained
from headway.speech.front_ends import Waveform
from headway.speech.models import CTC, pretrained
from headway.speech.tokenizers import TextTokenizer


def tiny(
    norm: str = "layer", position: str | None = "relative", seed: int = 0
) -> Wav2Vec2ConformerForCTC:
    torch.manual_seed(seed)
    config = Wav2Vec2ConformerConfig(
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        conv_depthwise_kernel_size=5,
        conv_dim=(8, 8),
        conv_kernel=(10, 3),
        conv_stride=(5, 2),
        conv_bias=norm == "layer",
        vocab_size=9,
        num_conv_pos_embedding_groups=2,
        feat_extract_norm=norm,
        position_embeddings_type=position,
        hidden_act="swish",
        attn_implementation="eager",
        **dict.fromkeys(
            (
                "hidden_dropout",
                "attention_dropout",
                "activation_dropout",
                "feat_proj_dropout",
                "final_dropout",
                "conformer_conv_dropout",
                "layerdrop",
                "mask_time_prob",
            ),
            0.0,
        ),
    )
    model = Wav2Vec2ConformerForCTC(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            # The biases u and v start at zero, and would hide an error in them.
            if parameter.ndim == 1 or "pos_bias" in name:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif ".encoder.layers." in name:
                # Weights of 0.02 leave attention all but uniform.
                parameter.mul_(12)
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.add_(0.3 * torch.rand_like(buffer))
    return model


def saved(model: Wav2Vec2ConformerForCTC, folder: Path, vocabulary: bool = True) -> Path:
    model.save_pretrained(folder)
    if vocabulary:
        tokens = ["<pad>", "<unk>", "|", "A", "B", "C", "D", "E", "F"]
        (folder / "vocab.json").write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    return folder


def both(tmp_path: Path, **options) -> tuple[CTC, Wav2Vec2ConformerForCTC]:
    theirs = tiny(**options)
    ours = from_pretrained(saved(theirs, tmp_path / "hf"))
    check_round_trip(tmp_path / "hf", tmp_path / "back")
    assert isinstance(ours, CTC)
    assert ours.load_report.missing == ours.load_report.unexpected == ()
    return ours.double(), theirs.double()


def log_probs(model: Wav2Vec2ConformerForCTC, x: Tensor) -> Tensor:
    return model(x).logits.log_softmax(-1)


@pytest.mark.parametrize("position", ["relative", None])
@pytest.mark.parametrize("norm", ["layer", "group"])
def test_outputs_and_gradients_equal_the_peer(tmp_path: Path, norm: str, position) -> None:
    ours, theirs = (model.eval() for model in both(tmp_path, norm=norm, position=position))
    x = torch.randn(2, 403).double()
    one, two = ours(x).log_probs, log_probs(theirs, x)
    torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-5)
    seed = torch.randn_like(one)
    one.backward(seed)
    two.backward(seed)
    found = dict(ours.named_parameters())
    twins = {
        "encoder.stem.convolutions.0.weight": "wav2vec2_conformer.feature_extractor.conv_layers.0.conv.weight",
        "encoder.encoder.blocks.0.feedforward_in.function.fc1.weight": "wav2vec2_conformer.encoder.layers.0.ffn1.intermediate_dense.weight",
        "encoder.encoder.blocks.1.convolution.function.convolution.weight": "wav2vec2_conformer.encoder.layers.1.conv_module.depthwise_conv.weight",
        "encoder.encoder.blocks.0.mixer.function.position.relative.weight": "wav2vec2_conformer.encoder.layers.0.self_attn.linear_pos.weight",
        "encoder.encoder.blocks.0.mixer.function.position.content_bias": "wav2vec2_conformer.encoder.layers.0.self_attn.pos_bias_u",
        "encoder.encoder.blocks.1.mixer.function.position.place_bias": "wav2vec2_conformer.encoder.layers.1.self_attn.pos_bias_v",
        "head.classifier.weight": "lm_head.weight",
    }  # fmt: skip
    peers = dict(theirs.named_parameters())
    for name, twin in twins.items():
        if name in found:
            torch.testing.assert_close(found[name].grad, peers[twin].grad, atol=1e-4, rtol=1e-4)


def test_a_rotation_in_place_of_the_relative_term_is_another_model(tmp_path: Path) -> None:
    ours, theirs = (model.eval() for model in both(tmp_path))
    x = torch.randn(1, 403).double()
    for block in ours.encoder.encoder.blocks:
        block.mixer.function.position = Rotary(2, 8)  # pyright: ignore
    assert not torch.allclose(ours(x).log_probs, log_probs(theirs, x), atol=1e-3)


def test_a_padded_item_equals_the_peer_on_the_item_alone(tmp_path: Path) -> None:
    ours, theirs = (model.eval() for model in both(tmp_path))
    x = torch.randn(2, 403).double()
    lengths = torch.tensor([403, 251])
    mask = torch.arange(403) < lengths[:, None]
    found = ours(x.masked_fill(~mask, float("nan")), lengths)
    assert found.lengths.tolist() == theirs._get_feat_extract_output_lengths(lengths).tolist()
    alone = log_probs(theirs, x[1:, :251])
    torch.testing.assert_close(found.log_probs[1, : alone.shape[1]], alone[0], atol=1e-5, rtol=1e-5)
    # The longest item of their padded batch is whole there, too; the padded one is not.
    padded = theirs(x * mask, attention_mask=mask.long()).logits.log_softmax(-1)
    torch.testing.assert_close(found.log_probs[0], padded[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(padded[1, : alone.shape[1]], alone[0], atol=1e-3)


@pytest.mark.slow
@pytest.mark.learns
def test_training_takes_the_same_way_as_the_peer_for_two_hundred_steps(
    tmp_path: Path, seed: int, measured
) -> None:
    ours, theirs = (model.train() for model in both(tmp_path, seed=seed))
    _in_double_precision(theirs, ours)
    optimisers = [torch.optim.AdamW(model.parameters(), lr=2e-4) for model in (ours, theirs)]
    generator = torch.Generator().manual_seed(seed + 1)
    apart = 0.0
    for _ in range(200):
        x = torch.randn(2, 203, generator=generator).double()
        targets = torch.randint(1, 9, (2, 4), generator=generator)
        losses = []
        for model, optimiser in zip((ours, theirs), optimisers, strict=True):
            scores = model(x).log_probs if isinstance(model, CTC) else log_probs(model, x)
            frames = torch.full((2,), scores.shape[1])
            loss = F.ctc_loss(scores.transpose(0, 1), targets, frames, torch.full((2,), 4))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        apart = max(apart, abs(losses[0] - losses[1]))
    measured("apart", apart, below=1e-4)


def _in_double_precision(theirs: Wav2Vec2ConformerForCTC, ours: CTC) -> None:
    """Gives the peer sinusoids of our precision: its own are rounded to float32 before the cast."""
    blocks = ours.encoder.encoder.blocks
    position = blocks[0].mixer.function.position  # pyright: ignore
    embedded = theirs.wav2vec2_conformer.encoder.embed_positions
    angles = torch.arange(4999, -5000, -1).double()[:, None] * position.frequencies.double()
    embedded.pe = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[None]


def test_the_vocabulary_and_front_end_of_the_checkpoint_are_known(tmp_path: Path) -> None:
    folder = saved(tiny(), tmp_path / "hf")
    model = pretrained(str(folder))
    tokenizer = model.tokenizer
    assert isinstance(tokenizer, TextTokenizer)
    assert tokenizer.vocabulary[2:5] == (" ", "A", "B")
    assert (tokenizer.case, tokenizer.blank) == ("upper", 0)
    assert isinstance(model.front_end, Waveform)
    assert (model.front_end.sample_rate, model.front_end.normalise) == (16000, "utterance")
    assert model.seconds_per_token == 10 / 16000
    again = pretrained(str(folder), new_vocabulary="words")
    assert again.tokenizer.vocabulary == ("<blank>",)
    assert again.load_report.reinitialised == ("head.classifier.bias", "head.classifier.weight")


def test_a_vocabulary_may_be_shorter_than_the_head_and_not_longer(tmp_path: Path) -> None:
    folder = saved(tiny(), tmp_path / "hf")
    tokens = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps({t: i for t, i in tokens.items() if i < 7}))
    model = pretrained(str(folder))
    assert model.tokenizer.vocabulary[6:] == ("D", "<7>", "<8>")
    assert model.tokenizer.decode([3, 7, 1, 4]) == "AB"
    (folder / "vocab.json").write_text(json.dumps({**tokens, "G": 9}))
    with pytest.raises(UserError, match="numbers a token 9, and the model answers for 9"):
        pretrained(str(folder))


def test_names_and_shapes_of_the_published_model_on_the_meta_device() -> None:
    # facebook/wav2vec2-conformer-rel-pos-large-960h-ft
    from headway.core.weights.checkpoint import Checkpoint
    from headway.speech.weights.hugging_face import adapter

    config = Wav2Vec2ConformerConfig(
        hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096,
        feat_extract_norm="layer", conv_bias=True, hidden_act="swish", vocab_size=32,
    )  # fmt: skip
    with torch.device("meta"):
        theirs = transformers.Wav2Vec2ConformerForCTC(config)
        checkpoint = Checkpoint("published", config.to_dict(), (), Path("nowhere"))
        checkpoint.__dict__["state"] = theirs.state_dict()
        ours = adapter.build(checkpoint, {})
        found = adapter.table(checkpoint, ours).to_ours(checkpoint.state)
    assert {n: v.shape for n, v in found.items()} == {
        n: v.shape for n, v in ours.state_dict().items()
    }


def test_a_rotary_checkpoint_is_refused_with_the_reason(tmp_path: Path) -> None:
    tiny(position="rotary").save_pretrained(tmp_path / "hf")
    with pytest.raises(UserError, match="'rotary' of this checkpoint turns the input"):
        from_pretrained(tmp_path / "hf")
