"""Objectives by name: those of GuacaMol (goal-directed, v2 and trivial) and PMO that need RDKit alone."""

from collections.abc import Callable
from functools import partial

from headway.core.cli.nearest import nearest
from headway.core.errors import UserError
from headway.molecules.chemistry import checked
from headway.molecules.properties import logp, polar_surface, weight
from headway.molecules.scoring.base import Scorer
from headway.molecules.scoring.isomers import Isomers
from headway.molecules.scoring.means import ArithmeticMean, GeometricMean
from headway.molecules.scoring.numbers import AtomCount, Property, bertz
from headway.molecules.scoring.patterns import Contains
from headway.molecules.scoring.similarity import Kind, Similarity
from headway.molecules.scoring.transforms import Clipped, Gaussian, MaxGaussian, MinGaussian

_CELECOXIB = "CC1=CC=C(C=C1)C1=CC(=NN1C1=CC=C(C=C1)S(N)(=O)=O)C(F)(F)F"
_TROGLITAZONE = "Cc1c(C)c2OC(C)(COc3ccc(CC4SC(=O)NC4=O)cc3)CCc2c(C)c1O"
_THIOTHIXENE = "CN(C)S(=O)(=O)c1ccc2Sc3ccccc3C(=CCCN4CCN(C)CC4)c2c1"
_ARIPIPRAZOLE = "Clc4cccc(N3CCN(CCCCOc2ccc1c(NC(=O)CC1)c2)CC3)c4Cl"
_ALBUTEROL = "CC(C)(C)NCC(O)c1ccc(O)c(CO)c1"
_MESTRANOL = "COc1ccc2[C@H]3CC[C@@]4(C)[C@@H](CC[C@@]4(O)C#C)[C@@H]3CCc2c1"
_CAMPHOR, _MENTHOL = "CC1(C)C2CCC1(C)C(=O)C2", "CC(C)C1CCC(C)CC1O"
_TADALAFIL = "O=C1N(CC(N2C1CC3=C(C2C4=CC5=C(OCO5)C=C4)NC6=C3C=CC=C6)=O)C"
_SILDENAFIL = "CCCC1=NN(C2=C1N=C(NC2=O)C3=C(C=CC(=C3)S(=O)(=O)N4CCN(CC4)C)OCC)C"
_OSIMERTINIB = "COc1cc(N(C)CCN(C)C)c(NC(=O)C=C)cc1Nc2nccc(n2)c3cn(C)c4ccccc34"
_FEXOFENADINE = "CC(C)(C(=O)O)c1ccc(cc1)C(O)CCCN2CCC(CC2)C(O)(c3ccccc3)c4ccccc4"
_RANOLAZINE = "COc1ccccc1OCC(O)CN2CCN(CC(=O)Nc3c(C)cccc3C)CC2"
_PERINDOPRIL = "O=C(OCC)C(NC(C(=O)N1C(C(=O)O)CC2CCCCC12)C)CCC"
_AMLODIPINE = r"Clc1ccccc1C2C(=C(/N/C(=C2/C(=O)OCC)COCCN)C)\C(=O)OC"
_SITAGLIPTIN = "Fc1cc(c(F)cc1F)CC(N)CC(=O)N3Cc2nnc(n2CC3)C(F)(F)F"
_SITAGLIPTIN_ISOMER = "NC(CC(=O)N1CCn2c(nnc2C(F)(F)F)C1)Cc1cc(F)c(F)cc1F"
_ZALEPLON = "O=C(C)N(CC)C1=CC=CC(C2=CC=NC3=C(C=NN23)C#N)=C1"
_PIOGLITAZONE = "O=C1NC(=O)SC1Cc3ccc(OCCc2ncc(cc2)CC)cc3"
_HOPPED = "CCCOc1cc2ncnc(Nc3ccc4ncsc4c3)c2cc1S(=O)(=O)C(C)(C)C"
_SCAFFOLD = "[#7]-c1n[c;h1]nc2[c;h1]c(-[#8])[c;h0][c;h1]c12"
_DECORATION = "[#7]-c1ccc2ncsc2c1"


