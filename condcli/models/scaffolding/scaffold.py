"""A Python file with the modules of a checkpoint, whose forward is left to the user.

Names from the checkpoint are data: they become attributes where they are identifiers, and quoted
ASCII strings everywhere else.
"""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from condcli.errors import InputError
from condcli.models.guesses.guess import guess_layers
from condcli.models.guesses.layer import Call, Layer
from condcli.models.guesses.tree import Node, Specs, tree_of
from condcli.models.scaffolding.families import Family, families, numbers, skeleton
from condcli.models.scaffolding.forward import forward_lines, is_filled_in
from condcli.models.scaffolding.plan import Block, Filler, Part, Sequence, Tensor, plan
from condcli.models.scaffolding.source import (
    STEP,
    Brackets,
    Code,
    Item,
    flat,
    is_attribute,
    lines,
    quoted,
)

Classes = Mapping[Hashable, Family]

LONGEST_REPEATED = 60  # characters of a call that is repeated in one line

TRANSPOSED_LINEAR = '''\
class TransposedLinear(nn.Module):
    """y = x W + b with W of shape (in_features, out_features), as in GPT-2."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(in_features, out_features))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight + self.bias
'''


@dataclass(frozen=True, slots=True)
class Scaffold:
    """The file's text, which of its classes still need a forward, and how to probe it."""

    text: str
    unfinished: tuple[str, ...]
    probe: str  # a command line


def scaffold(specs: Specs, *, model: str, file: str) -> Scaffold:
    """The modules that hold such tensors, and `build()`, which returns the network.

    `model` and `file` are the paths of the checkpoint and of the scaffold, for its last line.
    Raises InputError for names that no module's attributes can have.
    """
    root = tree_of(specs)
    _check_names(root)
    part = plan(root, guess_layers(root))
    if isinstance(part, Sequence) and not part.is_chain:
        items = tuple((str(number), item) for number, item in enumerate(part.items))
        part = Block(tuple((n, i) for n, i in items if not isinstance(i, Filler)), ())
    classes = families(part)
    sections = [_class(family, classes) for family in classes.values()]
    sections.append(_build(part, classes))
    text = "\n\n\n".join(sections)
    if "TransposedLinear(" in text:
        text = f"{TRANSPOSED_LINEAR}\n\n{text}"
    command = f"condcli probe {_shown(model)} --arch {_shown(file)}:build --data DATA"
    unfinished = [each.name for each in classes.values() if not is_filled_in(each.block)]
    return Scaffold(
        text=f"{_head(text)}\n\n\n{text}\n\n\n# {command}\n",
        unfinished=tuple(unfinished),
        probe=command,
    )


def _check_names(root: Node) -> None:
    from torch import nn

    own, all_names = set(vars(nn.Module())), set(dir(nn.Module()))
    for node in root.walk():
        for name in (*node.tensors, *node.children):
            is_taken = name in own if is_attribute(name) else name in all_names
            is_buffer = name in node.tensors and name in all_names
            is_both = name in node.tensors and name in node.children
            if not name or "." in name or is_taken or is_buffer or is_both:
                raise InputError(
                    f"the name {'.'.join((*node.path, name))!r} cannot be in a torch module",
                    "rename the tensor, then save again",
                )


def _head(text: str) -> str:
    imports = {
        "import torch": "torch." in text,
        "from torch import nn": True,
        "from torch.nn import functional as F": "F." in text,
    }
    docstring = (
        '"""A network as condcli inspect --scaffold found it in the names of its tensors."""'
    )
    return "\n".join([docstring, "", *(line for line, needed in imports.items() if needed)])


def _class(family: Family, classes: Classes) -> str:
    texts = iter(family.texts)
    members = [
        line for name, part in family.block.members for line in _member(name, part, texts, classes)
    ]
    arguments = tuple(Item(f"{name}: int") for name in family.arguments)
    signature = Brackets("def __init__(", (Item("self"), *arguments), ") -> None:")
    forward = [f"{STEP * 2}{line}" for line in forward_lines(family.block)]
    return "\n".join(
        [
            f"class {family.name}(nn.Module):",
            *([f'{STEP}"""{place}"""', ""] if (place := _place(family)) else []),
            *lines(signature, STEP),
            f"{STEP * 2}super().__init__()",
            *members,
            "",
            f"{STEP}def forward(self, x: torch.Tensor) -> torch.Tensor:",
            *forward,
        ]
    )


