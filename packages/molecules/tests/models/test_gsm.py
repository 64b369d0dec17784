"""GSM++: its tree, its parts, and that the hybrid does what recurrence and attention each do alone."""

import itertools

import numpy as np
import pytest
import torch
from rdkit import Chem
from torch import Tensor, nn
from torch.nn import functional as F

from headway.core.errors import UserError
from headway.molecules.chemistry import checked
from headway.molecules.graphs import AffinityGraph, affinity_graph, collate_affinity
from headway.molecules.graphs.affinity import Edge, affinity_levels, tree_order
from headway.molecules.models import GSM

MOLECULES = ["CC(=O)Nc1ccc(O)cc1", "CCO.Cl", "C", "CC[C@H](F)/C=C/C#N"]
BOTH, SCANS, ATTENTION = (1, 2), (3, 0), (0, 3)
"""Recurrent blocks and blocks of attention, three in all."""


def read(smiles: str) -> AffinityGraph:
    return affinity_graph(checked(smiles, smiles))


def build(**options) -> GSM:
    torch.manual_seed(0)
    model = GSM(dim=16, heads=4, **options).double().eval()
    with torch.no_grad():
        for value in model.bias.parameters() if model.bias else ():
            value.normal_()
    return model


def test_what_is_most_alike_is_joined_first() -> None:
    # A path of five nodes: 0-1 and 3-4 are alike, 2 is a little more like 3.
    edges = [Edge(0, 1, 9), Edge(1, 2, 1), Edge(2, 3, 2), Edge(3, 4, 9)]
    levels = affinity_levels([4, 3, 2, 1, 0], edges)
    assert levels[0] == [3, 3, 0, 0, 0]
    assert levels[1] == [0, 0, 0, 0, 0] == levels[-1]
    assert tree_order([4, 3, 2, 1, 0], levels) == [4, 3, 2, 1, 0]


def test_what_is_alike_stands_side_by_side() -> None:
    """Of a chain whose ends are alike to their neighbours each cluster is one stretch of the sequence."""
    item = read("FC(F)(F)CCCCc1ccncc1C(=O)OCC")
    for level in item.clusters.T.tolist():
        stretches = [one for one, _ in itertools.groupby(level)]
        assert len(stretches) == len(set(stretches))


@pytest.mark.parametrize("smiles", MOLECULES)
def test_the_order_of_atoms_changes_nothing(smiles: str) -> None:
    molecule = checked(smiles, smiles)
    order = np.random.default_rng(0).permutation(molecule.GetNumAtoms()).tolist()
    model = build()
    found = model(*collate_affinity([read(smiles), affinity_graph(_renumbered(molecule, order))]))
    torch.testing.assert_close(found[0, 0], found[1, 0])


def _renumbered(molecule: Chem.Mol, order: list[int]) -> Chem.Mol:
    return Chem.RenumberAtoms(molecule, order)


def test_padding_changes_nothing() -> None:
    model = build()
    alone = model(*collate_affinity([read("CCO")]))
    both = model(*collate_affinity([read("CCO"), read("c1ccccc1CC(C)(C)CCCC")]))
    torch.testing.assert_close(both[0, :4], alone[0])


def test_a_bond_reaches_its_two_atoms_alone() -> None:
    """The local encoding by hand, atom by atom."""
    layer, item = build().local[0], read("CC(=O)O")
    torch.manual_seed(1)
    x = torch.randn(1, 4, 16).double()
    links = torch.randn(1, *item.neighbours.shape, 16).double()
    found = layer(x, item.neighbours[None], links)
    for atom in range(4):
        total = layer.own(x[0, atom])
        for place, other in enumerate(item.neighbours[atom].tolist()):
            if other:
                gate = layer.gate_own(x[0, atom]) + layer.gate_other(x[0, other - 1])
                gate = (gate + layer.gate_link(links[0, atom, place])).sigmoid()
                total = total + gate * layer.other(x[0, other - 1])
        torch.testing.assert_close(found[0, atom], x[0, atom] + layer.norm(total).relu())


