"""A small causal transformer of torch's own encoder layers, pre-LN or post-LN.

After Vaswani et al. 2017 (post-LN, https://arxiv.org/abs/1706.03762) and Xiong et al. 2020
(pre-LN against it, https://arxiv.org/abs/2002.04745).
"""

from __future__ import annotations

import math
import re

import torch
from torch import Tensor, nn

from condcli.errors import InputError
from condcli.models.shapes import Shapes

NORMS = ("pre", "post")
HEAD = 16  # numbers of a head: a state_dict does not tell how many heads there are
DEEPEST = 1_000


class Transformer(nn.Module):
    """`depth` blocks of attention and a ReLU network four times as wide, and one linear head.

    It takes tokens (N, T), 0 to vocabulary - 1, T at most `length`, and gives (N, T, vocabulary):
    what each token tells of the next. `norm` says where layer normalisation stands: before each
    half of a block, and once before the head (pre), or after each sum with the shortcut (post).
    Matrices start from Xavier's uniform law, biases at zero; a token's embedding and that of its
    place from N(0, 1/2), so that their sum has the variance that layer normalisation gives.
    """

    def __init__(
        self,
        *,
        vocabulary: int = 256,
        length: int = 128,
        depth: int = 6,
        width: int = 64,
        norm: str = "pre",
    ) -> None:
        super().__init__()
        _check(depth=depth, width=width, norm=norm)
        self.embedding = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        self.blocks = nn.ModuleList(_block(width, norm) for _ in range(depth))
        self.norm = nn.LayerNorm(width) if norm == "pre" else nn.Identity()
        self.head = nn.Linear(width, vocabulary)
        _initialise(self)

    def forward(self, tokens: Tensor) -> Tensor:
        """The logits of each token's successor."""
        count = tokens.shape[1]
        if count > self.positions.num_embeddings:
            raise InputError(
                f"a text of {count} tokens is too long for a transformer of "
                f"{self.positions.num_embeddings}",
                f"pass --length {self.positions.num_embeddings}",
            )
        # Of each example its own, so that its own gradient reaches them.
        places = torch.arange(count, device=tokens.device).expand_as(tokens)
        x = self.embedding(tokens) + self.positions(places)
        mask = nn.Transformer.generate_square_subsequent_mask(
            count, device=tokens.device, dtype=x.dtype
        )
        for block in self.blocks:
            x = block(x, src_mask=mask, is_causal=True)
        logits: Tensor = self.head(self.norm(x))
        return logits


def transformer_sizes(shapes: Shapes) -> dict[str, object] | None:
    """The arguments that a state_dict's names and shapes tell, or None for another network."""
    matches = (re.fullmatch(r"blocks\.(\d+)\.linear1\.weight", name) for name in shapes)
    depth = max((int(match[1]) + 1 for match in matches if match), default=0)
    words, places = shapes.get("embedding.weight", ()), shapes.get("positions.weight", ())
    if depth == 0 or len(words) != 2 or len(places) != 2:
        return None
    return {
        "vocabulary": words[0],
        "length": places[0],
        "depth": depth,
        "width": words[1],
        "norm": "pre" if "norm.weight" in shapes else "post",
    }


def _check(*, depth: int, width: int, norm: str) -> None:
    if not 1 <= depth <= DEEPEST:
        raise InputError(
            f"a transformer cannot have depth {depth}", f"give a depth from 1 to {DEEPEST:,}"
        )
    if width < HEAD or width % HEAD:
        raise InputError(f"a transformer cannot have width {width}", f"give a multiple of {HEAD}")
    if norm not in NORMS:
        raise InputError(f"a transformer has no norm '{norm}'", f"choose from {', '.join(NORMS)}")


def _block(width: int, norm: str) -> nn.Module:
    return nn.TransformerEncoderLayer(
        width,
        width // HEAD,
        4 * width,
        dropout=0.0,
        batch_first=True,
        norm_first=norm == "pre",
    )


def _initialise(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if name.startswith(("embedding", "positions")):
            nn.init.normal_(parameter, std=math.sqrt(0.5))
        elif parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