def _place(family: Family) -> str:
    path = family.block.path
    if not path:
        return "The whole network."
    if not all(part.isascii() and part.replace("_", "").isalnum() for part in path):
        return ""
    more = f" and {family.count - 1} more" if family.count > 1 else ""
    return f"{'.'.join(path)}{more}."


def _member(name: str, part: Part, texts: Iterator[str], classes: Classes) -> list[str]:
    item = _item(part, texts, classes)
    if isinstance(part, Tensor) and part.role == "buffer":
        code: Code = Brackets("self.register_buffer(", (Item(quoted(name)), item), ")")
    elif is_attribute(name):
        code = _after(f"self.{name} = ", item.code)
    else:
        add = "register_parameter" if isinstance(part, Tensor) else "add_module"
        code = Brackets(f"self.{add}(", (Item(quoted(name)), Item(item.code)), ")")
    return lines(code, STEP * 2, comment=item.comment)


def _build(part: Part, classes: Classes) -> str:
    texts = (str(size) for _, size in numbers(part))
    item = _item(part, texts, classes)
    return "\n".join(
        [
            "def build() -> nn.Module:",
            f'{STEP}"""The network, with the names and shapes of the checkpoint."""',
            *lines(_after("return ", item.code), STEP, comment=item.comment),
        ]
    )


def _item(part: Part | Filler, texts: Iterator[str], classes: Classes) -> Item:
    """The Python that builds the part; takes its sizes from `texts`."""
    if isinstance(part, Block):
        return Item(_construction(part, texts, classes[skeleton(part)]))
    if isinstance(part, Sequence):
        return Item(_sequence(part, texts, classes))
    if isinstance(part, Filler):
        return Item(_call(part.call, texts), "guess")
    comment = f"guess: {part.guess}" if isinstance(part, Layer) and part.guess else ""
    return Item(_call(part.call, texts), comment)


def _construction(block: Block, texts: Iterator[str], family: Family) -> Code:
    sizes = [next(texts) for _ in numbers(block)]
    items = tuple(Item(f"{name}={sizes[k]}") for name, k in family.arguments.items())
    return Brackets(f"{family.name}(", items, ")")


def _sequence(part: Sequence, texts: Iterator[str], classes: Classes) -> Code:
    items = [_item(each, texts, classes) for each in part.items]
    blocks = [isinstance(each, Block) for each in part.items]
    runs: list[Item] = []
    for (item, is_block), run in groupby(zip(items, blocks, strict=True)):
        count, text = len(list(run)), flat(item.code)
        if is_block and count > 1 and len(text) <= LONGEST_REPEATED:
            runs.append(Item(f"*({text} for _ in range({count}))"))
        else:
            runs += [item] * count
    if part.is_chain:
        return Brackets("nn.Sequential(", tuple(runs), ")")
    return Brackets("nn.ModuleList(", (Item(Brackets("[", tuple(runs), "]")),), ")")


def _call(call: Call, texts: Iterator[str]) -> Code:
    items = []
    for argument in call.arguments:
        value: Code
        if isinstance(argument.value, Call):
            value = _call(argument.value, texts)
        else:
            value = argument.value if isinstance(argument.value, str) else next(texts)
        items.append(Item(_after(f"{argument.name}=", value) if argument.by_name else value))
    return Brackets(f"{call.function}(", tuple(items), ")")


def _after(prefix: str, code: Code) -> Code:
    if isinstance(code, str):
        return prefix + code
    return Brackets(prefix + code.opening, code.items, code.closing)


def _shown(path: str) -> str:
    """The path as a shell takes it, in a comment."""
    return shlex.quote(path) if path.isprintable() else "MODEL"
