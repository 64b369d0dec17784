"""The grammar of SMILES while one is written: everything that is one may be written, and nothing else can."""

import random

import pytest
import torch
from rdkit import Chem

from headway.core.errors import UserError
from headway.core.generation import Sampling
from headway.core.language import GPT2, SPECIALS
from headway.molecules.chemistry import molecule, random_smiles
from headway.molecules.data.readers import read_records
from headway.molecules.grammar import ValidSmiles
from headway.molecules.grammar.tokens import Kind, Piece, piece, pieces
from headway.molecules.grammar.writing import Writing
from headway.molecules.notation import SelfiesTokenizer, SmilesTokenizer
from headway.molecules.notation.smiles import split_smiles
from headway.molecules.shipped import find_file
from headway.molecules.verbs.acceptance import Wanted

ALPHABET = [
    "C",
    "N",
    "O",
    "S",
    "F",
    "Cl",
    "Br",
    "c",
    "n",
    "o",
    "s",
    "[nH]",
    "[N+]",
    "[O-]",
    "[C@H]",
]
ALPHABET += ["(", ")", "1", "2", "3", "%10", "=", "#", "-", "/", "\\", "."]
# What the grammar does not foresee.
AROMATIC = ("kekulize", "marked aromatic")


def problem(smiles: str) -> str | None:
    """What RDKit has against a SMILES; None if nothing, or the aromatic system alone."""
    raw = Chem.MolFromSmiles(smiles, sanitize=False)
    if raw is None:
        return "no SMILES"
    found = [one.Message() for one in Chem.DetectChemistryProblems(raw)]
    return next((text for text in found if not any(word in text for word in AROMATIC)), None)


def walk(tokens: list[str], known: list[Piece], seed: int, seen: dict) -> str:
    """Writes tokens that may follow, by chance, until one of them is the end."""
    draws = random.Random(seed)
    writing, left, text = Writing(), draws.randint(3, 40), ""
    while True:
        allowed = [writing.allows(one, left) for one in known]
        # Beginnings with the same signature share one mask.
        assert seen.setdefault(writing.signature(left), allowed) == allowed, text
        assert any(allowed), f"{text} cannot end within {left} tokens"
        chosen = draws.choice([number for number, may in enumerate(allowed) if may])
        if known[chosen].kind is Kind.END:
            return text
        writing.take(known[chosen])
        text, left = text + tokens[chosen], left - 1


def test_every_way_that_is_left_open_ends_in_time_and_is_a_smiles() -> None:
    tokens = [*ALPHABET, "<eos>"]
    known = pieces(tokens, len(tokens) - 1)
    seen: dict = {}
    for seed in range(600):
        text = walk(tokens, known, seed, seen)
        assert problem(text) is None, (text, problem(text))


def test_what_rdkit_reads_may_be_written() -> None:
    smiles = [record.smiles for record in read_records(find_file("nci"))][:1000]
    found = [one for text in smiles if (one := molecule(text)) is not None]
    texts = [Chem.MolToSmiles(one) for one in found] + [random_smiles(one, 1) for one in found]
    refused = [text for text in texts if not may_be_written(text)]
    # Metals with more than eight bonds are beyond it.
    assert not [text for text in refused if not any(metal in text for metal in ("Fe", "Co"))]


def may_be_written(smiles: str) -> bool:
    writing = Writing()
    tokens = [*split_smiles(smiles, "x")]
    for number, token in enumerate(tokens):
        # Room for the rest, and for the rings that are open in between.
        if not writing.allows(piece(token), len(tokens) - number + 40):
            return False
        writing.take(piece(token))
    return writing.allows(Piece(Kind.END), 1)


@pytest.mark.parametrize(
    "smiles",
    [
        "C(",
        "C)",
        "C()",
        "C1C",
        "C11",
        "C12CC12",
        "=C",
        "C==C",
        "C=",
        "CF(C)",
        "C#C#C",
        "N(C)(C)(C)C",
        "c1ccc=cc1=N#C",
    ],
)
def test_what_is_none_may_not(smiles: str) -> None:
    assert not may_be_written(smiles)


def decoder(**options) -> GPT2:
    torch.manual_seed(0)
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, *ALPHABET))
    return GPT2(tokenizer=tokenizer, dim=16, depth=1, heads=2, max_length=32, **options)


@pytest.mark.parametrize("start", ["", "c1ccc", "CC(=O)N(C"])
def test_a_model_that_knows_nothing_writes_smiles(start: str) -> None:
    model = decoder()
    prompts = [model.tokenizer.prompt(start)] * 70
    found = [draw(model, prompts, batch_size) for batch_size in (16, 70)]
    assert found[0] == found[1]
    assert all(text.startswith(start) and problem(text) is None for text in found[0])
    plain = model.generate(prompts, generator=torch.Generator().manual_seed(0))
    assert sum(problem(model.tokenizer.decode(row)) is None for row in plain.tokens.tolist()) < 20


def draw(model: GPT2, prompts: list[list[int]], batch_size: int) -> list[str]:
    grammar = ValidSmiles(model.tokenizer, max_length=model.max_length)
    generator = torch.Generator().manual_seed(0)
    sampling = Sampling(processors=[grammar])
    found = model.generate(prompts, sampling=sampling, generator=generator, batch_size=batch_size)
    assert bool(found.finished.all())
    return [model.tokenizer.decode(row) for row in found.tokens.tolist()]


def test_what_cannot_be_gone_on_with_is_said() -> None:
    model = decoder()
    with pytest.raises(UserError, match=r"'\)' cannot stand at place 2 of 3"):
        draw(model, [model.tokenizer.prompt("C)")], 1)
    pieces_of_text = SelfiesTokenizer(vocabulary=(*SPECIALS, "[C]", "[Ring1]"))
    with pytest.raises(UserError, match="needs a vocabulary with C"):
        ValidSmiles(pieces_of_text, max_length=20)
    several = SmilesTokenizer(vocabulary=(*SPECIALS, "C", "CC"))
    with pytest.raises(UserError, match="'CC'"):
        ValidSmiles(several, max_length=20)


def test_wanted_patterns() -> None:
    ring, charge = Chem.MolFromSmarts("c1ccccc1"), Chem.MolFromSmarts("[+]")
    wanted = Wanted([ring], [charge])
    assert wanted.accepts(["Cc1ccccc1", "CC", "C[NH+](C)c1ccccc1", "c1cc"]) == [
        True,
        False,
        False,
        False,
    ]
