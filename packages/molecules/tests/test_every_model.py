"""Every model of the domain, copied, moved, saved and exported with a free batch and free length."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from headway.core.language import SPECIALS
from headway.core.testing.models import Case, check_copies, check_graph
from headway.molecules import models
from headway.molecules.chemistry import checked
from headway.molecules.graphs import affinity_graph, collate, collate_affinity, graph
from headway.molecules.models import (
    GSM,
    DrugGen,
    FoldingDiff,
    GenMol,
    GPMoLFormer,
    Graphormer,
    GraphPredictor,
    JointTransformer,
    Llama,
    LLamol,
    MatterGPT,
    MoLFormer,
    PropertyPredictor,
    RegressionTransformer,
    SafeGPT,
)
from headway.molecules.notation import PropertyTokenizer, SafeTokenizer, SmilesTokenizer


def tokens(batch: int, length: int) -> tuple[Tensor]:
    generator = torch.Generator().manual_seed(length)
    return (torch.randint(0, 6, (batch, length), generator=generator),)


def llama() -> Llama:
    return Llama(
        tokenizer=SmilesTokenizer(vocabulary=(*SPECIALS, *"CNO")),
        dim=16,
        depth=2,
        heads=2,
        max_length=24,
    )


def small(make, **options):
    """Returns what builds a small model."""
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, "<mask>", *"CNO"), mask=3)
    return partial(make, tokenizer=tokenizer, dim=16, depth=2, heads=2, **options)


def gp_molformer() -> GPMoLFormer:
    return GPMoLFormer(
        tokenizer=SmilesTokenizer(vocabulary=(*SPECIALS, *"CNO")),
        dim=16,
        depth=2,
        heads=2,
        max_length=24,
    )


def druggen() -> DrugGen:
    return DrugGen(dim=16, depth=2, heads=2, max_length=24)


def graphs(batch: int, atoms: int) -> tuple[Tensor, ...]:
    chain = graph(checked("C" * atoms, "chain"))
    return tuple(part[:batch] for part in collate([chain] * max(1, batch)))


def molformer() -> MoLFormer:
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, *"CNO"))
    return MoLFormer(tokenizer=tokenizer, dim=16, depth=2, heads=2, max_length=24)


def graphormer() -> Graphormer:
    return Graphormer(dim=16, depth=2, heads=2)


def affinity_graphs(batch: int, atoms: int) -> tuple[Tensor, ...]:
    chain = affinity_graph(checked("C" * atoms, "chain"))
    return tuple(part[:batch] for part in collate_affinity([chain] * max(1, batch)))


def gsm() -> GSM:
    return GSM(dim=16, heads=2)


def chains(batch: int, length: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(length)
    return torch.randn(batch, length, 6, generator=generator), torch.full((batch,), 3)


def folding_diff() -> FoldingDiff:
    return FoldingDiff(dim=16, depth=2, heads=2, max_length=24)


def property_predictor() -> PropertyPredictor:
    return PropertyPredictor(
        backbone=llama(), properties={"logP": "regression", "toxic": "classification"}
    )


def graph_predictor() -> GraphPredictor:
    return GraphPredictor(backbone=graphormer(), properties={"logP": "regression"})


def molecules_with_numbers(batch: int, length: int) -> tuple[Tensor, Tensor]:
    front = torch.randint(4, 9, (batch, 7), generator=torch.Generator().manual_seed(length))
    return front, tokens(batch, length)[0]


def regression_transformer() -> RegressionTransformer:
    tokenizer = PropertyTokenizer(properties={"QED": "0.000"}).extended("CNO")
    return RegressionTransformer(tokenizer=tokenizer, dim=16, depth=2, heads=2)


def of_fragments(make, **options):
    """Returns what builds a small model of SAFE."""
    tokenizer = SafeTokenizer().extended("CNO")
    return partial(make, tokenizer=tokenizer, dim=16, depth=2, heads=2, max_length=24, **options)


SIZES = {"inputs": tokens, "sizes": (9, 4, 20)}
CASES = {
    "DrugGen": Case(make=druggen, **SIZES),
    "JointTransformer": Case(make=small(JointTransformer, max_length=24), **SIZES),
    "GenMol": Case(make=of_fragments(GenMol), **SIZES),
    "SafeGPT": Case(make=of_fragments(SafeGPT, properties=2, summary_dim=4), **SIZES),
    "LLamol": Case(make=small(LLamol, max_length=24), **SIZES),
    "Llama": Case(make=llama, **SIZES),
    "MatterGPT": Case(make=small(MatterGPT, max_length=24, properties=("gap",)), **SIZES),
    "RegressionTransformer": Case(
        make=regression_transformer, inputs=molecules_with_numbers, sizes=(9, 4, 20)
    ),
    "GraphPredictor": Case(make=graph_predictor, inputs=graphs, sizes=(9, 4, 20)),
    # In bfloat16 the waves of the steps are others.
    "FoldingDiff": Case(make=folding_diff, inputs=chains, sizes=(9, 4, 20), narrow=False),
    "GPMoLFormer": Case(make=gp_molformer, inputs=tokens, sizes=(9, 4, 20)),
    "MoLFormer": Case(make=molformer, inputs=tokens, sizes=(9, 4, 20)),
    "Graphormer": Case(make=graphormer, inputs=graphs, sizes=(9, 4, 20)),
    "GSM": Case(make=gsm, inputs=affinity_graphs, sizes=(9, 4, 20)),
    "PropertyPredictor": Case(make=property_predictor, inputs=tokens, sizes=(9, 4, 20)),
}


def test_every_model_has_a_case() -> None:
    assert CASES.keys() >= set(models.list_models())


@pytest.mark.parametrize("name", CASES)
def test_copies_of_a_model_answer_as_it_does(name: str, tmp_path: Path) -> None:
    check_copies(CASES[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_exports_with_free_sizes(name: str, tmp_path: Path) -> None:
    check_graph(CASES[name], tmp_path / "model.pt2")
