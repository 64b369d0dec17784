"""Molecules as graphs: atoms, bonds, the shortest ways between atoms, and the tree of what is alike."""

from headway.molecules.graphs.affinity_graph import (
    AffinityGraph,
    AffinityGraphs,
    affinity_graph,
    collate_affinity,
)
from headway.molecules.graphs.batch import Graphs, collate
from headway.molecules.graphs.forms import FORMS, GraphForm
from headway.molecules.graphs.molecular_graph import MolecularGraph, graph

__all__ = [
    "FORMS",
    "AffinityGraph",
    "AffinityGraphs",
    "GraphForm",
    "Graphs",
    "MolecularGraph",
    "affinity_graph",
    "collate",
    "collate_affinity",
    "graph",
]
