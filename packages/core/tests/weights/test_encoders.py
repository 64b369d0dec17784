"""Encoders of transformers with copied weights: hidden states, logits, gradients, tokenizers, files both ways."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertModel,
    BertTokenizer,
    EsmConfig,
    EsmForMaskedLM,
    EsmTokenizer,
    ModernBertConfig,
    ModernBertForMaskedLM,
    RobertaConfig,
    RobertaForMaskedLM,
    RobertaTokenizer,
)

from headway.core.errors import UserError
from headway.core.language import Bert, EncoderLanguageModel, Esm2, ModernBert, Roberta
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, open_checkpoint, save_pretrained, save_published

SIZES: dict[str, Any] = {
    "vocab_size": 19,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 40,
    "initializer_range": 0.15,
}
OF_ESM = {"pad_token_id": 1, "mask_token_id": 4, "position_embedding_type": "rotary"}
OF_MODERN = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
OF_MODERN |= {"cls_token_id": 1, "sep_token_id": 2, "local_attention": 6}
KINDS: dict[str, tuple[Any, Any, dict[str, Any], type[EncoderLanguageModel]]] = {
    "bert": (BertConfig, BertForMaskedLM, {}, Bert),
    "bert other": (
        BertConfig,
        BertForPreTraining,
        {"hidden_act": "relu", "type_vocab_size": 3, "layer_norm_eps": 1e-3},
        Bert,
    ),
    "bert without head": (BertConfig, BertModel, {}, Bert),
    "bert untied": (BertConfig, BertForMaskedLM, {"tie_word_embeddings": False}, Bert),
    "roberta": (RobertaConfig, RobertaForMaskedLM, {"hidden_act": "gelu_new"}, Roberta),
    "roberta padding": (RobertaConfig, RobertaForMaskedLM, {"pad_token_id": 3}, Roberta),
    "esm": (EsmConfig, EsmForMaskedLM, {**OF_ESM, "token_dropout": True}, Esm2),
    "esm plain": (EsmConfig, EsmForMaskedLM, {**OF_ESM, "rope_theta": 300.0}, Esm2),
    "modernbert": (ModernBertConfig, ModernBertForMaskedLM, OF_MODERN, ModernBert),
    "modernbert biases": (
        ModernBertConfig,
        ModernBertForMaskedLM,
        {
            **OF_MODERN,
            "norm_bias": True,
            "attention_bias": True,
            "mlp_bias": True,
            "classifier_bias": True,
            "decoder_bias": False,
            "global_attn_every_n_layers": 2,
            "hidden_activation": "silu",
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 300.0},
                "sliding_attention": {"rope_type": "default", "rope_theta": 50.0},
            },
        },
        ModernBert,
    ),
}


def theirs(folder: Path, name: str = "roberta", **more: Any) -> Any:
    torch.manual_seed(0)
    config, model, options, _ = KINDS[name]
    made = model(config(**{**SIZES, **options, **more})).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # no bias at zero, no norm at one
            parameter.add_(0.1 * torch.randn_like(parameter))
    made.save_pretrained(folder)
    return made


@pytest.mark.parametrize("name", KINDS)
def test_hidden_states_logits_and_gradients_equal_transformers(name: str, tmp_path: Path) -> None:
    other = theirs(tmp_path, name)
    # The bias of a head that is not tied stands there twice, and one of the two is not used.
    unused = ("cls.predictions.bias",) if name == "bert untied" else ()
    if name != "bert without head":
        check_round_trip(tmp_path, tmp_path / "back", summed=unused)
    ours = from_pretrained(tmp_path).eval()
    assert type(ours) is KINDS[name][3]
    assert isinstance(ours, EncoderLanguageModel)
    # An odd length, padding, and tokens that are hidden (number 4).
    tokens = torch.randint(4, 19, (3, 17), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([17, 9, 2])
    real = torch.arange(17) < lengths[:, None]
    padding = other.config.pad_token_id
    tokens[~real] = padding
    states: list[torch.Tensor] = []
    for block in ours.encoder.blocks:
        block.register_forward_hook(lambda *call: states.append(call[2][0]))
    answer = other(tokens, attention_mask=real.long(), output_hidden_states=True)
    got = ours.features(tokens, lengths=lengths)
    for mine, peer in zip([*states[:-1], got], answer.hidden_states[1:], strict=True):
        torch.testing.assert_close(mine[real], peer[real], atol=1e-5, rtol=1e-5)
    if name == "bert without head":  # what it lacks is written besides
        written = open_checkpoint(save_published(ours, tmp_path / "back", like=tmp_path)).state
        assert all(torch.equal(x, written[n]) for n, x in open_checkpoint(tmp_path).state.items())
        return
    logits = answer.get("logits", answer.get("prediction_logits"))
    found = ours(tokens, lengths=lengths)
    torch.testing.assert_close(found[real], logits[real], atol=1e-5, rtol=1e-5)
    alone = ours(tokens[1:2, :9])
    torch.testing.assert_close(alone[0], found[1, :9], atol=1e-5, rtol=1e-5)
    for values in (found, logits):
        F.cross_entropy(values[real], tokens[real]).backward()
    embedding = other.get_input_embeddings().weight
    mine = ours.embedding.token.weight
    assert mine.grad is not None
    kept = torch.arange(19) != padding  # transformers lets no gradient reach that row
    torch.testing.assert_close(mine.grad[kept], embedding.grad[kept], atol=1e-4, rtol=1e-4)
    deep = ours.encoder.blocks[0].get_parameter("feedforward.function.fc2.weight").grad
    peers = [p.grad for n, p in other.named_parameters() if p.shape == (32, 48)]
    torch.testing.assert_close(deep, peers[0], atol=1e-4, rtol=1e-4)


def test_positions_that_were_learned_are_a_hard_limit(tmp_path: Path) -> None:
    theirs(tmp_path)
    ours = from_pretrained(tmp_path).eval()
    assert isinstance(ours, Roberta)
    assert ours.max_length == 38  # two places belong to padding
    with pytest.raises(UserError, match="max_length 39 is more than the 38 learned positions"):
        ours.set_max_length(39)
    with pytest.raises(UserError, match="a text of 39 tokens is longer than the 38 learned"):
        ours(torch.zeros(1, 39, dtype=torch.int64))
    tokens = torch.randint(4, 19, (2, 9))
    before = ours(tokens)
    ours.set_max_length(9)
    assert torch.equal(ours(tokens), before)
    save_pretrained(ours, tmp_path / "own")
    assert torch.equal(from_pretrained(tmp_path / "own").eval()(tokens), before)


def test_old_files_have_pickles_and_other_names(tmp_path: Path) -> None:
    other = theirs(tmp_path / "theirs", "roberta")
    (tmp_path / "old").mkdir()
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): value
        for name, value in other.state_dict().items()
    }
    renamed["roberta.embeddings.position_ids"] = torch.arange(40)[None]
    torch.save(renamed, tmp_path / "old" / "pytorch_model.bin")
    config = (tmp_path / "theirs" / "config.json").read_text()
    (tmp_path / "old" / "config.json").write_text(config)
    ours = from_pretrained(tmp_path / "old").eval()
    tokens = torch.randint(4, 19, (2, 9))
    torch.testing.assert_close(ours(tokens), other(tokens).logits, atol=1e-5, rtol=1e-5)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    theirs(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    import os
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "ran"),)

    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Evil()}))
    with pytest.raises(UserError, match=r"pytorch_model\.bin"):
        from_pretrained(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["roberta", "bert untied", "esm", "modernbert"])
def test_a_model_that_learned_new_tokens_loads_in_transformers(name: str, tmp_path: Path) -> None:
    theirs(tmp_path / "theirs", name)
    ours = from_pretrained(tmp_path / "theirs").eval()
    assert isinstance(ours, EncoderLanguageModel)
    tokens = torch.randint(4, 19, (2, 9))
    before = ours(tokens)
    ours.set_vocabulary([*ours.vocabulary, "[Xe]"])
    torch.testing.assert_close(ours(tokens)[..., :19], before)
    written = save_published(ours, tmp_path / "out", like=tmp_path / "theirs")
    tokens[0, 3] = 19
    back = KINDS[name][1].from_pretrained(written).eval()
    torch.testing.assert_close(ours(tokens), back(tokens).logits, atol=1e-5, rtol=1e-5)
    assert from_pretrained(written).vocabulary == ours.vocabulary


def test_an_esm_of_the_first_version_is_refused(tmp_path: Path) -> None:
    theirs(tmp_path, "esm", position_embedding_type="absolute")
    with pytest.raises(UserError, match="'absolute'; only those of version 2"):
        from_pretrained(tmp_path)


SMILES = ["CC(=O)Oc1ccccc1C(=O)O", "c1ccccc1CCN", "ClCCBr", "C[C@@H](N)C(=O)O"]


def pieces(folder: Path) -> RobertaTokenizer:
    """Writes ``vocab.json`` and ``merges.txt`` as ChemBERTa has them, and returns transformers' reader."""
    letters = sorted({letter for text in SMILES for letter in text})
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters, "cc", "ccc", "CC", "(="]
    places = {name: place for place, name in enumerate(names)}
    (folder / "vocab.json").write_text(json.dumps(places))
    merges = ["#version: 0.2", "c c", "cc c", "C C", "( ="]
    (folder / "merges.txt").write_text("\n".join(merges) + "\n")
    return RobertaTokenizer(vocab=places, merges=[tuple(m.split()) for m in merges[1:]])


