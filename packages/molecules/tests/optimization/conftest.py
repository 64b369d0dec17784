import pytest
import torch

from headway.core.language import SPECIALS, DecoderLanguageModel
from headway.molecules.models import JointTransformer, Llama
from headway.molecules.notation import SmilesTokenizer


def chains(count: int, seed: int) -> torch.Tensor:
    """Returns chains of 8 atoms, carbon three times of four, between start and end."""
    generator = torch.Generator().manual_seed(seed)
    atoms = 3 + (torch.rand(count, 8, generator=generator) > 0.75).long()
    ends = torch.ones(count, 1, dtype=torch.int64)
    return torch.cat([ends, atoms, 2 * ends], dim=1)


def teach(model: DecoderLanguageModel) -> None:
    """Lets a model learn to write such chains."""
    adam = torch.optim.Adam(model.parameters(), lr=5e-3)
    for step in range(150):
        loss = -model.score(chains(64, step)).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    model.eval()


@pytest.fixture(scope="session")
def taught() -> Llama:
    """A tiny model of chains of carbon and nitrogen: its molecules are valid and all alike."""
    torch.manual_seed(0)
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, "C", "N"))
    model = Llama(tokenizer=tokenizer, dim=32, depth=1, heads=2, max_length=12)
    teach(model)
    return model


@pytest.fixture(scope="session")
def joint() -> JointTransformer:
    """The same with a mask, and nothing known of properties."""
    torch.manual_seed(0)
    tokenizer = SmilesTokenizer(vocabulary=(*SPECIALS, "C", "N", "<mask>"), mask=5)
    model = JointTransformer(tokenizer=tokenizer, dim=32, depth=1, heads=2, max_length=12)
    teach(model)
    return model
