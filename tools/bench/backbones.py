"""Times backbones on the CPU against timm's (and torchvision's, where it has the model) of the same name.

    python tools/bench/backbones.py swinv2_tiny_window8_256 hiera_tiny_224 pit_s_224

One thread, process CPU time, the contestants in turn in one process; a ratio is headway's cost divided by
that of the cheapest peer, so below one headway wins. headway reads timm's weights from a file, and logits are
compared before anything is timed.
"""

import argparse
import json
import tempfile
from pathlib import Path

import timm
import torch
import torchvision
from safetensors.torch import save_file
from timm.layers.config import set_fused_attn
from torch import nn
from vision import forward, measure, summary, training_step

from headway.core.weights import from_pretrained

# torchvision's name of the same architecture, with weights of its own.
TORCHVISION = {"swinv2_tiny_window8_256": "swin_v2_t", "swin_tiny_patch4_window7_224": "swin_t"}


def contestants(name: str) -> dict[str, nn.Module]:
    """Headway and its peers at their best settings."""
    torch.manual_seed(0)
    set_fused_attn(True)
    peer = timm.create_model(name)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.safetensors"
        save_file({key: value.contiguous() for key, value in peer.state_dict().items()}, file)
        ours = from_pretrained(file, architecture=name)
    models: dict[str, nn.Module] = {"headway": ours, "timm": peer}
    if name in TORCHVISION:
        models["torchvision"] = torchvision.models.get_model(TORCHVISION[name])
    return models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", help="timm's names")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--batch", type=int, default=4, help="pictures")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names:
        models = contestants(name)
        size = models["timm"].pretrained_cfg["input_size"]  # pyright: ignore
        images = torch.randn(arguments.batch, *size)
        labels = torch.randint(0, 1000, (arguments.batch,))
        with torch.no_grad():
            mine, other = (models[one].eval()(images) for one in ("headway", "timm"))
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=1e-4)
        for work, call in (
            ("inference", {one: forward(model, images) for one, model in models.items()}),
            ("training", {one: training_step(m, images, labels) for one, m in models.items()}),
        ):
            found = summary(work, measure(call, arguments.rounds))
            print(json.dumps({"model": name, **found}), flush=True)


if __name__ == "__main__":
    main()
