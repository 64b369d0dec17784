"""Pictures for people: what was heard where in a recording."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from headway.core.figures import new_figure
from headway.speech.hypothesis import Hypothesis
from headway.speech.synthesiser import Synthesiser

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from headway.speech.explain import WrittenFrom


def transcription_figure(
    features: Tensor,
    heard: Hypothesis,
    *,
    seconds: float,
    said: str | None = None,
) -> "Figure":
    """Draws the spectrogram with the words heard, each where it begins, over the curves of the model.

    Args:
        features: Log-mel features, or samples.
        heard: What was heard.
        seconds: Length of the recording.
        said: What was really said; None if nobody knows.

    Shape:
        features: (T, mels) or (samples,).
    """
    figure = new_figure(max(6.0, min(2.2 * seconds, 16.0)), 4.6 if heard.curves else 3.2)
    rows = 2 if heard.curves else 1
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=[2, 1][:rows])
    above, below = axes[0, 0], axes[-1, 0]
    extent = (0.0, seconds)
    if features.ndim == 2:
        values = features.float().cpu().T.numpy()
        above.imshow(
            values, origin="lower", aspect="auto", cmap="magma", extent=(*extent, 0, len(values))
        )
        above.set_ylabel("mel band")
    else:
        places = [seconds * place / len(features) for place in range(len(features))]
        above.plot(places, features.float().cpu().numpy(), linewidth=0.4, color="tab:blue")
        above.set_ylabel("sample")
    for word in heard.words:
        above.axvline(word.start, color="white", linewidth=0.6, alpha=0.8)
        above.annotate(
            _short(word.text, 16),
            (word.start, 1.01),
            xycoords=("data", "axes fraction"),
            size=9,
            rotation=30,
        )
    for name, values in heard.curves.items():
        times = [(place + 0.5) * seconds / len(values) for place in range(len(values))]
        plain = name.startswith("<")
        colour = {"color": "lightgrey", "zorder": 0} if plain else {}
        below.plot(times, values.numpy(), label=name.strip("<>"), **colour)
    if heard.curves:
        below.set(ylabel="probability", ylim=(0, 1.05))
        below.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), fontsize=6)
    below.set(xlabel="seconds", xlim=extent)
    title = f"heard: {_short(heard.text, 100) or '(nothing)'}"
    if said is not None:
        title += f"\nsaid: {_short(said, 100)}"
    figure.suptitle(title, size=10)
    return figure


def explanation_figure(found: "WrittenFrom", names: Sequence[str]) -> "Figure":
    """Draws attention beside saliency: a row for each token, a column for each stretch of the recording.

    Args:
        found: Both.
        names: What each token says.
    """
    count, stretches = found.attention.shape
    figure = new_figure(
        max(8.0, min(0.25 * stretches + 4, 18.0)), max(3.0, min(0.25 * count + 2, 14.0))
    )
    axes = figure.subplots(1, 2, sharey=True)
    maps = (("attention, mean of all heads", found.attention), ("saliency", found.saliency))
    for axis, (title, values) in zip(axes, maps, strict=True):
        scaled = values / values.amax(dim=1, keepdim=True).clamp_min(1e-12)
        extent = (0.0, stretches * found.seconds, count - 0.5, -0.5)
        axis.imshow(
            scaled.numpy(), aspect="auto", cmap="magma", extent=extent, interpolation="nearest"
        )
        axis.set(title=title, xlabel="seconds")
    axes[0].set_yticks(range(count), [_short(name, 20) for name in names], fontsize=7)
    figure.suptitle(f"each row by its largest value; correlation {found.agreement():.2f}", size=10)
    return figure


def _short(text: str, most: int) -> str:
    """Returns the text, its end cut off where it is longer than a picture has room for."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


@torch.no_grad()
def synthesis_figure(model: Synthesiser, waveform: Tensor, tokens: Tensor, text: str) -> "Figure":
    """Draws a recording above what a model makes of its text, with lines where tokens begin, if it knows.

    Args:
        model: The synthesiser, in evaluation mode.
        waveform: Samples of the recording, where the model is.
        tokens: Tokens of its text.
        text: The text.

    Shape:
        waveform: (S,). tokens: (U,).
    """
    samples, lengths = (torch.tensor([len(row)], device=row.device) for row in (waveform, tokens))
    [recorded], _ = model.front_end(waveform[None], samples)
    owned = model.align(waveform[None], samples, tokens[None], lengths) if model.aligns else None
    made = model.speak(tokens[None], lengths)
    spoken, rate = made.features[0], model.front_end.rate
    longest = max(len(recorded), len(spoken))
    figure = new_figure(max(6.0, min(2.2 * longest / rate, 16.0)), 5.0)
    axes = figure.subplots(2, 1, sharex=True)
    rows = (
        ("recorded" if owned is None else "recorded, aligned", recorded, owned),
        ("spoken by the model", spoken, made.durations),
    )
    for axis, (name, features, steps) in zip(axes, rows, strict=True):
        values = features.float().cpu().T.numpy()
        extent = (0, len(features) / rate, 0, len(values))
        axis.imshow(values, origin="lower", aspect="auto", cmap="magma", extent=extent)
        for border in [] if steps is None else steps[0].cumsum(0).tolist()[:-1]:
            axis.axvline(border / rate, color="white", linewidth=0.5, alpha=0.7)
        axis.set(title=name, ylabel="mel band", xlim=(0, longest / rate))
    axes[-1].set_xlabel("seconds")
    figure.suptitle(_short(text, 100), size=10)
    return figure
