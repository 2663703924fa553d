"""A training, described whole: equal recipes give equal weights on one machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

# The customary means and deviations, for `--normalize`.
NORMALIZE = {
    "mnist": "0.1307/0.3081",
    "digits": "0.3051/0.375",
    # (125.3, 123.0, 113.9) and (63.0, 62.1, 66.7) of 255: the paper's
    "cifar10": "0.49137,0.48235,0.44667/0.24706,0.24353,0.26157",
    "cifar100": "0.5071,0.4865,0.4409/0.2673,0.2564,0.2762",
    "imagenet": "0.485,0.456,0.406/0.229,0.224,0.225",
}
# Fields that came when trainings were there already, as they were then: they keep their folders.
LATER = {"per_example": "auto", "warmup": 0}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A network of the zoo or of torchvision, its data, and how it is trained."""

    arch: str
    head: str = ""  # before torchvision's last linear layer: bn, a dropout's probability, or both
    arch_args: Mapping[str, object] = field(default_factory=dict)
    data: str = "mnist"
    images: int | None = None  # the first so many of the training split; None: all
    augment: bool = False  # flips, and crops after 4 reflected pixels on each side
    side: int = 0  # pixels of images that are read from a folder as they are needed
    seed: int = 0
    scaled: Mapping[str, float] = field(default_factory=dict)  # layer to a factor of its weight
    optimizer: str = "sgd"  # or adam
    rate: float = 0.1
    momentum: float = 0.0  # Nesterov's
    weight_decay: float = 0.0
    warmup: int = 0  # steps in which the rate grows from zero
    milestones: tuple[int, ...] = ()  # steps from which the rate is a tenth of what it was
    batch: int | None = None  # None: all images, so gradient descent
    steps: int
    record: tuple[int, ...] = ()  # steps of which condcli.Recorder writes a file
    layers: tuple[str, ...] = ()  # only these are recorded; none: all
    per_example: str = "auto"  # the Recorder's; none leaves λ_max(Σ_∂W) out, which takes longest
    checkpoints: tuple[int, ...] = ()  # steps before which the weights are saved
    tests: tuple[int, ...] = ()  # steps before which the test error is taken

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits: a folder's name tells one recipe from another."""
        own = {
            name: value
            for name, value in asdict(self).items()
            if (name, value) not in LATER.items()
        }
        return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:8]
