"""Times Swin-T on the CPU against timm's, with the same weights.

One thread, process CPU time, the two in turn; a ratio above one means that headway is faster, by the
least time of each and by the median. Logits are compared first.
"""

import argparse
import statistics

import timm
import torch
from attention import measure
from timm.layers.config import set_fused_attn
from torch import Tensor, nn

from headway.vision.models import Swin
from headway.vision.models.swin_variants import SWIN


def contestants() -> tuple[nn.Module, nn.Module]:
    """The same Swin-T twice; the peer at its best setting."""
    torch.manual_seed(0)
    set_fused_attn(True)
    theirs = timm.create_model("swin_tiny_patch4_window7_224")
    state = theirs.state_dict()
    ours = Swin(num_classes=1000)
    ours.load_state_dict({name: state[SWIN.to_timm(name)] for name in ours.state_dict()})
    return ours, theirs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each line of the table")
    parser.add_argument("--batch", type=int, default=2, help="pictures of 224 x 224")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = contestants()
    images = torch.randn(arguments.batch, 3, 224, 224)

    def infer(model: nn.Module) -> Tensor:
        model.eval()
        with torch.no_grad():
            return model(images)

    def train(model: nn.Module) -> None:
        model.train().zero_grad()
        model(images).square().mean().backward()

    torch.testing.assert_close(infer(models[0]), infer(models[1]), atol=1e-4, rtol=1e-4)
    print(f"{'work':<10} {'headway':>10} {'timm':>10} {'ratio':>6} (median)")
    for name, work in (("inference", infer), ("training", train)):
        times = measure([lambda m=m, work=work: work(m) for m in models], arguments.seconds)
        mine, other = (min(found) for found in times)
        middle = [statistics.median(found) for found in times]
        print(
            f"{name:<10} {mine * 1e3:>8.0f}ms {other * 1e3:>8.0f}ms {other / mine:>6.2f} "
            f"({middle[1] / middle[0]:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
