"""A small word tokenizer of Hugging Face's, with words that can be looked up by hand."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, processors


def word_tokenizer(file: Path, text: str, *, special: bool = False) -> dict[str, int]:
    """Write a tokenizer that splits at white space to ``file``; its vocabulary comes back."""
    words = ["[UNK]", "[CLS]", "[SEP]", *sorted(set(text.split()))]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if special:
        pair = [(word, vocabulary[word]) for word in ("[CLS]", "[SEP]")]
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=pair
        )
    tokenizer.save(str(file))
    return vocabulary
