"""Damaged tables and published folders are one line each."""

import json
import random
from pathlib import Path

import pytest
from transformers import LlamaConfig, LlamaForCausalLM

from headway.core.testing.damage import damaged, refusals
from headway.core.weights import from_pretrained
from headway.molecules.data import SmilesFile

ROWS = ["CCO", "c1ccccc1", "CC(=O)O", "ClCCBr", "CCN", "CCCC"] * 4
TIMES = 40


@pytest.mark.parametrize("name", ["set.smi", "set.csv"])
def test_damaged_molecules(name: str, tmp_path: Path) -> None:
    head = ["name,smiles"] if name.endswith("csv") else []
    rows = [f"m,{row}" if head else row for row in ROWS]
    whole, drawn = "\n".join([*head, *rows]).encode(), random.Random(0)

    def use() -> None:
        (tmp_path / name).write_bytes(damaged(whole, drawn))
        policy = drawn.choice(["raise", "skip"])
        SmilesFile(path=str(tmp_path / name), val=4, on_invalid=policy).setup()

    assert len(refusals(use for _ in range(TIMES))) > TIMES // 8


def test_damaged_files_of_a_published_llama(tmp_path: Path) -> None:
    sizes = {"vocab_size": 6, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2)).save_pretrained(tmp_path)
    names = ("<p>", "<s>", "</s>", "C", "O", "N")
    (tmp_path / "vocab.json").write_text(json.dumps({name: k for k, name in enumerate(names)}))
    drawn = random.Random(0)

    def use() -> None:
        file = tmp_path / drawn.choice(["config.json", "config.json", "vocab.json"])
        whole = file.read_bytes()
        try:
            file.write_bytes(damaged(whole, drawn))
            from_pretrained(tmp_path)
        finally:
            file.write_bytes(whole)

    assert len(refusals(use for _ in range(TIMES))) > TIMES // 4
