"""Says where in a recording each word of a transcript comes from, by attention and by what it rests on."""

import argparse
from collections.abc import Iterator
from typing import Any

from headway.core.cli.job import Job
from headway.core.cli.options import add_plot
from headway.core.cli.progress import progress_bar
from headway.core.errors import InputError, UserError
from headway.speech.explain import check_explainable, names_of, written_from
from headway.speech.verbs.inputs import Item, find_items, read_item
from headway.speech.verbs.loading import load_recogniser

COLUMNS = ["file", "token", "attended", "salient", "agreement", "error"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of ``headway explain`` for recordings."""
    parser.add_argument(
        "inputs", nargs="+", metavar="RECORDING", help="recordings, folders, manifests"
    )
    parser.add_argument(
        "--stretch", type=float, default=0.2, help="seconds that are hidden together"
    )
    parser.add_argument("--masks", type=int, default=64, help="masked copies that are heard")
    parser.add_argument("--seed", type=int, default=0, help="of the masks")
    add_plot(parser, "the first recording")


def run(args: argparse.Namespace) -> int:
    """Writes a row for each token: where attention and saliency are strongest, and how far they agree."""
    job = Job(args, "explain", items="recordings", extra=["plot"])
    items = find_items(args.inputs, job.counts, args.on_invalid)
    model = load_recogniser(args.checkpoint, args.device)
    check_explainable(model, stretch=args.stretch, masks=args.masks)
    scores: list[float] = []
    job.table(COLUMNS, explained(model, items, args, job, scores))
    mean = f"; attention agrees with saliency by {sum(scores) / len(scores):.3f}" if scores else ""
    return job.end(f"explanations written{job.place}{mean}", explained=job.counts.done)


def explained(
    model: Any, items: list[Item], args: argparse.Namespace, job: Job, scores: list[float]
) -> Iterator[dict[str, Any]]:
    """Yields the rows of all recordings, and adds to ``scores`` how far both ways agree in each."""
    with progress_bar("explaining", total=len(items)) as advance:
        for item in items:
            advance(1)
            try:
                waveform = read_item(item, model)
                if isinstance(waveform, InputError):
                    raise waveform
                found = written_from(
                    model, waveform, stretch=args.stretch, masks=args.masks, seed=args.seed
                )
            except UserError as error:
                # What is too long is this recording's fault and not that of the others.
                known = isinstance(error, InputError)
                refused = error if known else InputError(item.shown, str(error))
                job.counts.refuse(refused, args.on_invalid)
                if args.on_invalid == "keep":
                    yield {"file": item.shown, "error": refused.reason}
                continue
            job.counts.done += 1
            names = names_of(model, found.tokens.tolist())
            if names:
                scores.append(found.agreement())
                from headway.speech.figures import explanation_figure

                job.draw(explanation_figure, found, names)
            rows = zip(names, found.attention, found.saliency, found.agreements(), strict=True)
            for name, attention, saliency, agreement in rows:
                middles = [
                    round(found.seconds * (int(part.argmax()) + 0.5), 3)
                    for part in (attention, saliency)
                ]
                yield {
                    "file": item.shown,
                    "token": name,
                    "attended": middles[0],
                    "salient": middles[1],
                    "agreement": round(float(agreement), 4),
                }