def test_pieces_of_older_folders_are_those_of_transformers(tmp_path: Path) -> None:
    theirs(tmp_path, vocab_size=40)
    peer = pieces(tmp_path)
    ours = from_pretrained(tmp_path)
    assert isinstance(ours, Roberta)
    tokenizer = ours.tokenizer
    assert (tokenizer.start, tokenizer.padding, tokenizer.end, tokenizer.mask) == (0, 1, 2, 4)
    for text in SMILES:
        assert tokenizer.encode(text) == peer(text).input_ids
        assert tokenizer.decode(tokenizer.encode(text)) == text
    check_round_trip(tmp_path, tmp_path / "back")


def test_words_of_older_folders_are_those_of_transformers(tmp_path: Path) -> None:
    theirs(tmp_path, "bert", vocab_size=21)
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "the",
        "drug",
        "\u2028",  # a token of its own, where str.splitlines would begin a line
        "##s",
        "bind",
        "##ing",
        ",",
        ".",
    ]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n")
    peer = BertTokenizer(vocab={word: place for place, word in enumerate(words)})
    ours = from_pretrained(tmp_path)
    assert isinstance(ours, Bert)
    for text in ("The drugs, binding.", "drug binding"):
        assert ours.tokenizer.encode(text) == peer(text).input_ids
    assert ours.tokenizer.encode("the cat", lenient=True) == peer("the cat").input_ids


