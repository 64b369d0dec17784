"""How near a vocoder comes to recordings whose mel features it is given, beside Griffin-Lim.

Of the test split of the recipe ``speech/hifi_gan``: the error of log-mel bands, the log-spectral distance (in
tens of decibels), CPU seconds for each second of sound, and, with ``--recogniser``, its word errors where the
manifest has texts of five words or more.

    python tools/studies/copy_synthesis.py -m RUN --data MANIFEST [--recogniser WHISPER] [--out FOLDER]
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import soundfile
import torch
from torch import Tensor
from torchaudio.functional import resample

from headway.speech.data import SpeechManifest
from headway.speech.data.speech_manifest import UtteranceSet
from headway.speech.losses import log_spectral_distance
from headway.speech.metrics import normalise, word_errors
from headway.speech.models import Recogniser
from headway.speech.sound_model import SoundModel
from headway.speech.verbs.loading import load_recogniser
from headway.speech.verbs.renew import load_sound_model
from headway.speech.vocoders import griffin_lim


def heard(model: Recogniser, sound: Tensor, rate: int) -> str:
    """Returns what a recogniser hears in a sound of another rate, normalised."""
    sound = resample(sound, rate, model.front_end.sample_rate)
    return normalise(model.hear(sound[None], search=model.search())[0].text, "english")


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("-m", "--model", required=True, help="a run of a vocoder")
    parser.add_argument("--data", required=True, help="the manifest that the run was trained on")
    parser.add_argument("--recogniser", help="a folder of Whisper or any recogniser")
    parser.add_argument("--out", type=Path, help="folder for the sounds")
    args = parser.parse_args()
    torch.set_num_threads(1)
    model: SoundModel = load_sound_model(args.model, "cpu")
    mel, rate = model.mel, model.mel.sample_rate
    recogniser = None if args.recogniser is None else load_recogniser(args.recogniser, "cpu")
    data = SpeechManifest(path=args.data, val=0.05, test=0.1, need_text=False, split_by="recording")
    data.use(model)
    assert isinstance(data.test_set, UtteranceSet)
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    said: dict[str, list[tuple[str, str]]] = defaultdict(list)
    seconds = 0.0
    for place, row in enumerate(data.test_set.rows):
        sound = data.test_set.recording(place, rate).waveform
        sound = sound[: len(sound) // mel.hop * mel.hop]
        features, steps = mel(sound[None])
        seconds += len(sound) / rate
        sounds, taken = {"recorded": sound}, {"recorded": 0.0}
        start = time.process_time()
        sounds["griffin_lim"] = griffin_lim(features[0], mel)
        middle = time.process_time()
        sounds["vocoder"] = model(features, steps)[0]
        taken |= {"griffin_lim": middle - start, "vocoder": time.process_time() - middle}
        for kind, wave in sounds.items():
            error = (mel.features(wave[None]) - mel.features(sound[None])).abs().mean().item()
            apart = log_spectral_distance(wave[None], sound[None], size=mel.size).item()
            found[kind].append((error, apart, taken[kind]))
            if recogniser is not None and row.text and len(row.text.split()) >= 5:
                said[kind].append((normalise(row.text, "english"), heard(recogniser, wave, rate)))
            if args.out is not None:
                args.out.mkdir(parents=True, exist_ok=True)
                soundfile.write(args.out / f"{place:03d}_{kind}.wav", wave.numpy(), rate)
    for kind, values in found.items():
        error, apart, taken = torch.tensor(values).unbind(1)
        line = f"mel error {error.mean():.3f}, spectral distance {apart.mean():.3f}, "
        print(f"{kind:11s} {line}{taken.sum() / seconds:.4f} CPU seconds for each second")
        if said[kind]:
            print(f"{'':11s} {word_errors(said[kind]).line('WER')}")
    print(f"{len(data.test_set.rows)} recordings, {seconds:.0f} s")


if __name__ == "__main__":
    main()
