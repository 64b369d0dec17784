"""The annotation format of Pascal VOC."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from headway.core.errors import InputError, UserError
from headway.core.training.invalid import InvalidItems
from headway.vision.data.boxed_pictures import (
    Annotation,
    BoxedPicture,
    BoxedPictures,
    boxed_picture,
    check_pictures,
)
from headway.vision.data.reading import EXTENSIONS


def read_voc(
    path: Path, split: str, invalid: InvalidItems, classes: Sequence[str] | None = None
) -> BoxedPictures:
    """Reads a split: the pictures that ``ImageSets/Main/SPLIT.txt`` names, with their boxes.

    Coordinates are taken as they stand, between 0 and the size of the picture.

    Args:
        path: The folder with ``Annotations``, ``JPEGImages`` and ``ImageSets``.
        split: Such as ``train``.
        invalid: Takes what is wrong with boxes and pictures.
        classes: Names of the classes in the order of the labels; by default those of the split, sorted.

    Raises:
        UserError: If there is no such folder or split.

    Source:
        Everingham et al. 2010, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html
    """
    listing = path / "ImageSets" / "Main" / f"{split}.txt"
    if not listing.is_file():
        known = sorted(file.stem for file in listing.parent.glob("*.txt"))
        if not known:
            raise UserError(
                f"{path} is no folder in Pascal VOC's format: it has no ImageSets/Main/{split}.txt"
            )
        raise UserError(f"{path} has no split {split!r}; there are {', '.join(known)}")
    names = [line.split()[0] for line in listing.read_text("utf-8").splitlines() if line.strip()]
    roots: dict[str, ElementTree.Element] = {}
    for name in names:
        file = path / "Annotations" / f"{name}.xml"
        try:
            roots[name] = ElementTree.parse(file).getroot()
        except OSError as error:
            invalid.add(InputError(str(file), f"cannot be read ({error.strerror or error})"))
        except ElementTree.ParseError as error:
            invalid.add(InputError(str(file), f"is not XML ({error})"))
    if classes is None:
        classes = sorted({_text(o, "name") for r in roots.values() for o in r.findall("object")})

    def read() -> Iterator[BoxedPicture]:
        for number, (name, root) in enumerate(roots.items()):
            file = path / "Annotations" / f"{name}.xml"
            try:
                size = (int(_text(root, "size/height")), int(_text(root, "size/width")))
                objects = [_annotation(entry) for entry in root.findall("object")]
            except ValueError as error:
                invalid.add(InputError(str(file), f"is not in Pascal VOC's format ({error})"))
                continue
            yield boxed_picture(
                _picture(path, name, root),
                number,
                size,
                objects,
                name=str(file),
                classes=classes,
                invalid=invalid,
            )

    return check_pictures(read(), classes, str(listing), invalid)


def _picture(path: Path, name: str, root: ElementTree.Element) -> Path:
    """Returns the picture of an annotation: that of the same name, else the one it names."""
    for extension in EXTENSIONS:
        for ending in (extension, extension.upper()):
            found = path / "JPEGImages" / f"{name}{ending}"
            if found.is_file():
                return found
    # Only a name: a path of the machine where it was written says nothing here.
    named = Path((root.findtext("filename") or f"{name}.jpg").strip()).name
    return path / "JPEGImages" / named


def _annotation(entry: ElementTree.Element) -> Annotation:
    left, top, right, bottom = (
        float(_text(entry, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    return Annotation(label=_text(entry, "name"), box=(left, top, right, bottom))


def _text(element: ElementTree.Element, tag: str) -> str:
    text = element.findtext(tag)
    if text is None or not text.strip():
        raise ValueError(f"it lacks {tag}")
    return text.strip()
