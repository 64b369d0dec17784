"""Molecules as graphs: atoms, bonds, and the shortest ways between atoms."""

from headway.molecules.graphs.batch import Graphs, collate
from headway.molecules.graphs.molecular_graph import MolecularGraph, graph

__all__ = ["Graphs", "MolecularGraph", "collate", "graph"]
