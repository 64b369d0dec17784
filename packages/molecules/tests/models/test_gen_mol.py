"""GenMol: one model writes, links, extends and replaces fragments; what is given stands."""

from typing import TypeVar

import pytest
import torch
from torch import Tensor

from headway.core.blocks import PreNormBlock
from headway.core.errors import InputError, UserError
from headway.core.generation.diffusion import Unmasking
from headway.core.language import LanguageModel
from headway.core.training import AdamW
from headway.core.weights import from_pretrained, save_pretrained
from headway.molecules.chemistry import canonical, molecule
from headway.molecules.models import GenMol, SafeGPT
from headway.molecules.models.gen_mol import bound_at
from headway.molecules.notation import SafeTokenizer, SmilesTokenizer
from headway.molecules.notation.smiles import split_smiles
from headway.molecules.tasks import DiffusionModeling
from headway.molecules.tasks.diffusion_modeling import shuffled
from headway.molecules.verbs.filling import share_kept

ENDS = ("FC", "ClC", "BrC", "IC", "NC")
LINKERS = ("C1C2", "C1OC2", "C1SC2", "C1CC2")
TEXTS = [f"{a}1.{middle}.{b}2" for a in ENDS for middle in LINKERS for b in ENDS]
TOKENIZER = SafeTokenizer().extended(sorted({x for text in TEXTS for x in split_smiles(text, "")}))
M = TypeVar("M", bound=LanguageModel)
MASK, DOT = 3, TOKENIZER.numbers["."]
LENGTH = 16


def numbers(text: str) -> list[int]:
    """Returns the numbers of a SAFE as it stands."""
    return [1, *(TOKENIZER.numbers[token] for token in split_smiles(text, "")), 2]


def padded(rows: list[list[int]]) -> tuple[Tensor, Tensor]:
    pad = torch.nn.utils.rnn.pad_sequence
    lengths = torch.tensor([len(row) for row in rows])
    return pad([torch.tensor(row) for row in rows], batch_first=True), lengths


TOKENS, LENGTHS = padded([numbers(text) for text in TEXTS])
SIZES = {"tokenizer": TOKENIZER, "dim": 32, "depth": 2, "heads": 4, "max_length": LENGTH}


def build() -> GenMol:
    return GenMol(block=PreNormBlock, final_norm=True, **SIZES)


def trained(model: M, seed: int, steps: int = 150) -> M:
    """Trains with fragments in any order."""
    torch.manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=steps)
    for _ in range(steps):
        some = torch.randint(len(TEXTS), (48,))
        tokens = shuffled(TOKENS[some], LENGTHS[some], DOT)
        if isinstance(model, GenMol):
            loss = model.bound(tokens, lengths=LENGTHS[some]).sum() / LENGTHS[some].sum()
        else:
            loss = -model.score(tokens, lengths=LENGTHS[some]).sum() / LENGTHS[some].sum()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


def kept(tokens: Tensor, fragments: list[str]) -> float:
    """Returns the share that is one molecule with all fragments."""
    texts = [canonical(TOKENIZER.decode(row)) for row in tokens.tolist()]
    share = share_kept(texts, fragments)
    assert share is not None
    return share


def gap_filled(model: LanguageModel, count: int = 60) -> float:
    """Returns the share that has both ends, where the fragment between them is to be written.

    A model that writes from left to right is asked with what stands in front of the gap.
    """
    shares = []
    for place, (left, right) in enumerate([("FC", "BrC"), ("NC", "IC"), ("ClC", "NC")]):
        generator = torch.Generator().manual_seed(place)
        if isinstance(model, GenMol):
            tokens, _ = padded([numbers(f"{left}1.C1SC2.{right}2")] * count)
            gap = tokens[0].tolist().index(DOT)
            hidden = torch.zeros_like(tokens, dtype=torch.bool)
            hidden[:, gap + 1 : gap + 6] = True
            found = model.fill(tokens, hidden, generator=generator)
        else:
            found = model.generate([numbers(f"{left}1.")[:-1]] * count, generator=generator)
        shares.append(kept(found.tokens, [f"{left}*", f"{right}*"]))
    return sum(shares) / len(shares)


def linked(model: GenMol, order: str = "confidence") -> float:
    """Returns the share of molecules with two given fragments."""
    shares = []
    for place, pair in enumerate([["FC*", "BrC*"], ["NC*", "IC*"], ["ClC*", "NC*"]]):
        how = Unmasking(order=order, randomness=0.5)  # pyright: ignore[reportArgumentType]
        generator = torch.Generator().manual_seed(place)
        found = model.complete(pair, 60, new=4 + place % 2, unmasking=how, generator=generator)
        shares.append(kept(found.tokens, pair))
    return sum(shares) / len(shares)


