"""T5 of transformers with copied weights: logits, gradients, greedy generation, and files both ways."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import T5Config, T5ForConditionalGeneration

from headway.core.errors import UserError
from headway.core.generation import Sampling
from headway.core.language import T5
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_pretrained, save_published

SIZES: dict[str, Any] = {
    "vocab_size": 19,
    "d_model": 32,
    "d_kv": 16,
    "d_ff": 48,
    "num_layers": 3,
    "num_decoder_layers": 2,
    "num_heads": 4,
    "relative_attention_num_buckets": 8,
    "relative_attention_max_distance": 12,
    "decoder_start_token_id": 0,
    "initializer_factor": 1.0,
}
KINDS: dict[str, dict[str, Any]] = {
    "relu": {},
    "gated": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "gated silu": {"feed_forward_proj": "gated-silu", "layer_norm_epsilon": 1e-3},
    "narrow heads": {"d_kv": 4, "num_decoder_layers": None},
}
SOURCE = torch.randint(2, 19, (3, 23), generator=torch.Generator().manual_seed(1))
LENGTHS = torch.tensor([23, 9, 1])
REAL = torch.arange(23) < LENGTHS[:, None]
SOURCE[~REAL] = 0
TARGET = torch.randint(2, 19, (3, 17), generator=torch.Generator().manual_seed(2))
TARGET[:, 0] = 0


def theirs(folder: Path, **options: Any) -> Any:
    torch.manual_seed(0)
    made = T5ForConditionalGeneration(T5Config(**{**SIZES, **options})).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    made.save_pretrained(folder)
    return made


@pytest.mark.parametrize("name", KINDS)
def test_logits_gradients_and_greedy_texts_equal_transformers(name: str, tmp_path: Path) -> None:
    other = theirs(tmp_path, **KINDS[name])
    check_round_trip(tmp_path, tmp_path / "back")
    ours = from_pretrained(tmp_path).eval()
    assert isinstance(ours, T5)
    mask = REAL.long()
    answer = other(input_ids=SOURCE, attention_mask=mask, decoder_input_ids=TARGET)
    read = ours.features(SOURCE, lengths=LENGTHS)
    peer = answer.encoder_last_hidden_state
    torch.testing.assert_close(read[REAL], peer[REAL], atol=1e-5, rtol=1e-5)
    got = ours(TARGET, source=SOURCE, source_lengths=LENGTHS)
    torch.testing.assert_close(got, answer.logits, atol=1e-5, rtol=1e-5)
    alone = ours(TARGET[1:2], source=SOURCE[1:2, :9])
    torch.testing.assert_close(alone, got[1:2], atol=1e-5, rtol=1e-5)
    for logits in (got, answer.logits):
        F.cross_entropy(logits[:, :-1].flatten(0, 1), TARGET[:, 1:].flatten()).backward()
    for mine, grad in (
        (ours.embedding.weight, other.shared.weight.grad),
        (
            ours.encoder.blocks[2].get_parameter("mixer.function.position.table"),
            other.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.grad,
        ),
        (
            ours.decoder.blocks[1].get_parameter("mixer.function.position.table"),
            other.decoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.grad,
        ),
    ):
        torch.testing.assert_close(mine.grad, grad, atol=1e-4, rtol=1e-3)
    ours.set_max_length(24)
    told = {"source": SOURCE, "source_lengths": LENGTHS}
    greedy = other.generate(SOURCE, attention_mask=mask, max_length=24, do_sample=False)
    for batch in (8, 2):  # of two rows the one that ends makes room for the third
        found = ours.generate([[0]] * 3, sampling=Sampling(temperature=0), batch_size=batch, **told)
        assert found.tokens[:, : greedy.shape[1]].tolist() == greedy.tolist()


def test_scores_are_those_of_the_logits(tmp_path: Path) -> None:
    theirs(tmp_path)
    ours = from_pretrained(tmp_path).eval()
    assert isinstance(ours, T5)
    told = {"source": SOURCE, "source_lengths": LENGTHS}
    score = ours.score(TARGET, lengths=torch.tensor([17, 5, 3]), **told)
    logits = ours(TARGET, **told).log_softmax(-1)
    want = logits[:, :-1].gather(2, TARGET[:, 1:, None])[..., 0]
    torch.testing.assert_close(score[0], want[0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(score[1, :4], want[1, :4], atol=1e-5, rtol=1e-5)
    assert not score[1, 4:].any()
    found = ours.generate([[0]] * 3, generator=torch.Generator().manual_seed(3), **told)
    again = ours.score(found.tokens, lengths=found.lengths, **told).sum(1)
    torch.testing.assert_close(again, found.log_likelihoods, atol=1e-3, rtol=1e-4)


def test_the_blocks_of_a_stack_share_one_table_through_files(tmp_path: Path) -> None:
    theirs(tmp_path / "theirs")
    ours = from_pretrained(tmp_path / "theirs").eval()
    assert isinstance(ours, T5)
    save_pretrained(ours, tmp_path / "own")
    again = from_pretrained(tmp_path / "own").eval()
    assert isinstance(again, T5)
    names = [f"blocks.{n}.mixer.function.position.table" for n in range(3)]
    assert len({id(again.encoder.get_parameter(name)) for name in names}) == 1
    before = ours(TARGET, source=SOURCE)
    assert torch.equal(again(TARGET, source=SOURCE), before)


def test_a_model_that_learned_new_tokens_loads_in_transformers(tmp_path: Path) -> None:
    theirs(tmp_path / "theirs")
    ours = from_pretrained(tmp_path / "theirs").eval()
    assert isinstance(ours, T5)
    ours.set_vocabulary([*ours.vocabulary, "[Xe]"])
    written = save_published(ours, tmp_path / "out", like=tmp_path / "theirs")
    target = TARGET.clone()
    target[0, 5] = 19
    back = T5ForConditionalGeneration.from_pretrained(written).eval()
    want = back(input_ids=SOURCE, decoder_input_ids=target).logits
    torch.testing.assert_close(ours(target, source=SOURCE), want, atol=1e-5, rtol=1e-5)


def test_an_unknown_feed_forward_is_refused(tmp_path: Path) -> None:
    theirs(tmp_path)
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"relu"', '"glu-relu"'))
    with pytest.raises(UserError, match="'glu-relu'"):
        from_pretrained(tmp_path)


def test_a_head_of_its_own_is_read_and_written(tmp_path: Path) -> None:
    """As files of version 1.1 have it, which transformers 5 reads as if the two were one."""
    from safetensors.torch import load_file, save_file

    theirs(tmp_path, tie_word_embeddings=False)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["lm_head.weight"] = torch.randn(19, 32)
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    check_round_trip(tmp_path, tmp_path / "back")
    ours = from_pretrained(tmp_path)
    assert isinstance(ours, T5)
    assert torch.equal(ours.head.weight, tensors["lm_head.weight"])
    assert torch.equal(ours.embedding.weight, tensors["shared.weight"])
    assert ours.factor == 1
