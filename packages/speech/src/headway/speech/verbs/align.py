"""Writes where the tokens of texts are in their recordings, by what a synthesiser has learned."""

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from headway.core.cli.counts import Counts, Policy
from headway.core.cli.job import Job
from headway.core.cli.options import add_plot
from headway.core.cli.progress import progress_bar
from headway.core.errors import InputError
from headway.speech.data.audio import AudioError
from headway.speech.synthesiser import Synthesiser
from headway.speech.tokenizers import text_tokens
from headway.speech.verbs.inputs import Item, add_columns, find_items, parse_columns, read_item
from headway.speech.verbs.speak import load_synthesiser

COLUMNS = ["file", "token", "start", "end", "error"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway align``."""
    parser.add_argument(
        "inputs", nargs="+", metavar="MANIFEST", help="tables of recordings with texts"
    )
    add_columns(parser)
    add_plot(parser, "the first recording")


def run(args: argparse.Namespace) -> int:
    """Writes a row for each token: where it begins and ends, in seconds."""
    job = Job(args, "align with", items="recordings", extra=["plot"])
    columns = parse_columns(args.columns)
    items = find_items(args.inputs, job.counts, args.on_invalid, columns=columns)
    model = load_synthesiser(args.checkpoint, args.device)
    rows = align(model, items, counts=job.counts, on_invalid=args.on_invalid, job=job)
    job.table(COLUMNS, rows)
    return job.end(f"alignments written{job.place}", aligned=job.counts.done)


@torch.inference_mode()
def align(
    model: Synthesiser,
    items: Sequence[Item],
    *,
    counts: Counts,
    on_invalid: Policy = "raise",
    job: Job | None = None,
) -> Iterator[dict[str, Any]]:
    """Yields one row per token.

    Args:
        model: The synthesiser.
        items: The recordings.
        counts: Is told what became of each recording.
        on_invalid: What happens to a recording that cannot be used; ``keep`` writes a row with the error.
        job: Draws the first recording.
    """
    rate, tokenizer = model.front_end.rate, model.tokenizer
    with progress_bar("aligning", total=len(items)) as advance:
        for item in items:
            advance(1)
            waveform = read_item(item, model)
            try:
                if isinstance(waveform, InputError):
                    raise waveform
                tokens = text_tokens(tokenizer, item.row.text or "", item.shown)
                needed, made = model.needed(tokens), model.tokens_of(len(waveform))
                if made < needed:
                    raise AudioError(item.shown, f"{made} steps are too few for {needed} tokens")
            except InputError as error:
                counts.refuse(error, on_invalid)
                if on_invalid == "keep":
                    yield {"file": item.shown, "error": error.reason}
                continue
            counts.done += 1
            samples, lengths = torch.tensor([len(waveform)]), torch.tensor([len(tokens)])
            row, place = torch.tensor([tokens]), model.device
            owned = model.align(
                waveform[None].to(place), samples.to(place), row.to(place), lengths.to(place)
            )[0].tolist()
            if job is not None:
                # By its full path here: matplotlib loads only where something is drawn.
                from headway.speech.figures import synthesis_figure

                text = item.row.text or ""
                job.draw(synthesis_figure, model, waveform.to(place), row[0].to(place), text)
            ends = torch.tensor(owned).cumsum(0).tolist()
            # The silence at both ends has a token of its own.
            names = [tokenizer.vocabulary[token] for token in tokens]
            for name, steps, end in zip(names, owned[1:-1], ends[1:-1], strict=True):
                begin = (end - steps) / rate
                yield {
                    "file": item.shown,
                    "token": name,
                    "start": round(begin, 4),
                    "end": round(end / rate, 4),
                }
