"""The digests are those of the installed torchvision, for every network that it can build."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest

from condcli.models.shapes import Shapes, shapes_built
from condcli.models.vision import SLOW_INIT, vision_names, vision_network
from condcli.models.vision_digest import FILE, digest, nearest_names, patterns, vision_matches

VARIANTS = [
    (name, args)
    for name in vision_names()
    for args in ([{}, {"aux_logits": False}] if name in SLOW_INIT else [{}])
]


def built(name: str, **args: object) -> Shapes:
    return shapes_built(lambda: vision_network(name, **args))


@pytest.fixture(scope="module")
def entries(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update-golden"):
        lines = ",\n".join(json.dumps(entry_of(name, args)) for name, args in VARIANTS)
        FILE.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def entry_of(name: str, args: dict[str, object]) -> dict[str, object]:
    shapes = built(name, num_classes=7, **args)
    others = [built(name, num_classes=8, **args)]
    if name.startswith("vit"):
        others.append(built(name, num_classes=7, image_size=448))
    varying = [
        (key, axis)
        for key, shape in shapes.items()
        for axis in range(len(shape))
        if any(other[key][axis] != shape[axis] for other in others)
    ]
    return {
        "name": name,
        "args": args,
        "varying": varying,
        "digest": digest(shapes, varying),
        "patterns": " ".join(sorted(patterns(shapes))),
        "parameters": sum(map(math.prod, shapes.values())),
    }


@pytest.mark.usefixtures("entries")
@pytest.mark.parametrize(("name", "args"), VARIANTS)
def test_each_network_is_told_whatever_its_classes(name: str, args: dict[str, object]) -> None:
    shapes = dict(built(name, num_classes=10, **args))
    assert vision_matches(shapes) == [(name, {"num_classes": 10, **args})]
    shapes["one.more"] = (3,)
    assert vision_matches(shapes) == []


def test_every_network_is_in_the_file_once(entries: None) -> None:
    known = Counter(each["name"] for each in json.loads(FILE.read_text(encoding="utf-8")))
    assert known == Counter(name for name, _ in VARIANTS)


@pytest.mark.parametrize("name", ["resnet50", "vgg16_bn", "swin_v2_t", "mobilenet_v3_large"])
def test_a_network_is_near_to_itself_when_some_of_it_is_changed(name: str) -> None:
    shapes = dict(built(name, num_classes=10))
    first = next(iter(shapes))
    del shapes[first]
    shapes["extra.weight"] = (7,)
    assert nearest_names(shapes)[0] == name


def test_a_network_of_another_kind_is_near_to_none() -> None:
    assert nearest_names({"lstm.weight_ih_l0": (28, 5), "lstm.weight_hh_l0": (28, 7)}) == []
