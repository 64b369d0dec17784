"""Solvers against exact solutions, and what they must conserve."""

import math

import pytest
import torch

from headway.core.errors import UserError
from headway.timeseries.fields.metrics import relative_error
from headway.timeseries.fields.models.simulator import Persistence, Stencil
from headway.timeseries.fields.simulation.darcy import conductances, darcy, outflow
from headway.timeseries.fields.simulation.equations import BurgersFlow, TracerFlow
from headway.timeseries.fields.simulation.flows import (
    advection_diffusion,
    burgers,
    burgers_plane,
    random_fields,
    wave_numbers,
)
from headway.timeseries.fields.simulation.scattered import ScatteredDarcy
from headway.timeseries.fields.simulation.trajectories import Simulations


def test_a_wave_moves_and_fades_as_it_must() -> None:
    x, y = torch.meshgrid(*[torch.arange(n).double() / n for n in (16, 24)], indexing="ij")
    times = torch.tensor([0.0, 0.1, 0.7])

    def wave(time: float) -> torch.Tensor:
        phase = 2 * math.pi * (2 * (x - 0.3 * time) + (y + 0.2 * time))
        return torch.cos(phase) * math.exp(-0.01 * 4 * math.pi**2 * 5 * time)

    found = advection_diffusion(wave(0.0)[None], times, velocity=(0.3, -0.2), diffusivity=0.01)
    expected = torch.stack([wave(time) for time in times.tolist()])
    torch.testing.assert_close(found[0], expected, atol=1e-6, rtol=1e-6)


def test_advection_conserves_mass_and_without_diffusion_energy() -> None:
    start = 1 + random_fields(3, (32, 31), seed=1)
    times = torch.linspace(0, 2, 5)
    found = advection_diffusion(start, times, velocity=(1.0, 0.5), diffusivity=0.002)
    mass = found.sum(dim=(2, 3))
    torch.testing.assert_close(mass, mass[:, :1].expand(-1, 5))
    energy = found.square().sum(dim=(2, 3))
    assert (energy.diff(dim=1) < 0).all()
    turned = advection_diffusion(start[:, :31], times, velocity=(1.0, 0.5), diffusivity=0.0)
    energy = turned.square().sum(dim=(2, 3))
    torch.testing.assert_close(energy, energy[:, :1].expand(-1, 5))
    # One turn around the domain: the field is back.
    torch.testing.assert_close(turned[:, -1], turned[:, 0])