def task(name: str) -> Scorer:
    """Returns an objective by name.

    Names are those of PMO, and for what only GuacaMol has, made in the same way. Where the two differ it is
    GuacaMol's: aripiprazole is compared by ECFP4, as its code does, and not by FCFP4.

    Args:
        name: One of ``TASKS``.

    Raises:
        UserError: If there is no such task.

    Source:
        Brown et al. 2019, https://arxiv.org/abs/1811.09621 (GuacaMol), with the values of its code;
        Gao et al. 2022, https://arxiv.org/abs/2206.12411 (PMO).
    """
    if name not in TASKS:
        raise UserError(
            f"there is no task {name!r}{nearest(name, list(TASKS))}; known: {', '.join(TASKS)}"
        )
    return TASKS[name]()


def _alike(target: str, fingerprint: Kind, upper: float | None = None) -> Scorer:
    transform = None if upper is None else Clipped(upper=upper)
    return Similarity(target=target, fingerprint=fingerprint, transform=transform)


def _median(one: str, other: str, fingerprint: Kind) -> Scorer:
    return GeometricMean(scorers=[_alike(one, fingerprint), _alike(other, fingerprint)])


def _osimertinib() -> Scorer:
    other = MinGaussian(mean=0.85, deviation=0.1)
    return GeometricMean(
        scorers=[
            _alike(_OSIMERTINIB, "FCFP4", 0.8),
            Similarity(target=_OSIMERTINIB, fingerprint="ECFP6", transform=other),
            Property(name="TPSA", transform=MaxGaussian(mean=100, deviation=10)),
            Property(name="logP", transform=MinGaussian(mean=1, deviation=1)),
        ]
    )


def _fexofenadine() -> Scorer:
    return GeometricMean(
        scorers=[
            _alike(_FEXOFENADINE, "AP", 0.8),
            Property(name="TPSA", transform=MaxGaussian(mean=90, deviation=10)),
            Property(name="logP", transform=MinGaussian(mean=4, deviation=1)),
        ]
    )


def _ranolazine() -> Scorer:
    return GeometricMean(
        scorers=[
            _alike(_RANOLAZINE, "AP", 0.7),
            Property(name="logP", transform=MaxGaussian(mean=7, deviation=1)),
            AtomCount(element="F", transform=Gaussian(mean=1, deviation=1)),
            Property(name="TPSA", transform=MaxGaussian(mean=95, deviation=20)),
        ]
    )


def _with_rings(target: str, name: str, count: int) -> Scorer:
    rings = Property(name=name, transform=Gaussian(mean=count, deviation=0.5))
    return GeometricMean(scorers=[_alike(target, "ECFP4"), rings])


def _sitagliptin() -> Scorer:
    found = checked(_SITAGLIPTIN, "sitagliptin")
    return GeometricMean(
        scorers=[
            _unlike(_SITAGLIPTIN),
            Property(name="logP", transform=Gaussian(mean=logp(found), deviation=0.2)),
            Property(name="TPSA", transform=Gaussian(mean=polar_surface(found), deviation=5)),
            Isomers(formula="C16H15F6N5O"),
        ]
    )


def _zaleplon() -> Scorer:
    return GeometricMean(scorers=[_alike(_ZALEPLON, "ECFP4"), Isomers(formula="C19H17N3O2")])


def _valsartan() -> Scorer:
    found = checked(_SITAGLIPTIN_ISOMER, "sitagliptin")
    return GeometricMean(
        scorers=[
            Contains(smarts="CN(C=O)Cc1ccc(c2ccccc2)cc1"),
            Property(name="logP", transform=Gaussian(mean=logp(found), deviation=0.2)),
            Property(name="TPSA", transform=Gaussian(mean=polar_surface(found), deviation=5)),
            Property(name="bertz", transform=Gaussian(mean=bertz(found), deviation=30)),
        ]
    )


