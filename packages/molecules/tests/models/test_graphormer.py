"""Graphormer: equal to its formulas written out, and it sees what atoms and degrees alone do not say."""

import itertools
import math

import numpy as np
import pytest
import torch
from rdkit import Chem
from torch import Tensor

from headway.molecules.chemistry import checked
from headway.molecules.graphs import Graphs, MolecularGraph, collate, graph
from headway.molecules.graphs.paths import UNREACHABLE, shortest_paths
from headway.molecules.models import Graphormer

# A ring, a path with several shortest ways, two molecules in one, an atom alone.
MOLECULES = ["CC(=O)Nc1ccc(O)cc1", "C1CC2CCC1C2", "CCO.Cl", "C", "CC[C@H](F)/C=C/C#N"]


def build(**options) -> Graphormer:
    torch.manual_seed(0)
    model = Graphormer(dim=16, depth=2, heads=4, **options).double().eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.normal_(std=0.3)
            if value.ndim == 2 and name.removesuffix(".weight") in TABLES:
                value[0] = 0
    return model


TABLES = ("atom", "in_degree", "out_degree", "bias.distance", "bias.bond")


def read(smiles: str) -> MolecularGraph:
    return graph(checked(smiles, smiles))


def floyd_warshall(adjacency: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The algorithm as it is written down."""
    count = len(adjacency)
    distance = np.where(adjacency, 1, UNREACHABLE)
    np.fill_diagonal(distance, 0)
    between = np.full((count, count), -1)
    for k in range(count):
        for i in range(count):
            for j in range(count):
                if distance[i, k] + distance[k, j] < distance[i, j]:
                    distance[i, j] = distance[i, k] + distance[k, j]
                    between[i, j] = k
    return distance, between


def way(between: np.ndarray, start: int, end: int) -> list[int]:
    middle = between[start, end]
    if middle == -1:
        return []
    return [*way(between, start, middle), int(middle), *way(between, middle, end)]


@pytest.mark.parametrize("smiles", [*MOLECULES, "C1CC2CC1C2C1CCC2CC2C1"])
def test_ways_are_those_of_floyd_and_warshall(smiles: str) -> None:
    adjacency = np.array(Chem.GetAdjacencyMatrix(checked(smiles, smiles)), dtype=bool)
    found = shortest_paths(adjacency, 5)
    distance, between = floyd_warshall(adjacency)
    assert (found.distances == distance).all()
    for start, end in np.ndindex(distance.shape):
        nodes = [int(node) for node in found.nodes[start, end] if node >= 0]
        if distance[start, end] in (0, UNREACHABLE):
            assert nodes == []
        else:
            assert nodes == [*way(between, start, end), end][:5]


def bias_by_hand(model: Graphormer, smiles: str) -> Tensor:
    """Equations 6 and 7, pair by pair."""
    molecule, part = checked(smiles, smiles), model.bias
    assert part is not None
    atoms = molecule.GetNumAtoms()
    distance, between = floyd_warshall(np.array(Chem.GetAdjacencyMatrix(molecule), dtype=bool))
    bonds = read(smiles).bonds
    bias = part.to_graph.detach().expand(atoms + 1, atoms + 1, 4).clone()
    for i, j in np.ndindex(distance.shape):
        value = part.distance.weight[distance[i, j] + 1]
        if 0 < distance[i, j] < UNREACHABLE:
            nodes = [i, *way(between, i, j), j]
            steps = [
                part.bond.weight[bonds[molecule.GetBondBetweenAtoms(a, b).GetIdx() + 1]].mean(0)
                for a, b in itertools.pairwise(nodes)
            ][:5]
            seen = [step @ part.hop[place] for place, step in enumerate(steps)]
            value = value + torch.stack(seen).sum(0) / len(steps)
        bias[i + 1, j + 1] = value
    return bias.permute(2, 0, 1)


@pytest.mark.parametrize("smiles", MOLECULES)
def test_the_bias_is_its_equations(smiles: str) -> None:
    model, batch = build(), collate([read(smiles), read("c1ccccc1CCCCCC")])
    assert model.bias is not None
    found = model.bias(batch.distances, batch.bonds, batch.hops)[0]
    wanted = bias_by_hand(model, smiles)
    size = wanted.shape[-1]
    torch.testing.assert_close(found[:, :size, :size], wanted)


def test_the_model_is_its_formulas() -> None:
    """The reference: scores, softmax and norms written out. The published code, with its weights copied (of
    transformers 4.41, both places of the norm), differed by 2e-15."""
    model = build()
    smiles = MOLECULES[0]
    item = read(smiles)
    x = model.atom.weight[item.atoms].sum(1)
    x = x + model.in_degree.weight[item.degrees] + model.out_degree.weight[item.degrees]
    x, bias = torch.cat([model.graph_token[None], x]), bias_by_hand(model, smiles)
    for block in model.encoder.blocks:
        mixer, forward = block.mixer.function, block.feedforward.function
        query, key, value = (
            part.unflatten(-1, (4, 4)).transpose(0, 1) for part in mixer.qkv(x).chunk(3, dim=-1)
        )
        scores = query @ key.mT / 2 + bias
        mixed = (scores.softmax(-1) @ value).transpose(0, 1).flatten(1)
        x = block.mixer.norm(x + mixer.projection(mixed))
        hidden = forward.fc1(x)
        x = block.feedforward.norm(
            x + forward.fc2(hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2)
        )
    hidden = model.transform(x)
    wanted = model.norm(hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2)
    found = model(*collate([item, read("CCCCCCCCCCCCCCC")]))[0, : len(wanted)]
    torch.testing.assert_close(found, wanted)


def test_structure_is_seen_by_the_biases_alone() -> None:
    """Two fused rings and two joined ones: the same atoms with the same neighbours."""
    items = [read("C1CCC2CCCCC2C1"), read("C1CCC(C1)C1CCCC1")]
    model = build()
    fused, joined = model(*collate(items))[:, 0]
    assert (fused - joined).abs().max() > 1e-6
    fused, joined = build(distances=None)(*collate(items))[:, 0]
    torch.testing.assert_close(fused, joined, rtol=0, atol=1e-12)


def test_the_order_of_atoms_changes_nothing() -> None:
    molecule = checked(
        "CC(=O)Nc1ccc(O)cc1", "x"
    )  # one shortest way wherever there are bonds of two kinds
    order = np.random.default_rng(0).permutation(molecule.GetNumAtoms()).tolist()
    model = build()
    found = model(*collate([graph(molecule), graph(Chem.RenumberAtoms(molecule, order))]))
    torch.testing.assert_close(found[0, 0], found[1, 0])


def test_padding_changes_nothing() -> None:
    model = build()
    alone = model(*collate([read("CCO")]))
    both = model(*collate([read("CCO"), read("c1ccccc1CCCCCC")]))
    torch.testing.assert_close(both[0, :4], alone[0])
    assert isinstance(collate([read("C")]), Graphs)
