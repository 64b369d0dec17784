"""How near recordings without their upper frequencies come to the whole ones, with and without HiFi-SR.

Of the test split of the recipe ``speech/hifi_sr``: log-spectral distance (in tens of decibels) over all
frequencies and over those that were taken away, of what is left (what sinc interpolation gives) and of what
each run makes of it.

    python tools/studies/super_resolution.py -m RUN [RUN ...] --data MANIFEST [--out FOLDER]
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

import soundfile
import torch

from headway.speech.data import SpeechManifest
from headway.speech.data.speech_manifest import UtteranceSet
from headway.speech.losses import log_spectral_distance
from headway.speech.models import HiFiSR
from headway.speech.verbs.renew import load_sound_model, renewed


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("-m", "--models", nargs="+", required=True, help="runs of HiFiSR")
    parser.add_argument("--data", required=True, help="the manifest that the runs were trained on")
    parser.add_argument("--out", type=Path, help="folder for the sounds")
    args = parser.parse_args()
    torch.set_num_threads(1)
    models = {source: load_sound_model(source, "cpu") for source in args.models}
    first = next(iter(models.values()))
    assert isinstance(first, HiFiSR)
    rate, share, hop = first.mel.sample_rate, first.shares[0], first.mel.hop
    data = SpeechManifest(path=args.data, val=0.05, test=0.1, need_text=False, split_by="recording")
    data.use(first)
    assert isinstance(data.test_set, UtteranceSet)
    found: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    seconds = 0.0
    for place in range(len(data.test_set)):
        whole = data.test_set.recording(place, rate).waveform
        whole = whole[: len(whole) // hop * hop]
        left = first.spoil(whole[None])[0]
        seconds += len(whole) / rate
        sounds, taken = {"left": left}, {"left": 0.0}
        for source, model in models.items():
            start = time.process_time()
            sounds[source] = renewed(model, left)
            taken[source] = time.process_time() - start
        for name, sound in sounds.items():
            apart = [
                log_spectral_distance(sound[None], whole[None], size=512, lowest=low).item()
                for low in (0.0, share)
            ]
            found[name].append((apart[0], apart[1], taken[name]))
        if args.out is not None:
            args.out.mkdir(parents=True, exist_ok=True)
            for number, sound in enumerate((whole, *sounds.values())):
                soundfile.write(args.out / f"{place:03d}_{number}.wav", sound.numpy(), rate)
    for name, values in found.items():
        every, upper, taken = torch.tensor(values).unbind(1)
        line = f"distance {every.mean():.3f}, of the upper frequencies {upper.mean():.3f}"
        print(f"{line}, {taken.sum() / seconds:.4f} CPU seconds for each second: {name}")
    print(f"{len(data.test_set)} recordings, {seconds:.0f} s")


if __name__ == "__main__":
    main()