def cole_hopf(size: int, time: float, viscosity: float) -> torch.Tensor:
    """The exact solution that starts as ``sin(2 pi x)``, by Cole and Hopf, from the heat equation."""
    x = torch.arange(4096).double() / 4096
    start = torch.exp((torch.cos(2 * math.pi * x) - 1) / (4 * math.pi * viscosity))
    wave = 2 * math.pi * torch.fft.rfftfreq(4096, 1 / 4096, dtype=torch.float64)
    spectrum = torch.fft.rfft(start) * torch.exp(-viscosity * wave.square() * time)
    heat, slope = torch.fft.irfft(spectrum), torch.fft.irfft(1j * wave * spectrum)
    return (-2 * viscosity * slope / heat)[:: 4096 // size]


@pytest.mark.parametrize("time", [0.1, 0.3])
def test_burgers_equals_the_exact_solution(time: float) -> None:
    x = torch.arange(256).double() / 256
    start = torch.sin(2 * math.pi * x)[None]
    found = burgers(start, torch.tensor([time / 2, time]), viscosity=0.01)
    torch.testing.assert_close(found[0, 1], cole_hopf(256, time, 0.01), atol=1e-5, rtol=0)


def test_burgers_is_of_the_fourth_order_and_conserves_the_mean() -> None:
    x = torch.arange(64).double() / 64
    start = (0.3 + torch.sin(2 * math.pi * x) + 0.4 * torch.cos(4 * math.pi * x))[None]
    time = torch.tensor([0.1])
    exact = burgers(start, time, viscosity=0.02, step=1e-4)
    errors = [
        float((burgers(start, time, viscosity=0.02, step=step) - exact).abs().max())
        for step in (0.005, 0.0025)
    ]
    assert 11 < errors[0] / errors[1] < 22
    long = burgers(start, torch.linspace(0, 1, 5), viscosity=0.02)
    torch.testing.assert_close(long.mean(dim=2), torch.full((1, 5), 0.3, dtype=torch.float64))
    assert (long.square().mean(dim=2).diff(dim=1) < 0).all()


def manufactured(size: int) -> float:
    """The error for ``u = sin(pi x) sin(2 pi y)`` in a medium ``1 + x``."""
    middles = (torch.arange(size).double() + 0.5) / size
    x, y = torch.meshgrid(middles, middles, indexing="ij")
    u = torch.sin(math.pi * x) * torch.sin(2 * math.pi * y)
    # -div((1 + x) grad u), by hand.
    slope = math.pi * torch.cos(math.pi * x) * torch.sin(2 * math.pi * y)
    source = 5 * math.pi**2 * (1 + x) * u - slope
    return float((darcy((1 + x)[None], source[None])[0] - u).abs().max())


def test_darcy_converges_with_the_second_order() -> None:
    errors = [manufactured(size) for size in (16, 32)]
    assert errors[1] < 5e-3
    assert errors[0] / errors[1] > 3.4


def test_what_is_fed_into_the_medium_leaves_through_its_border() -> None:
    permeability = torch.where(random_fields(2, (24, 24), seed=2) > 0, 12.0, 3.0)
    source = 1 + random_fields(2, (24, 24), seed=3)
    u = darcy(permeability, source)
    sides = conductances(permeability.double())
    torch.testing.assert_close(outflow(u, sides), source / 24**2, atol=1e-8, rtol=0)
    border = [(sides[0] * u)[:, 0], (sides[1] * u)[:, -1], (sides[2] * u)[..., 0]]
    total = sum(part.sum(dim=1) for part in [*border, (sides[3] * u)[..., -1]])
    torch.testing.assert_close(total, source.mean(dim=(1, 2)), atol=1e-6, rtol=0)


def test_random_fields_have_no_mean_and_a_falling_spectrum() -> None:
    fields = random_fields(50, (64,), smoothness=2.0, seed=4)
    assert fields.mean(dim=1).abs().max() < 1e-12
    assert fields.square().mean().item() == pytest.approx(1.0)
    power = torch.fft.rfft(fields).abs().square().mean(dim=0)
    # An amplitude that falls with the square has a power that falls with the fourth.
    slope = (power[2:5].sum().log() - power[16:40].sum().log()).item()
    falls = sum(k**-4 for k in range(2, 5)) / sum(k**-4 for k in range(16, 33))
    assert slope == pytest.approx(math.log(falls), abs=0.5)


def test_nonsense_is_refused() -> None:
    field = torch.zeros(1, 8)
    with pytest.raises(UserError, match="viscosity 0 must be above 0"):
        burgers(field, torch.tensor([1.0]), viscosity=0)
    with pytest.raises(UserError, match="needs as many velocities"):
        advection_diffusion(field, torch.tensor([1.0]), velocity=(1.0, 2.0), diffusivity=0.1)
    with pytest.raises(UserError, match="must not be negative"):
        advection_diffusion(field, torch.tensor([1.0]), velocity=(1.0,), diffusivity=-0.1)
    with pytest.raises(UserError, match="above 0 everywhere"):
        darcy(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4))


