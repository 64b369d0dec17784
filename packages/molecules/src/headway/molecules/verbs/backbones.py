"""Generates backbones of proteins and writes them as PDB files."""

import argparse

import torch
from torch import Tensor

from headway.core.cli.job import Job
from headway.core.cli.loading import load_model
from headway.core.cli.options import add_plot, check_positive, check_seed, refuse_to_overwrite
from headway.core.cli.progress import progress_bar
from headway.molecules.backbone_figures import ramachandran_figure
from headway.molecules.models import FoldingDiff
from headway.molecules.proteins import coordinates_of, write_backbone


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway backbones``."""
    parser.add_argument("-n", "--count", type=int, default=10, help="backbones (10)")
    parser.add_argument("--length", type=int, default=64, help="residues of each (64)")
    parser.add_argument("--steps", type=int, help="steps of the sampler (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the random draws (0)")
    parser.add_argument("--batch-size", type=int, default=32, help="backbones at a time (32)")
    add_plot(parser, "phi and psi")


def run(args: argparse.Namespace) -> int:
    """Writes one PDB file per backbone, N, CA and C of glycines."""
    check_positive(args, "count", "length", "batch_size")
    check_seed(args.seed)
    job = Job(args, "generate with", out="folder", extra=["plot"])
    names = [f"backbone_{place:04d}.pdb" for place in range(1, args.count + 1)]
    assert job.path is not None
    for name in names:
        refuse_to_overwrite(job.path / name, overwrite=args.overwrite)
    remedy = "which makes no backbones; train one with headway fit -c molecules/folding_diff"
    model, _ = load_model(args.checkpoint, args.device, FoldingDiff, remedy)
    angles = generate(model, args)
    with job.folder() as folder:
        for name, chain in zip(names, angles, strict=True):
            write_backbone(coordinates_of(chain.double()), folder / name)
    inner = torch.cat([chain[1:-1] for chain in angles])
    job.draw(ramachandran_figure, {"generated": inner})
    said = f"{args.count} backbones of {args.length} residues, written{job.place}"
    job.say(said, {"backbones": args.count, "residues": args.length})
    return 0


def generate(model: FoldingDiff, args: argparse.Namespace) -> Tensor:
    """Makes backbones up, a batch at a time, (count, length, 6)."""
    generator = torch.Generator(model.mean.device).manual_seed(args.seed)
    made = []
    with progress_bar("generating", total=args.count) as advance:
        for start in range(0, args.count, args.batch_size):
            size = min(args.batch_size, args.count - start)
            lengths = torch.full((size,), args.length)
            made.append(model.sample(lengths, steps=args.steps, generator=generator).cpu())
            advance(size)
    return torch.cat(made)
