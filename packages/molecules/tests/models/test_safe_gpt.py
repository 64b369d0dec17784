"""SAFE-GPT: folders as safe-mol writes them, against transformers' GPT-2 with the same weights."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel

from headway.core.errors import UserError
from headway.core.language import SubwordTokenizer
from headway.core.testing.round_trips import check_round_trip
from headway.core.weights import from_pretrained, save_published
from headway.molecules.models import SafeGPT
from headway.molecules.notation import SafePieceTokenizer, encode_safe

pytest.importorskip("tokenizers")
SPECIALS = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
LETTERS = [
    *"()%.=#0123456789cnosCNOS",
    "[",
    "]",
    "H",
    "cc",
    "c1",
    "c1ccc",
    "C(",
    "C(=",
    "C(=O",
    "ccc",
]
MERGES = ["c c", "c 1", "C (", "C( =", "C(= O", "cc c", "c1 ccc"]


def tokenizer_file() -> dict:
    """As safe-mol saves it: numbers of special tokens that are not those of the vocabulary, keys of its own."""
    added = [
        {"id": place, "content": token, "special": True}
        | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        for place, token in enumerate(["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]"])
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": {"type": "BPEDecoder", "suffix": "</w>"},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "[UNK]",
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "vocab": {token: place for place, token in enumerate([*SPECIALS, *LETTERS])},
            "merges": MERGES,
        },
        "custom_pre_tokenizer": True,
        "tokenizer_type": "bpe",
        "tokenizer_attrs": {"pad_token": "[PAD]", "bos_token": "[CLS]", "eos_token": "[SEP]"},
    }


def released(folder: Path, **changes) -> tuple[GPT2LMHeadModel, dict[str, Tensor]]:
    """Writes a folder of the released class, and returns transformers' model and the head beside it."""
    torch.manual_seed(0)
    size = len(SPECIALS) + len(LETTERS)
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 40, "vocab_size": size}
    config = GPT2Config(**sizes, bos_token_id=10_000, eos_token_id=1, pad_token_id=3)
    theirs = GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.3)
    theirs.save_pretrained(folder)
    head = {
        "summary.weight": torch.randn(8, 16),
        "summary.bias": torch.randn(8),
        "out.weight": torch.randn(3, 8),
        "out.bias": torch.randn(3),
    }
    path = folder / "model.safetensors"
    tensors = load_file(path) | {f"multiple_choice_head.{k}": v for k, v in head.items()}
    save_file(tensors, path, metadata={"format": "pt"})
    said = json.loads((folder / "config.json").read_text())
    said |= {
        "architectures": ["SAFEDoubleHeadsModel"],
        "num_labels": 3,
        "summary_hidden_size": 8,
        "summary_activation": "relu",
        "summary_type": "cls_index",
        **changes,
    }
    (folder / "config.json").write_text(json.dumps(said))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_file()))
    return theirs, head


def test_a_folder_of_safe_mol_answers_as_its_class_does(tmp_path: Path) -> None:
    """Beside the class of safe-mol 0.2.1 logits differed by 3e-7 and properties by 6e-8."""
    theirs, head = released(tmp_path)
    ours = from_pretrained(tmp_path).eval()
    assert isinstance(ours, SafeGPT)
    tokens = torch.randint(5, 20, (3, 12), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([12, 7, 4])
    with torch.no_grad():
        states = theirs.transformer(tokens).last_hidden_state
        last = states[torch.arange(3), lengths - 1]
        hidden = (last @ head["summary.weight"].T + head["summary.bias"]).relu()
        said = hidden @ head["out.weight"].T + head["out.bias"]
        torch.testing.assert_close(ours(tokens), theirs(tokens).logits, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours.predict(tokens, lengths=lengths), said)
        torch.testing.assert_close(
            ours.predict(tokens[:, :5]), ours.predict(tokens, lengths=lengths * 0 + 5)
        )


def test_texts_are_cut_where_safe_mol_cuts_them_before_pairs_are_merged(tmp_path: Path) -> None:
    """With the tokenizer that safe-mol published, 6,000 molecules of NCI and MOSES had the same numbers."""
    released(tmp_path)
    ours = from_pretrained(tmp_path).tokenizer
    assert isinstance(ours, SafePieceTokenizer)
    special = (ours.unknown, ours.start, ours.end, ours.padding, ours.mask)
    assert special == (0, 1, 2, 3, 4)
    text = "CC(=O)Nc1ccccc1"
    safe = encode_safe(text)
    # Pairs never reach over two atoms: what stands between spaces would be one word for a plain GPT-2.
    assert ours.split(text) == list(safe)
    assert ours.decode(ours.encode(text)) == safe
    content = {key: value for key, value in tokenizer_file().items() if "custom" not in key}
    for key in ("tokenizer_type", "tokenizer_attrs"):
        del content[key]
    plain = SubwordTokenizer(definition=json.dumps(content), unknown=0)
    assert plain.split(safe) != ours.split(text)
    assert ours.begun(["c1ccccc1*"])[0] == 1


def test_it_is_written_back_as_safe_mol_reads_it(tmp_path: Path) -> None:
    released(tmp_path / "theirs")
    check_round_trip(tmp_path / "theirs", tmp_path / "back")
    ours = from_pretrained(tmp_path / "theirs")
    ours.set_vocabulary((*ours.vocabulary, "Zz"))
    written = save_published(ours, tmp_path / "longer", like=tmp_path / "theirs")
    content = json.loads((written / "tokenizer.json").read_text())
    assert content["custom_pre_tokenizer"] is True
    assert content["pre_tokenizer"] == {"type": "Whitespace"}
    assert from_pretrained(written).vocabulary == ours.vocabulary


def test_other_heads_are_refused(tmp_path: Path) -> None:
    released(tmp_path, summary_type="mean")
    with pytest.raises(UserError, match="said off the last token"):
        from_pretrained(tmp_path)
    with pytest.raises(UserError, match="says no properties"):
        SafeGPT(dim=8, depth=1, heads=1).predict(torch.zeros(1, 2, dtype=torch.int64))
    with pytest.raises(UserError, match="properties is -1"):
        SafeGPT(properties=-1, dim=8, depth=1, heads=1)
