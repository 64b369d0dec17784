"""The annotation format of Pascal VOC."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

from headway.core.errors import InputError, UserError
from headway.core.reading import read_lines, read_text
from headway.core.training.invalid import InvalidItems
from headway.vision.data.boxed_images import (
    Annotation,
    BoxedImage,
    BoxedImages,
    boxed_image,
    check_images,
)
from headway.vision.data.picture_index import PictureIndex, files_below
from headway.vision.data.reading import EXTENSIONS, ImageError, image_sizes


def read_voc(
    path: Path, split: str | None, invalid: InvalidItems, classes: Sequence[str] | None = None
) -> BoxedImages:
    """Reads a split: the pictures that ``ImageSets/Main/SPLIT.txt`` names, with their boxes.

    Coordinates are taken as they stand, between 0 and the size of the picture. Objects marked as
    ``difficult`` are neither learned nor counted, like a crowd. A size that is missing or not positive is
    that of the picture.

    Args:
        path: The folder with ``Annotations``, ``JPEGImages`` and ``ImageSets``. Without the first,
            annotations are all .xml files below the folder; pictures lie anywhere below it.
        split: Such as ``train``; None reads every annotation.
        invalid: Takes what is wrong with boxes and pictures.
        classes: Names of the classes in the order of the labels; by default those of the split, sorted.

    Raises:
        UserError: If there is no such folder or split.

    Source:
        Everingham et al. 2010, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/index.html
    """
    folder = path / "Annotations" if (path / "Annotations").is_dir() else path
    if split is None:
        where, files = folder, annotation_files(path)
    else:
        where = listing_of(path, split)
        files = [folder / f"{line.split()[0]}.xml" for _, line in read_lines(where) if line.strip()]
    return read_voc_files(path, files, where, invalid, classes)


def annotation_files(path: Path) -> list[Path]:
    """Returns all annotations of a folder, in order.

    Raises:
        UserError: If there are none.
    """
    folder = path / "Annotations" if (path / "Annotations").is_dir() else path
    files = [folder / file for file in files_below(folder, ".xml")]
    if not files:
        raise UserError(
            f"{path} is no folder in Pascal VOC's format: it has neither ImageSets/Main nor .xml files"
        )
    return files


def read_voc_files(
    path: Path,
    files: Sequence[Path],
    where: Path,
    invalid: InvalidItems,
    classes: Sequence[str] | None = None,
) -> BoxedImages:
    """Reads some annotations of a folder.

    Args:
        path: The folder of the data set.
        files: The annotations.
        where: What names them, for messages.
        invalid: Takes what is wrong with boxes and pictures.
        classes: As for ``read_voc``.
    """
    index = PictureIndex(path)
    roots: dict[Path, ElementTree.Element] = {}
    for file in files:
        try:
            roots[file] = _root(file)
        except InputError as error:
            invalid.add(error)
    if classes is None:
        names = (o.findtext("name") or "" for r in roots.values() for o in r.findall("object"))
        classes = sorted({name.strip() for name in names} - {""})

    def read() -> Iterator[BoxedImage]:
        for number, (file, root) in enumerate(roots.items()):
            try:
                picture = _picture(index, file, root)
                size = _size(root) or image_sizes(picture)[1]
                objects = [_annotation(entry) for entry in root.findall("object")]
            except ImageError as error:
                invalid.add(error)
                continue
            except ValueError as error:
                invalid.add(InputError(str(file), f"is not in Pascal VOC's format ({error})"))
                continue
            yield boxed_image(
                picture,
                number,
                size,
                objects,
                name=str(file),
                classes=classes,
                invalid=invalid,
            )

    return check_images(read(), classes, str(where), invalid)


def is_flat(path: Path) -> bool:
    """Whether a folder has annotations, but no ``ImageSets/Main`` that says which of them are a split."""
    return not (path / "ImageSets" / "Main").is_dir()


def with_splits(path: Path) -> Path:
    """Returns the folder itself, or the one in it that says what its splits are.

    Read as a heap of pictures, those that its lists keep for the test would be trained on.

    Raises:
        UserError: If there are several of these.
    """
    if not is_flat(path):
        return path
    found = sorted(listed.parents[1] for listed in path.glob("*/ImageSets/Main"))
    if len(found) > 1:
        raise UserError(
            f"{path} has {len(found)} data sets with splits of their own "
            f"({', '.join(one.name for one in found[:5])}); give one of these folders"
        )
    return found[0] if found else path


def listing_of(path: Path, split: str) -> Path:
    """Returns the file that names the pictures of a split.

    Raises:
        UserError: If there is none.
    """
    listing = path / "ImageSets" / "Main" / f"{split}.txt"
    if not listing.is_file():
        known = sorted(file.stem for file in listing.parent.glob("*.txt"))
        if not known:
            raise UserError(
                f"{path} is no folder in Pascal VOC's format: it has no ImageSets/Main/{split}.txt"
            )
        raise UserError(f"{path} has no split {split!r}; there are {', '.join(known)}")
    return listing


def _root(file: Path) -> ElementTree.Element:
    text = read_text(file, "annotation file")
    # Entities can name files and grow without bound; no annotation needs them.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise InputError(str(file), "declares a document type; annotations have none")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError, LookupError, RecursionError) as error:
        raise InputError(str(file), f"is not XML ({error})") from None
    if root.tag != "annotation":
        raise InputError(str(file), f"is no annotation of Pascal VOC: it holds <{root.tag:.40}>")
    return root


def _size(root: ElementTree.Element) -> tuple[int, int] | None:
    try:
        size = (int(_text(root, "size/height")), int(_text(root, "size/width")))
    except ValueError:
        return None
    return size if min(size) > 0 else None


def _picture(index: PictureIndex, file: Path, root: ElementTree.Element) -> Path:
    """Returns the picture of an annotation: of the same name, else of the one it names, anywhere."""
    folder = index.root / "JPEGImages"
    for extension in EXTENSIONS:
        for ending in (extension, extension.upper()):
            for place in (folder, file.parent):
                found = place / f"{file.stem}{ending}"
                if found.is_file():
                    return found
    # Only a name: a path of the machine where it was written says nothing here.
    named = (root.findtext("filename") or f"{file.stem}.jpg").strip().replace("\\", "/")
    name = Path(named).name
    if folder.is_dir():
        return folder / name
    return index.find(file.stem, file) or index.find(name, file) or index.root / name


def _annotation(entry: ElementTree.Element) -> Annotation:
    left, top, right, bottom = (
        float(_text(entry, f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")
    )
    return Annotation(
        label=_text(entry, "name"),
        box=(left, top, right, bottom),
        crowd=(entry.findtext("difficult") or "").strip() == "1",
    )


def _text(element: ElementTree.Element, tag: str) -> str:
    text = element.findtext(tag)
    if text is None or not text.strip():
        raise ValueError(f"it lacks {tag}")
    return text.strip()