def _deco_hop() -> Scorer:
    return ArithmeticMean(
        scorers=[
            _alike(_HOPPED, "PHCO", 0.85),
            Contains(smarts="CS([#6])(=O)=O", forbidden=True),
            Contains(smarts=_DECORATION, forbidden=True),
            Contains(smarts=_SCAFFOLD),
        ]
    )


def _scaffold_hop() -> Scorer:
    chain = "[#6]-[#6]-[#6]-[#8]-[#6]~[#6]~[#6]~[#6]~[#6]-"
    return ArithmeticMean(
        scorers=[
            _alike(_HOPPED, "PHCO", 0.75),
            Contains(smarts=chain + _DECORATION),
            Contains(smarts=_SCAFFOLD, forbidden=True),
        ]
    )


def _pioglitazone() -> Scorer:
    mass = weight(checked(_PIOGLITAZONE, "pioglitazone"))
    return GeometricMean(
        scorers=[
            _unlike(_PIOGLITAZONE),
            Property(name="weight", transform=Gaussian(mean=mass, deviation=10)),
            Property(name="rotatable_bonds", transform=Gaussian(mean=2, deviation=0.5)),
        ]
    )


def _cns() -> Scorer:
    return ArithmeticMean(
        scorers=[
            Property(name="TPSA", transform=MinGaussian(mean=90, deviation=30)),
            Property(name="TPSA", transform=MaxGaussian(mean=40, deviation=20)),
            Property(name="hydrogen_donors", transform=MinGaussian(mean=0, deviation=2)),
            Property(name="logP", transform=MinGaussian(mean=5, deviation=1)),
            Property(name="weight", transform=MinGaussian(mean=360, deviation=60)),
        ]
    )


def _unlike(target: str) -> Scorer:
    return Similarity(target=target, transform=Gaussian(mean=0, deviation=0.1))


def _near(name: str, mean: float, deviation: float) -> Scorer:
    return Property(name=name, transform=Gaussian(mean=mean, deviation=deviation))


TASKS: dict[str, Callable[[], Scorer]] = {
    "albuterol_similarity": partial(_alike, _ALBUTEROL, "FCFP4", 0.75),
    "amlodipine_mpo": partial(_with_rings, _AMLODIPINE, "rings", 3),
    "aripiprazole_similarity": partial(_alike, _ARIPIPRAZOLE, "ECFP4", 0.75),
    "celecoxib_rediscovery": partial(_alike, _CELECOXIB, "ECFP4", 1.0),
    "cns_mpo": _cns,
    "deco_hop": _deco_hop,
    "fexofenadine_mpo": _fexofenadine,
    "isomers_c11h24": partial(Isomers, formula="C11H24"),
    "isomers_c7h8n2o2": partial(Isomers, formula="C7H8N2O2"),
    "isomers_c9h10n2o2pf2cl": partial(Isomers, formula="C9H10N2O2PF2Cl"),
    "logp_minus_1": partial(_near, "logP", -1, 1),
    "logp_8": partial(_near, "logP", 8, 1),
    "median1": partial(_median, _MENTHOL, _CAMPHOR, "ECFP4"),
    "median2": partial(_median, _TADALAFIL, _SILDENAFIL, "ECFP6"),
    "mestranol_similarity": partial(_alike, _MESTRANOL, "AP", 0.75),
    "osimertinib_mpo": _osimertinib,
    "perindopril_mpo": partial(_with_rings, _PERINDOPRIL, "aromatic_rings", 2),
    "pioglitazone_mpo": _pioglitazone,
    "qed": partial(Property, name="QED"),
    "ranolazine_mpo": _ranolazine,
    "scaffold_hop": _scaffold_hop,
    "sitagliptin_mpo": _sitagliptin,
    "thiothixene_rediscovery": partial(_alike, _THIOTHIXENE, "ECFP4", 1.0),
    "tpsa_150": partial(_near, "TPSA", 150, 20),
    "troglitazone_rediscovery": partial(_alike, _TROGLITAZONE, "ECFP4", 1.0),
    "valsartan_smarts": _valsartan,
    "zaleplon_mpo": _zaleplon,
}