def test_letters_of_proteins_are_those_of_transformers(tmp_path: Path) -> None:
    theirs(tmp_path, "esm", vocab_size=33, mask_token_id=32)
    letters = [*"LAGVSERTIDPKQNFYMHWCXBUZO.-"]
    names = ["<cls>", "<pad>", "<eos>", "<unk>", *letters, "<null_1>", "<mask>"]
    (tmp_path / "vocab.txt").write_text("\n".join(names) + "\n")
    peer = EsmTokenizer(str(tmp_path / "vocab.txt"))
    ours = from_pretrained(tmp_path)
    assert isinstance(ours, Esm2)
    tokenizer = ours.tokenizer
    assert (tokenizer.start, tokenizer.padding, tokenizer.end, tokenizer.mask) == (0, 1, 2, 32)
    for text in ("MKTAYIAKQR", "LAGVSERTIDPKQNFYMHWCXBUZO"):
        assert tokenizer.encode(text) == peer(text).input_ids
        assert tokenizer.decode(tokenizer.encode(text)) == text
    with pytest.raises(UserError, match="does not know: 7"):
        tokenizer.encode("MK7", "proteins.csv, row 3")


@pytest.mark.parametrize("content", ["[]", "3", "{"])
def test_a_damaged_vocabulary_is_named(content: str, tmp_path: Path) -> None:
    theirs(tmp_path)
    pieces(tmp_path)
    (tmp_path / "vocab.json").write_text(content)
    with pytest.raises(UserError, match=r"vocab\.json"):
        from_pretrained(tmp_path)
    pieces(tmp_path)
    (tmp_path / "merges.txt").write_text("a b c\n")
    with pytest.raises(UserError, match=r"merges\.txt: has 'a b c', expected pairs"):
        from_pretrained(tmp_path)
    assert open_checkpoint(tmp_path).config is not None
