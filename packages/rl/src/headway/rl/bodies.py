"""Bodies as graphs, as plain data: which part has which sensors and motors, and what it is joined to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headway.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Limb:
    """A part of a body.

    Args:
        sensors: Places of its numbers in the observation.
        motors: Places of its numbers in the action.
    """

    sensors: tuple[int, ...] = ()
    motors: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Body:
    """A graph of limbs; what a model keeps in its config.json.

    Args:
        limbs: By name, in order.
        joints: Pairs of names that are joined.

    Raises:
        UserError: If a joint names a limb that there is not, or a motor belongs to no limb or to two.
    """

    limbs: Mapping[str, Limb]
    joints: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not self.limbs:
            raise UserError("a body has at least one limb")
        for joint in self.joints:
            if len(joint) != 2 or not set(joint) <= set(self.limbs):
                raise UserError(f"joint {list(joint)} is no pair of {list(self.limbs)}")
        if any(place < 0 for limb in self.limbs.values() for place in limb.sensors):
            raise UserError("sensors are places in the observation, from 0")
        motors = sorted(place for limb in self.limbs.values() for place in limb.motors)
        if motors != list(range(len(motors))) or not motors:
            raise UserError(f"each motor from 0 on belongs to one limb, got the motors {motors}")

    @property
    def sensors(self) -> int:
        """Numbers of an observation, as far as sensors go."""
        return 1 + max((max(one.sensors, default=-1) for one in self.limbs.values()), default=-1)

    @property
    def motors(self) -> int:
        """Numbers of an action."""
        return sum(len(one.motors) for one in self.limbs.values())

    @property
    def edges(self) -> list[tuple[int, int]]:
        """The joints, as pairs of places in the order of the limbs."""
        place = {name: number for number, name in enumerate(self.limbs)}
        return [(place[one], place[other]) for one, other in self.joints]

    def to_json(self) -> dict[str, Any]:
        """Returns JSON values."""
        limbs = {
            name: {"sensors": list(one.sensors), "motors": list(one.motors)}
            for name, one in self.limbs.items()
        }
        return {"limbs": limbs, "joints": [list(joint) for joint in self.joints]}

    @classmethod
    def from_json(cls, values: "Mapping[str, Any] | str | Body") -> "Body":
        """Reads what ``to_json`` has returned, or the name of a known body (``KNOWN_BODIES``).

        Raises:
            UserError: If it is something else.
        """
        if isinstance(values, Body):
            return values
        if isinstance(values, str):
            if values not in KNOWN_BODIES:
                raise UserError(
                    f"there is no body {values!r}; known are {', '.join(KNOWN_BODIES)}, or give limbs and "
                    "joints"
                )
            return KNOWN_BODIES[values]
        try:
            limbs = {
                str(name): Limb(**{key: tuple(map(int, places)) for key, places in one.items()})
                for name, one in values["limbs"].items()
            }
            joints = tuple((str(one), str(other)) for one, other in values.get("joints", ()))
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise UserError(
                f"a body has limbs, each with sensors and motors, and joints, got {values!r:.120} ({error})"
            ) from None
        return cls(limbs=limbs, joints=joints)


def planar(joints: Sequence[tuple[str, str]], *, torso: str = "torso") -> Body:
    """Returns a MuJoCo body that moves in a plane, as gymnasium shows it.

    An observation has height and pitch of the torso and the angle of each joint, then speeds in the same
    order, with the one forward in front; the place forward is left out. Each joint has a motor.

    Args:
        joints: Each limb and what it hangs on, in the order of the joints.
        torso: Name of what everything hangs on.
    """
    number = len(joints)
    limbs = {torso: Limb(sensors=(0, 1, number + 2, number + 3, number + 4))}
    for place, (limb, _) in enumerate(joints):
        limbs[limb] = Limb(sensors=(2 + place, number + 5 + place), motors=(place,))
    return Body(limbs=limbs, joints=tuple((above, limb) for limb, above in joints))


def _ant() -> Body:
    """The ant of Ant-v5: 13 positions, 14 speeds, and six contact forces of each of 13 parts."""
    limbs = {"torso": Limb(sensors=(*range(5), *range(13, 19), *range(27, 33)))}
    joints = []
    # Motors begin with the fourth leg.
    for leg, motor in enumerate((2, 4, 6, 0)):
        # A leg has three parts: one fixed to the torso, one behind the hip, one behind the ankle.
        forces = 33 + 18 * leg
        hip = (5 + 2 * leg, 19 + 2 * leg, *range(forces, forces + 12))
        ankle = (6 + 2 * leg, 20 + 2 * leg, *range(forces + 12, forces + 18))
        limbs[f"hip_{leg + 1}"] = Limb(sensors=hip, motors=(motor,))
        limbs[f"ankle_{leg + 1}"] = Limb(sensors=ankle, motors=(motor + 1,))
        joints += [("torso", f"hip_{leg + 1}"), (f"hip_{leg + 1}", f"ankle_{leg + 1}")]
    return Body(limbs=limbs, joints=tuple(joints))


_LEG = [("thigh", "torso"), ("leg", "thigh"), ("foot", "leg")]
_CHEETAH = [
    (f"{side}{part}", above if above == "torso" else f"{side}{above}")
    for side in ("b", "f")
    for part, above in (("thigh", "torso"), ("shin", "thigh"), ("foot", "shin"))
]
_WALKER = [
    *_LEG,
    *((f"{part}_left", above if above == "torso" else f"{above}_left") for part, above in _LEG),
]

KNOWN_BODIES: dict[str, Body] = {
    "Ant-v5": _ant(),
    "HalfCheetah-v5": planar(_CHEETAH),
    "Hopper-v5": planar(_LEG),
    "Walker2d-v5": planar(_WALKER),
}
"""Bodies of MuJoCo, by the environment of gymnasium."""