def potential_flow(size: int, time: float, viscosity: float) -> torch.Tensor:
    """The exact solution that starts as the slope of a potential, by Cole and Hopf, (1, 2, size, size)."""
    fine = 192
    x, y = torch.meshgrid(*[torch.arange(fine).double() / fine] * 2, indexing="ij")
    potential = 0.06 * torch.cos(2 * math.pi * (x + y)) + 0.03 * torch.sin(
        2 * math.pi * (2 * x - y)
    )
    spectrum = torch.fft.fft2(torch.exp(-potential / (2 * viscosity)))
    waves = wave_numbers((fine, fine))
    spectrum = spectrum * torch.exp(-viscosity * (waves[0] ** 2 + waves[1] ** 2) * time)
    heat = torch.fft.ifft2(spectrum).real
    slopes = [torch.fft.ifft2(1j * wave * spectrum).real for wave in waves]
    flow = torch.stack([-2 * viscosity * slope / heat for slope in slopes])[None]
    return flow[..., :: fine // size, :: fine // size]


def test_burgers_in_the_plane_equals_the_exact_solution() -> None:
    times, viscosity = torch.tensor([0.1, 0.3]), 0.02
    errors = []
    for size in (24, 48):
        found = burgers_plane(potential_flow(size, 0.0, viscosity), times, viscosity=viscosity)
        exact = torch.stack([potential_flow(size, t, viscosity) for t in times.tolist()], dim=1)
        errors.append(float((found - exact).abs().max() / exact.abs().max()))
    # Of a finer grid the error falls faster than with any power: 24 to 48 places are far beyond the fourth.
    assert errors[0] < 5e-2
    assert errors[1] < 1e-5
    # Without rotation the mean stays, and friction takes energy.
    mean = found.mean(dim=(3, 4))
    torch.testing.assert_close(mean, torch.zeros_like(mean), atol=1e-10, rtol=0)
    energy = torch.cat([potential_flow(48, 0.0, viscosity)[:, None], found], dim=1).square()
    assert (energy.mean(dim=(2, 3, 4)).diff(dim=1) < 0).all()


def test_burgers_in_the_plane_is_of_the_fourth_order_and_knows_the_line() -> None:
    x = torch.arange(48).double() / 48
    line = 0.3 + torch.sin(2 * math.pi * x) + 0.4 * torch.cos(4 * math.pi * x)
    # A wave along the second axis; the velocity along the first axis is carried, and nothing else.
    start = torch.stack([torch.zeros(16, 48), line.expand(16, 48)])[None]
    times = torch.tensor([0.05, 0.1])
    found = burgers_plane(start, times, viscosity=0.02, step=0.002)
    expected = burgers(line[None], times, viscosity=0.02, step=0.002)
    torch.testing.assert_close(found[0, :, 1], expected[0, :, None].expand(-1, 16, -1))
    assert (found[0, :, 0] == 0).all()
    turned = burgers_plane(start.transpose(2, 3).flip(1), times, viscosity=0.02, step=0.002)
    torch.testing.assert_close(turned, found.transpose(3, 4).flip(2))
    # A whole field of its own for each axis.
    start = random_fields(4, (20, 20), seed=3).unflatten(0, (2, 2)) / 2
    nu = torch.tensor([0.02, 0.05])
    exact = burgers_plane(start, times[1:], viscosity=nu, step=5e-4)
    errors = [
        (burgers_plane(start, times[1:], viscosity=nu, step=step) - exact).abs().max()
        for step in (0.01, 0.005)
    ]
    assert 11 < errors[0] / errors[1] < 22
    alone = burgers_plane(start[1:], times[1:], viscosity=0.05, step=5e-4)
    torch.testing.assert_close(alone, exact[1:])


def test_equations_tell_what_they_draw() -> None:
    times = torch.tensor([0.0, 0.1])
    fields, told = TracerFlow(diffusivity=(1e-4, 1e-2)).simulate(3, (12, 16), times, seed=5)
    assert fields.shape == (3, 2, 1, 12, 16)
    for item in range(3):
        wind = tuple(told[item, :2].tolist())
        spread = 10 ** (-3 + float(told[item, 2]))
        again = advection_diffusion(
            fields[item : item + 1, 0, 0], times, velocity=wind, diffusivity=spread
        )
        torch.testing.assert_close(again[0], fields[item, :, 0], atol=1e-5, rtol=1e-5)
    fields, told = BurgersFlow(refine=1).simulate(2, (16, 16), times, seed=5)
    nu = 5e-3 * 10 ** ((told[:, 0] + 1) / 2)
    again = burgers_plane(fields[:, 0], times, viscosity=nu)
    torch.testing.assert_close(again, fields, atol=1e-6, rtol=1e-5)
    with pytest.raises(UserError, match="viscosity is a range"):
        BurgersFlow(viscosity=(0.1, 0.01))


def test_windows_of_films() -> None:
    data = Simulations(
        equation=TracerFlow(), grid=(8, 8), number=3, tests=2, reads=2, steps=4, train_steps=2
    )
    data.setup()
    films = data.films()
    assert films.shape == (3, 6, 1, 8, 8)
    assert len(data.train_set) == 3 * 3
    window = data.train_set[4]
    assert torch.equal(window["frames"], films[1, 1:3])
    assert torch.equal(window["future"], films[1, 3:5])
    assert len(data.test_set) == 2
    assert data.test_set[1]["future"].shape == (4, 1, 8, 8)
    # The parts share no film, and a longer training part leaves the test as it is.
    more = Simulations(equation=TracerFlow(), grid=(8, 8), number=5, tests=2, reads=2, steps=4)
    more.setup()
    assert torch.equal(more.test_set[1]["future"], data.test_set[1]["future"])
    assert not torch.equal(films[0, 0], data.test_set[0]["frames"][0])
    with pytest.raises(UserError, match="train_steps 5 must not exceed steps 4"):
        Simulations(equation=TracerFlow(), steps=4, train_steps=5)


def test_a_stencil_finds_a_linear_step() -> None:
    torch.manual_seed(0)
    true = Stencil(fields=2, reads=2, radius=1)
    with torch.no_grad():
        true.weight.copy_(0.2 * torch.randn_like(true.weight))
        start = torch.randn(4, 2, 2, 9, 7)
        films = torch.cat([start, true.rollout(start, 3)], dim=1)
        found = Stencil(fields=2, reads=2, radius=1).fit(films, ridge=1e-12)
        torch.testing.assert_close(found.weight, true.weight, atol=1e-4, rtol=1e-4)
        fresh = torch.randn(1, 2, 2, 9, 7)
        torch.testing.assert_close(
            Stencil(fields=2, reads=2).rollout(fresh, 2), Persistence().rollout(fresh, 2)
        )


def test_scattered_darcy_asks_about_what_the_solver_found() -> None:
    data = ScatteredDarcy(size=12, number=40, tests=8, points=(30, 60), seed=1)
    data.setup()
    torch.manual_seed(0)
    items = [data.train_set[place] for place in (3, 4)]
    media = data.train_set.media
    for item, place in zip(items, (3, 4), strict=True):
        cells = (item["points"] * 12).long()
        pressure = media.pressure[place, cells[:, 0], cells[:, 1]]
        torch.testing.assert_close(data.scale * item["y"][:, 0], pressure)
        cells = (item["set"][:, :2] * 12).long()
        found = item["set"][:, 2].exp()
        torch.testing.assert_close(found, media.permeability[place, cells[:, 0], cells[:, 1]])
    batch = data.collate(items)
    lengths = [len(item["points"]) for item in items]
    assert batch["valid"].sum(dim=1).tolist() == lengths
    assert torch.equal(batch["y"][1, : lengths[1]], items[1]["y"])
    # Knowing the medium helps the linear model: it beats the mean on media that it has not seen.
    batch = data.collate([data.test_set[place] for place in range(8)])
    mean, linear = (
        relative_error(batch["baselines"][..., k : k + 1], batch["y"], batch["valid"][..., None])
        for k in range(2)
    )
    assert linear.mean() < mean.mean()
    with pytest.raises(UserError, match="between 1 and the 144 cells"):
        ScatteredDarcy(size=12, points=(10, 200))


def test_relative_error_leaves_padding_out() -> None:
    truth = torch.tensor([[3.0, 4.0, torch.nan], [0.0, 2.0, 0.0]])
    found = torch.tensor([[3.0, 4.5, 7.0], [1.0, 2.0, 0.0]])
    valid = torch.tensor([[True, True, False], [True, True, True]])
    assert relative_error(found, truth, valid).tolist() == pytest.approx([0.1, 0.5])
