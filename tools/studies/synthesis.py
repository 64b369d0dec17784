"""How well a voice is understood: a recogniser hears what the voice makes of texts that it never learned.

Of the test split of a run's data, texts of five words or more: word errors of the recordings themselves, of
the recordings taken to mel features and back (copy synthesis, which the voice cannot be better than), and of
the voice; and the time that speaking takes, by the CPU.

    python tools/studies/synthesis.py -m RUN --recogniser WHISPER --data MANIFEST [--said MANIFEST]
        [--words 5] [--out FOLDER]

``--said`` has the same recordings with their words, where the run's manifest has phonemes.
"""

import argparse
import time
from pathlib import Path

import soundfile
import torch
from torch import Tensor
from torchaudio.functional import resample

from headway.speech.data import SpeechManifest
from headway.speech.data.manifest import read_manifest
from headway.speech.data.speech_manifest import UtteranceSet
from headway.speech.metrics import normalise, word_errors
from headway.speech.models import Recogniser
from headway.speech.synthesiser import Synthesiser
from headway.speech.tokenizers import text_tokens
from headway.speech.verbs.loading import load_recogniser
from headway.speech.verbs.speak import load_synthesiser
from headway.speech.vocoders import griffin_lim


def held_out(
    voice: Synthesiser, path: str, said: str | None, words: int
) -> list[tuple[str, str, Tensor]]:
    """Returns what is given to the voice, words and sound of the recordings that the recipe tests on.

    Texts with what the voice never learned, such as a phoneme, are left out.
    """
    data = SpeechManifest(path=path, val=0.05, test=0.1, max_seconds=12, on_invalid="skip")
    data.use(voice)
    assert isinstance(data.test_set, UtteranceSet)
    spoken = {} if said is None else {row.audio: row.text for row in read_manifest(Path(said))}
    found = []
    for place, row in enumerate(data.test_set.rows):
        text = row.text or ""
        plain = spoken.get(row.audio) or text
        if len(plain.split()) >= words:
            found.append(
                (text, plain, data.test_set.recording(place, voice.mel.sample_rate).waveform)
            )
    return found


def heard(model: Recogniser, sound: Tensor, rate: int) -> str:
    """Returns what a recogniser hears in a sound of another rate."""
    sound = resample(sound, rate, model.front_end.sample_rate)
    return model.hear(sound[None], search=model.search())[0].text


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("-m", "--model", required=True, help="a run of a voice")
    parser.add_argument("--recogniser", required=True, help="a folder of Whisper or any recogniser")
    parser.add_argument("--data", required=True, help="the manifest that the run was trained on")
    parser.add_argument("--said", help="the same recordings with their words")
    parser.add_argument("--words", type=int, default=5, help="of a text at least (5)")
    parser.add_argument("--out", type=Path, help="folder for the sounds")
    args = parser.parse_args()
    torch.set_num_threads(1)
    voice: Synthesiser = load_synthesiser(args.model, "cpu")
    recogniser = load_recogniser(args.recogniser, "cpu")
    rate = voice.mel.sample_rate
    said: dict[str, list[tuple[str, str]]] = {"recorded": [], "copied": [], "spoken": []}
    taken = seconds = 0.0
    given = held_out(voice, args.data, args.said, args.words)
    for place, (text, plain, sound) in enumerate(given):
        [features], _ = voice.mel(sound[None])
        start = time.process_time()
        tokens = torch.tensor([text_tokens(voice.tokenizer, text)])
        made = voice.speak(tokens, torch.tensor([tokens.shape[1]]))
        spoken = griffin_lim(made.features[0], voice.mel)
        taken += time.process_time() - start
        seconds += len(spoken) / rate
        sounds = {"recorded": sound, "copied": griffin_lim(features, voice.mel), "spoken": spoken}
        for kind, wave in sounds.items():
            said[kind].append(
                (normalise(plain, "english"), normalise(heard(recogniser, wave, rate), "english"))
            )
            if args.out is not None:
                args.out.mkdir(parents=True, exist_ok=True)
                soundfile.write(args.out / f"{place:03d}_{kind}.wav", wave.numpy(), rate)
        print(plain, *(f"{kind}: {said[kind][-1][1]}" for kind in said), sep="\n  ", flush=True)
    for kind, pairs in said.items():
        print(f"{kind:9s} {word_errors(pairs).line('WER')}")
    print(f"{taken / seconds:.3f} CPU seconds for each second of speech ({seconds:.1f} s)")


if __name__ == "__main__":
    main()
