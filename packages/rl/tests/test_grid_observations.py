"""Maps of cells: each channel has its own table, places count, padding may hold anything."""

import pytest
import torch

from headway.core.errors import UserError
from headway.rl.layers import DictObservations, GridObservations
from headway.rl.models import BehaviourCloning
from headway.rl.spaces import Box, Dict, Discrete, Spaces

CELLS = Box(shape=(3, 4, 2), low=0, high=255, dtype="uint8")


def test_kinds_and_places_are_told_apart() -> None:
    torch.manual_seed(0)
    encoder = GridObservations(8, CELLS, choices=(5, 3), width=4)
    empty = encoder.blank(1, 2)
    assert encoder(empty).shape == (1, 2, 8)
    here, there, other = empty.clone(), empty.clone(), empty.clone()
    here[0, 0, 1, 1, 0], there[0, 0, 2, 1, 0], other[0, 0, 1, 1, 1] = 2, 2, 2
    tokens = [encoder(x)[0, 0] for x in (empty, here, there, other)]
    for place, one in enumerate(tokens):
        for another in tokens[place + 1 :]:
            assert not torch.allclose(one, another, atol=1e-4)
    # Another step is another map.
    torch.testing.assert_close(encoder(here)[0, 1], tokens[0])
    assert bool(encoder(empty.fill_(255)).isfinite().all())
    with pytest.raises(UserError, match="one channel for each of the choices"):
        GridObservations(8, CELLS, choices=(5, 3, 2))


def test_parts_that_know_their_space_wait_for_the_data() -> None:
    spaces = Spaces(
        observation=Dict(parts={"cells": CELLS, "way": Discrete(n=4)}), action=Discrete(n=2)
    )

    def read(dim, space):
        parts = {"cells": lambda dim, space: GridObservations(dim, space, choices=(5, 3))}
        return DictObservations(dim, space, parts=parts)

    model = BehaviourCloning(dim=8, depth=1, heads=2, observations=read)
    model.set_spaces(spaces.to_json())
    assert isinstance(model.observation_embedding, DictObservations)
    assert isinstance(model.observation_embedding.parts["cells"], GridObservations)
    with pytest.raises(UserError, match="DictObservations does not read"):
        BehaviourCloning(dim=8, depth=1, heads=2, observation_dim=3, observations=read)
