"""`imagefolder:DIR` and ImageNet: one folder of images for each class, decoded when read.

Images are RGB in 0..1. When all have one size they are kept as they are; otherwise the shorter side
is resized to 256 pixels and the centre 224 x 224 cut out, as ImageNet is usually evaluated.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from condcli.batch import Batch
from condcli.data.normalization import Normalization
from condcli.data.probe_set import Examples, IntArray
from condcli.data.request import Request
from condcli.data.tensors import to_tensor
from condcli.errors import InputError
from condcli.files import replaced, unchanged

if TYPE_CHECKING:
    from PIL import Image

RESIZE, CROP = 256, 224
NARROWEST = 100  # times as long as wide
# Pillow knows a picture by its content, and would give PostScript to a program that runs it.
PICTURE_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
IMAGENET_CLASSES = 1000
IMAGENET_USUAL = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def open_image_folder(folder: str, request: Request) -> Examples:
    """The images of FOLDER/CLASS/…; classes are numbered in the order of their names."""
    files, labels, names = _list_images(Path(folder))
    crop = request.transform is None and not _have_one_size(files)
    return _examples(files, labels, names, crop=crop, usual=None)


def open_imagenet(split: str, root: Path, download: bool) -> Examples:
    """ImageNet-1k from ROOT/imagenet/SPLIT or ROOT/SPLIT, its classes n01440764 … n15075141.

    Not through torchvision's class, which unpacks archives of 150 GB into the folder unasked.
    """
    places = (root / "imagenet" / split, root / split)
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise InputError(
            f"imagenet is not at {places[0]} or {places[1]}",
            "it cannot be downloaded freely: get it yourself and say with --root where it is",
        )
    files, labels, names = _list_images(folder)
    if len(names) != IMAGENET_CLASSES:
        raise InputError(
            f"{folder}: has {len(names)} class folders instead of {IMAGENET_CLASSES}",
            f"name another set of classes as imagefolder:{folder}",
        )
    return _examples(files, labels, names, crop=True, usual=IMAGENET_USUAL)


def _examples(
    files: list[Path],
    labels: list[int],
    names: tuple[str, ...],
    *,
    crop: bool,
    usual: Normalization | None,
) -> Examples:
    """Examples of images of one size, or of any, resized and cropped, when `crop` says so."""

    def fetch(indices: IntArray) -> Batch:
        import torch

        images = [_read_image(files[index]) for index in indices]
        sizes = [image.size for image in images]
        if not crop and len(set(sizes)) > 1:  # they had one when they were listed
            odd = next(place for place, size in enumerate(sizes) if size != sizes[0])
            raise replaced(files[indices[odd]])
        pictures = map(_cropped, images, (files[index] for index in indices)) if crop else images
        tensors = [to_tensor(picture, what="the image") for picture in pictures]
        return torch.stack(tensors), torch.tensor([labels[index] for index in indices])

    return Examples(
        total=len(files),
        fetch=fetch,
        unprepared=lambda index: (_read_image(files[index]), labels[index]),
        classes=len(names),
        class_names=names,
        usual=usual,
    )


def _list_images(folder: Path) -> tuple[list[Path], list[int], tuple[str, ...]]:
    from torchvision.datasets import ImageFolder

    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "give a folder with a folder for each class")
    try:
        dataset = ImageFolder(folder)
    except FileNotFoundError as error:
        raise InputError(
            f"{folder}: a class without images, or no class at all",
            "put the images of each class into a folder of its own, FOLDER/CLASS/IMAGE",
        ) from error
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be listed ({error.strerror})", "check its permissions"
        ) from error
    files, labels = zip(*dataset.samples, strict=True)
    return [Path(file) for file in files], list(labels), tuple(dataset.classes)


def _have_one_size(files: list[Path]) -> bool:
    first = _size(files[0])
    return all(_size(file) == first for file in files)


def _size(file: Path) -> tuple[int, int]:
    """Height and width, from the header."""
    with _opened(file) as image:
        return image.height, image.width


def _read_image(file: Path) -> Image.Image:
    """The image in RGB."""
    with _opened(file) as image:
        converted: Image.Image = image.convert("RGB")
        return converted


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    with unchanged(file) as stream:  # and not the path, of which Pillow maps some formats
        try:
            with picture_of(stream) as image:
                yield image
        except Exception as error:  # Pillow's decoders raise almost anything on damaged files
            raise _damaged(file) from error


def picture_of(stream: IO[bytes]) -> Image.Image:
    """The picture in the stream, to be decoded when it is used; raises whatever Pillow raises."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice as many are refused
        return Image.open(stream, formats=PICTURE_FORMATS)


@contextmanager
def without_programs() -> Iterator[None]:
    """Has Pillow, where it is called by others, hand no PostScript to Ghostscript."""
    from PIL import EpsImagePlugin

    before = EpsImagePlugin.gs_binary
    EpsImagePlugin.gs_binary = False  # its own word for there being none
    try:
        yield
    finally:
        EpsImagePlugin.gs_binary = before


def _cropped(picture: Image.Image, file: Path) -> Image.Image:
    from torchvision.transforms import v2

    if max(picture.size) > NARROWEST * min(picture.size):  # resized, it could fill any memory
        raise InputError(
            f"{file}: an image of {picture.width} by {picture.height} pixels cannot be cropped",
            "take it out, or pass --transform",
        )
    cropped: Image.Image = v2.CenterCrop(CROP)(v2.Resize(RESIZE)(picture))
    return cropped


def _damaged(file: Path) -> InputError:
    return InputError(f"{file}: cannot be read as an image", "replace it or take it out")
