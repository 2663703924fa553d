"""What is known by name: networks and data, in words.

No torch is needed for it, so that a shell can complete names at once. What the names open is in
`condcli.models.zoo` and `condcli.data.catalogue`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Named:
    """One name or form, with what it takes and what it is."""

    arguments: str
    description: str


_CIFAR = "depth=20 classes=10 channels=3 norm=bn|none|ln|rms|gn|in width=16"

ZOO: Mapping[str, Named] = {
    "mlp": Named(
        "inputs=784 classes=10 depth=20 width=256 norm=none|bn|ln|rms|gn "
        "init=default|he|orthogonal",
        "linear layers fc1, fc2, … with ReLU",
    ),
    "resnet": Named(_CIFAR, "the CIFAR ResNet of 6n + 2 layers"),
    "resnet_lastbn": Named(_CIFAR, "the same with BN before the last linear layer"),
    "preresnet": Named(_CIFAR, "the ResNet with pre-activation and a last BN"),
    "preresnet_v1": Named(_CIFAR, "the same without the last BN"),
    "vgg_style": Named(_CIFAR, "the CIFAR ResNet without its shortcuts"),
    "vgg_style_lastbn": Named(_CIFAR, "the same with BN before the last linear layer"),
    "transformer": Named(
        "vocabulary=256 length=128 depth=6 width=64 norm=pre|post",
        "a causal language model, heads of 16 numbers",
    ),
}
ARCHITECTURE_FORMS: Mapping[str, Named] = {
    "timm:NAME": Named("those of timm.create_model", "a network of timm (condcli[timm])"),
    "hf:CONFIG.json": Named("", "a network of transformers (condcli[hf])"),
    "FILE.py:function": Named("the function's", "what your function returns"),
    "package.module:function": Named("the function's", "the same, imported"),
}
VISION_ARGUMENTS = "num_classes=1000 and those of its builder"

DATA_SETS: Mapping[str, str] = {
    "digits": "1,797 8x8 digits (in condcli)",
    "mnist": "28x28 handwritten digits",
    "fashion-mnist": "28x28 pictures of clothes",
    "cifar10": "32x32 photos, 10 classes",
    "cifar100": "32x32 photos, 100 classes",
    "svhn": "32x32 house numbers",
    "imagenet": "224x224 photos, 1,000 classes",
}
# Prefix to title and description.
DATA_PREFIXES: Mapping[str, tuple[str, str]] = {
    "imagefolder": ("imagefolder:DIR", "images, a folder for each class"),
    "torchvision": ("torchvision:NAME", "a data set of torchvision's, such as EuroSAT"),
    "hfdataset": ("hfdataset:DIR", "what datasets' save_to_disk wrote"),
    "text": ("text:FILE", "a text, as bytes or by --tokenizer"),
    "random": ("random:3x32x32", "standard normal inputs, uniform labels"),
}


def paths_in(*values: object) -> list[Path]:
    """The files and folders that options name: as such, after a prefix, or before `:function`."""
    found = []
    for text in map(str, filter(None, values)):
        candidates = dict.fromkeys((text, text.partition(":")[2], text.rpartition(":")[0]))
        found += [Path(candidate) for candidate in candidates if _exists(candidate)]
    return found


def _exists(path: str) -> bool:
    try:
        return path != "" and Path(path).exists()
    except (OSError, ValueError):  # too long a name, a NUL in it
        return False


def vision_names() -> list[str]:
    """torchvision's classification networks, read off its source: importing it takes seconds."""
    found = (match[1] for text in _vision_sources() for match in _BUILDER.finditer(text))
    return sorted(found)


def vision_papers() -> dict[str, str]:
    """The paper that each of torchvision's classification networks is from, by its name."""
    papers = {}
    for text in _vision_sources():
        for node in ast.parse(text).body:
            if isinstance(node, ast.FunctionDef) and _is_builder(node):
                title = _LINK.search(ast.get_docstring(node) or "")
                papers[node.name] = " ".join(title[1].split()) if title else ""
    return dict(sorted(papers.items()))


_BUILDER = re.compile(r"^@register_model\(\)\n(?:@.*\n)*def (\w+)\(", re.MULTILINE)
_LINK = re.compile(r"`([^`<]+?)\s*<http")


def _vision_sources() -> Iterator[str]:
    """The files at the top of torchvision.models; those in folders are of other tasks."""
    found = find_spec("torchvision")
    for place in (found and found.submodule_search_locations) or ():
        for path in sorted(Path(place, "models").glob("*.py")):
            yield path.read_text(encoding="utf-8")


def _is_builder(node: ast.FunctionDef) -> bool:
    return any("register_model" in ast.unparse(each) for each in node.decorator_list)