def test_the_bias_knows_the_round() -> None:
    model = build()
    assert model.bias is not None
    clusters = torch.tensor([[[0] * 8, [0] * 8, [2, *[0] * 7], [3, *[3] * 7]]])
    whole = torch.tensor([[False, False, False, False, True]])
    found = model.bias(clusters, whole)[0].permute(1, 2, 0)
    rounds = [[0, 1, 2, 9, 10], [1, 0, 2, 9, 10], [2, 2, 0, 9, 10], [9, 9, 9, 0, 10], [10] * 5]
    torch.testing.assert_close(found, model.bias.round.weight[torch.tensor(rounds)])


def test_wrong_use_says_so() -> None:
    with pytest.raises(UserError, match="give one block at least"):
        GSM(recurrent_depth=0, attention_depth=0)
    with pytest.raises(UserError, match="set levels to 8"):
        build(levels=4)(*collate_affinity([read("CCO")]))
    with pytest.raises(UserError, match="at least 0"):
        GSM(local_depth=-1)


def atoms_alone(atoms: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
    """Atoms without bonds, so that nothing but the global blocks can answer."""
    some = atoms.shape[:2]
    nothing = [atoms.new_zeros(*some, *rest) for rest in ((1,), (1, 3), (8,))]
    return atoms, *nothing, lengths


def changes(generator: torch.Generator, count: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """Atoms of two kinds; asked is how often the next is of the other kind."""
    lengths = torch.randint(6, 13, (count,), generator=generator)
    share = 0.2 + 0.6 * torch.rand(count, 1, generator=generator)
    kind = (torch.rand(count, 12, generator=generator) < share).long()
    real = torch.arange(12) < lengths[:, None]
    asked = ((kind[:, 1:] != kind[:, :-1]) & real[:, 1:]).sum(dim=1)
    return atoms_alone(((1 + kind) * real)[..., None], lengths), asked / 4


def lookup(generator: torch.Generator, count: int) -> tuple[tuple[Tensor, ...], Tensor]:
    """Five atoms with a key and a value, and one with a key alone; asked is the value of that key."""
    rows = torch.arange(count)
    keys = torch.rand(count, 6, generator=generator).argsort(dim=1)[:, :5]
    values = torch.randint(0, 2, (count, 5), generator=generator)
    wanted = torch.randint(5, (count,), generator=generator)
    keys = torch.cat([keys, keys[rows, wanted, None]], dim=1)
    seen = torch.cat([values, torch.full((count, 1), 2)], dim=1)
    order = torch.rand(count, 6, generator=generator).argsort(dim=1)
    atoms = torch.stack([1 + keys, 7 + seen], dim=-1)
    atoms = atoms.gather(1, order[..., None].expand(-1, -1, 2))
    return atoms_alone(atoms, torch.full((count,), 6)), values[rows, wanted].float()


def right(task, blocks: tuple[int, int], *, steps: int, dim: int, seed: int = 0) -> float:
    """Returns which share of the answers is right after training."""
    torch.manual_seed(seed)
    recurrent, attention = blocks
    model = GSM(
        dim=dim,
        heads=4,
        local_depth=0,
        recurrent_depth=recurrent,
        attention_depth=attention,
        atom_values=16,
        bond_values=4,
    )
    head = nn.Linear(dim, 1)
    optimizer = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=steps)
    loss_of = F.mse_loss if task is changes else F.binary_cross_entropy_with_logits
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        inputs, asked = task(generator, 64)
        loss = loss_of(head(model(*inputs)[:, 0])[:, 0], asked)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        inputs, asked = task(torch.Generator().manual_seed(99), 1000)
        said = head(model.eval()(*inputs)[:, 0])[:, 0]
    agree = (4 * said).round() == 4 * asked if task is changes else (said > 0) == (asked > 0)
    return agree.float().mean().item()


def test_the_hybrid_sees_the_order() -> None:
    assert right(changes, BOTH, steps=200, dim=24) > 0.8


def test_attention_alone_does_not() -> None:
    """Three blocks as well, and as many steps."""
    assert right(changes, ATTENTION, steps=200, dim=24) < 0.55


def test_the_hybrid_looks_things_up() -> None:
    assert right(lookup, BOTH, steps=320, dim=32) > 0.9


def test_recurrence_alone_does_not() -> None:
    """Three blocks as well, and as many steps."""
    assert right(lookup, SCANS, steps=320, dim=32) < 0.8
