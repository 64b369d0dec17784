"""Names of tensors as templates: ``encoder.blocks.{n}.mixer.norm.*``, read and filled."""

import re
from collections.abc import Mapping
from functools import cache

Fields = dict[str, int | str]
"""What the placeholders of a template stand for in one name; ``*`` has the key "*"."""

_PLACEHOLDER = re.compile(r"\{(\d*)([a-z]+)(?:\+(\d+))?\}|(\*)")


def match(template: str, name: str) -> Fields | None:
    """Returns what a name has in the places of a template, None if it is no such name.

    ``{n}`` is a number, ``{2n+1}`` a number of which ``n`` follows, ``*`` anything that is left.

    Args:
        template: The template.
        name: Of a tensor.
    """
    pattern, places = _compiled(template)
    found = pattern.fullmatch(name)
    if found is None:
        return None
    fields: Fields = {}
    for (key, times, plus), text in zip(places, found.groups(), strict=True):
        value: int | str = text
        if key != "*":
            value, rest = divmod(int(text) - plus, times)
            if rest or value < 0:
                return None
        if fields.setdefault(key, value) != value:
            return None
    return fields


def fill(template: str, fields: Mapping[str, int | str]) -> str:
    """Returns the name that a template is with these fields."""

    def filled(place: re.Match[str]) -> str:
        times, key, plus, rest = place.groups()
        return str(fields["*"] if rest else int(times or 1) * int(fields[key]) + int(plus or 0))

    return _PLACEHOLDER.sub(filled, template)


@cache
def _compiled(template: str) -> tuple[re.Pattern[str], tuple[tuple[str, int, int], ...]]:
    pattern, places, end = "", [], 0
    for place in _PLACEHOLDER.finditer(template):
        times, key, plus, rest = place.groups()
        pattern += re.escape(template[end : place.start()]) + ("(.+)" if rest else r"(\d+)")
        places.append((key or "*", int(times or 1), int(plus or 0)))
        end = place.end()
    return re.compile(pattern + re.escape(template[end:])), tuple(places)
