"""Scores of molecules from 0 to 1: numbers, likeness, patterns, models, and objectives made of them."""

from headway.molecules.scoring.affinity import Affinity, PairFunction, PairPredictor
from headway.molecules.scoring.base import Scored, Scorer
from headway.molecules.scoring.isomers import Isomers
from headway.molecules.scoring.means import ArithmeticMean, GeometricMean
from headway.molecules.scoring.models import Function, Predicted, Predictor
from headway.molecules.scoring.numbers import AtomCount, Property
from headway.molecules.scoring.objectives import read_objective
from headway.molecules.scoring.oracle import Answer, Oracle, pair_key, parted
from headway.molecules.scoring.patterns import Contains, NoAlerts
from headway.molecules.scoring.similarity import Similarity
from headway.molecules.scoring.tasks import TASKS, task
from headway.molecules.scoring.transforms import (
    Clipped,
    DoubleSigmoid,
    Gaussian,
    MaxGaussian,
    MinGaussian,
    ReverseSigmoid,
    Sigmoid,
    Step,
    Transform,
)

__all__ = [
    "TASKS",
    "Affinity",
    "Answer",
    "ArithmeticMean",
    "AtomCount",
    "Clipped",
    "Contains",
    "DoubleSigmoid",
    "Function",
    "Gaussian",
    "GeometricMean",
    "Isomers",
    "MaxGaussian",
    "MinGaussian",
    "NoAlerts",
    "Oracle",
    "PairFunction",
    "PairPredictor",
    "Predicted",
    "Predictor",
    "Property",
    "ReverseSigmoid",
    "Scored",
    "Scorer",
    "Sigmoid",
    "Similarity",
    "Step",
    "Transform",
    "pair_key",
    "parted",
    "read_objective",
    "task",
]
