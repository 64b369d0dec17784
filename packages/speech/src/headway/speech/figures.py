"""Pictures for people: what was heard where in a recording."""

from typing import TYPE_CHECKING

from torch import Tensor

from headway.core.figures import new_figure
from headway.speech.data.tokenizer import Tokenizer
from headway.speech.decoding import Hypothesis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Entries drawn with a colour and a name of their own.
SHOWN = 12


def transcription_figure(
    features: Tensor,
    log_probs: Tensor,
    heard: Hypothesis,
    tokenizer: Tokenizer,
    *,
    seconds: float,
    said: str | None = None,
) -> "Figure":
    """Draws the spectrogram with the entries heard, each where it begins, over their probabilities.

    Args:
        features: Log-mel features, or samples.
        log_probs: Log-probabilities at the tokens of the encoder.
        heard: What was decoded of them.
        tokenizer: The vocabulary.
        seconds: Length of the recording.
        said: What was really said; None if nobody knows.

    Shape:
        features: (T, mels) or (samples,). log_probs: (T', V).
    """
    figure = new_figure(max(6.0, min(2.2 * seconds, 16.0)), 4.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
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
    probabilities = log_probs.float().cpu().exp()
    step = seconds / len(probabilities)
    times = [(place + 0.5) * step for place in range(len(probabilities))]
    for entry, frame in zip(heard.entries, heard.frames, strict=True):
        name = tokenizer.tokens[entry].replace(" ", "␣")
        above.axvline(frame * step, color="white", linewidth=0.6, alpha=0.8)
        above.annotate(
            name, (frame * step, 1.01), xycoords=("data", "axes fraction"), size=9, rotation=30
        )
    for entry in list(dict.fromkeys(heard.entries))[:SHOWN]:
        below.plot(times, probabilities[:, entry].numpy(), label=tokenizer.tokens[entry])
    blank = probabilities[:, tokenizer.blank].numpy()
    below.plot(times, blank, color="lightgrey", label="blank", zorder=0)
    below.set(xlabel="seconds", ylabel="probability", xlim=extent, ylim=(0, 1.05))
    below.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), fontsize=6)
    title = f"heard: {tokenizer.decode(heard.entries) or '(nothing)'}"
    if said is not None:
        title += f"\nsaid: {said}"
    figure.suptitle(title, size=10)
    return figure