@pytest.mark.parametrize("seed", [0])
def test_what_stands_on_both_sides_of_a_gap_is_kept_which_left_to_right_is_not_seen(
    seed: int,
) -> None:
    """Over five seeds 0.78 to 0.91 of what fills the gap is a molecule with both ends, against 0.19 to 0.20.

    Left to right would keep both ends if both stood in front. In a chance order 0.76 to 0.87 are linked, by
    confidence 0.90 to 0.94.
    """
    model = trained(build(), seed)
    plain = trained(SafeGPT(**SIZES), seed)
    assert linked(model) > linked(model, "random") + 0.02
    assert linked(model) > 0.6
    assert gap_filled(model) > gap_filled(plain) + 0.3


def test_one_fragment_is_written_anew_and_the_others_stay() -> None:
    torch.manual_seed(0)
    model = GenMol(**{**SIZES, "max_length": 40}).eval()
    smiles = "FCC1CC1OCCBr"
    tokenizer = TOKENIZER.extended(["3", "4"])
    model.set_vocabulary(tokenizer.vocabulary)
    model.set_tokenizer(tokenizer)
    before = model.tokenizer.decode(model.tokenizer.encode(smiles)).split(".")
    found = model.remask(
        [smiles] * 5, fewest=1, most=3, generator=torch.Generator().manual_seed(0), batch_size=2
    )
    for row, length in zip(found.tokens.tolist(), found.lengths.tolist(), strict=True):
        assert row[length - 1] == 2
        text = model.tokenizer.decode(row)
        assert sum(part in text.split(".") for part in before) >= len(before) - 1
    assert len({tuple(row) for row in found.tokens.tolist()}) > 1


def test_a_fragment_without_a_star_is_bound_at_atoms_with_a_hydrogen() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = {text for (text,) in bound_at(["Fc1ccccc1"], 40, generator)}
    assert len(drawn) == 3  # ortho, meta and para
    for text in drawn:
        found = molecule(text)
        assert found is not None
        assert sum(not atom.GetAtomicNum() for atom in found.GetAtoms()) == 1
    assert bound_at(["C*"], 3) == [["C*"]] * 3
    assert bound_at(["c1cc[nH]c1"], 1, generator)[0][0].count("*") == 1
    with pytest.raises(UserError, match="no hydrogen to replace; give it a"):
        bound_at(["FC(F)(F)F"], 1)


def test_fragments_are_shuffled_and_nothing_else() -> None:
    torch.manual_seed(0)
    orders = set()
    for _ in range(30):
        again = shuffled(TOKENS[:3], LENGTHS[:3], DOT)
        for row, other, length in zip(
            again.tolist(), TOKENS[:3].tolist(), LENGTHS[:3].tolist(), strict=True
        ):
            assert row[0] == 1
            assert row[length - 1 :] == other[length - 1 :]
            parts = TOKENIZER.decode(row).split(".")
            assert sorted(parts) == sorted(TOKENIZER.decode(other).split("."))
            orders.add(tuple(parts))
    assert len(orders) == 18
    assert torch.equal(shuffled(TOKENS[:3], LENGTHS[:3], None), TOKENS[:3])


def test_it_is_saved_with_its_lengths_and_the_task_measures_the_same_twice(tmp_path) -> None:
    torch.manual_seed(0)
    model = build().eval()
    model.fit_lengths(LENGTHS.tolist())
    save_pretrained(model, tmp_path)
    again = from_pretrained(tmp_path).eval()
    ways = [
        one.complete(["FC*", "IC*"], 4, generator=torch.Generator().manual_seed(0)).tokens
        for one in (model, again)
    ]
    assert torch.equal(*ways)
    task = DiffusionModeling(backbone=model, optimizer=AdamW(lr=1e-3))
    said = [task.predict_step((TOKENS[:8], LENGTHS[:8]), 3) for _ in range(2)]
    assert torch.equal(*said)


def test_wrong_use_is_said() -> None:
    with pytest.raises(UserError, match="knows no fragments; GenMol takes one of SAFE"):
        GenMol(
            tokenizer=SmilesTokenizer(vocabulary=TOKENIZER.vocabulary, mask=MASK), dim=8, heads=1
        )
    model = build()
    with pytest.raises(UserError, match="at least one fragment"):
        model.complete([], 3)
    with pytest.raises(InputError, match="does not know"):
        model.complete(["P*"], 3)
    with pytest.raises(UserError, match="1 <= fewest <= most"):
        model.remask(["C"], fewest=3, most=2)
    with pytest.raises(UserError, match="are more than the 16"):
        model.remask(["FCC"], fewest=20, most=20)
