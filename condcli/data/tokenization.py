"""Text becomes tokens: bytes, or by a Hugging Face tokenizer's own JSON. No code of it is run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from condcli.data.extras import extra_library
from condcli.errors import CondcliError, InputError
from condcli.files import unchanged, without_panic
from condcli.user_code import one_line

BYTES = "bytes"
HOW = "give a folder with tokenizer.json or that file (save_pretrained writes it), or bytes"


def find_tokenizer(name: str | None, *, longest: int | None = None) -> Callable[[str], list[int]]:
    """A function from a text to its tokens: 0..255 for None and `bytes`, else as `name` says.

    `name` is a tokenizer.json or a folder with one. With `longest`, a text is an example of its
    own: cut to so many tokens, with the special ones (of a beginning, of an end) that the
    tokenizer adds. Without, it is a piece of a longer text, and gets none.
    """
    if name is None or name == BYTES:
        return lambda text: list(text.encode()[:longest])
    file = Path(name) / "tokenizer.json" if Path(name).is_dir() else Path(name)
    if not file.is_file():
        raise InputError(f"{file}: no such tokenizer", HOW)
    library = extra_library("tokenizers", extra="hf", source=f"--tokenizer {name}")
    try:
        with unchanged(file) as stream, without_panic():
            tokenizer = library.Tokenizer.from_str(stream.read().decode())
    except CondcliError:
        raise
    except Exception as error:  # of the kind Exception itself
        raise InputError(f"{file}: not a tokenizer of Hugging Face", HOW) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    if longest is not None:
        tokenizer.enable_truncation(longest)

    def encode(text: str) -> list[int]:
        try:
            with without_panic():
                coded = tokenizer.encode(text, add_special_tokens=longest is not None)
        except Exception as error:  # as above
            raise InputError(f"{file}: fails on the text ({one_line(error)})", HOW) from error
        tokens: list[int] = coded.ids
        return tokens

    return encode
