"""Mutation fuzzing of every parser: an error of the documented kind, or a result; nothing else.

The corpus is what `formats.py` builds, and a few texts for options. Each test takes a sound input,
damages it as hypothesis chooses, and reads it. test_fuzz.py is the short form; the long one is
`python -m tests.reliability.fuzz SECONDS`, for so long in all.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import cycle
from pathlib import Path

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from condcli.analysis.spectrum import SpectrumRow, spectrum
from condcli.batch import Share
from condcli.commands import percentages_in
from condcli.data.normalization import _parse
from condcli.errors import CondcliError
from condcli.models import parse_arch_args
from condcli.output.gate import parse_gate
from condcli.output.report import Report
from condcli.statsfile.names import decode, encode
from tests.reliability.formats import FORMATS
from tests.synthetic import layer, stats

Edit = tuple[str, float, bytes]
LONGEST = 64  # bytes of one edit
# What has meaning in one format or another, and what is at the edge of a number.
_WORDS = [
    b"\x00" * 8, b"\xff" * 8, b"\xff\xff\xff\x7f", b"\x7f" + b"\xff" * 7, b"\x80" + b"\x00" * 7,
    b"PK\x03\x04", b"PK\x05\x06", b"\x89HDF\r\n\x1a\n", b"\x93NUMPY", b"cposix\nsystem\n",
    b"\x80\x02", b"{", b"}", b"[" * 60, b'"', b"null", b"NaN", b"1e999", b"-1", b"9" * 60,
    b"../../x", b"\n", b",", "\u202e".encode(), b"\xff\xfe",
]  # fmt: skip
_PLACE = st.floats(0, 1, exclude_max=True)
_EDITS = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["flip", "insert", "overwrite"]),
            _PLACE,
            st.binary(min_size=1, max_size=8),
        ),
        st.tuples(st.sampled_from(["insert", "overwrite"]), _PLACE, st.sampled_from(_WORDS)),
        st.tuples(
            st.sampled_from(["delete", "repeat"]), _PLACE, st.binary(min_size=1, max_size=LONGEST)
        ),
        st.tuples(st.just("cut"), _PLACE, st.just(b"")),
    ),
    min_size=1,
    max_size=6,
)


def edited(content: bytes, edits: list[Edit]) -> bytes:
    """The content after these edits; an edit's bytes are also how long a piece it takes."""
    for kind, share, text in edits:
        place = int(share * len(content))
        end = place + len(text)
        piece = {
            "flip": bytes(old ^ new for old, new in zip(content[place:end], text, strict=False)),
            "insert": text + content[place:end],
            "overwrite": text,
            "delete": b"",
            "repeat": content[place:end] * 2,
            "cut": b"",
        }[kind]
        content = content[:place] + piece + (b"" if kind == "cut" else content[end:])
    return content


def parses(read: Callable[[], object]) -> None:
    """Read, and let only the documented errors pass."""
    with suppress(CondcliError):
        read()


def fuzzed_format(name: str) -> Callable[[], None]:
    """A hypothesis test of the reader of one format."""
    form = FORMATS[name]

    def run() -> None:
        with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the libraries below
            folder = Path(place)
            form.make(folder)
            file = folder / form.file
            content = file.read_bytes()

            @given(_EDITS)
            def read_edited(edits: list[Edit]) -> None:
                file.write_bytes(edited(content, edits))
                parses(lambda: form.read(folder))

            _settled(read_edited)()

    return run


def _report() -> Report:
    rows = spectrum(stats(layer()), percent=[50])
    return Report(
        command="spectrum", file=Path("s.h5"), row_type=SpectrumRow, rows=rows, keys=["50"]
    )


def _round_trip(text: str) -> None:
    assert decode(encode(text)) == text


_TEXTS: Mapping[str, tuple[str, Callable[[str], object]]] = {
    "--arch-arg": ("depth=20", lambda text: parse_arch_args([text])),
    "--normalize": ("0.49,0.48,0.45/0.25,0.24,0.26", _parse),
    "--fail-on": ("lambda_max>1e-3", lambda text: parse_gate(text, _report())),
    "--percent": ("100,50,1e-3", percentages_in),
    "--shard": ("2/3", Share.parse),
    "layer names": ("blocks.0/[bold]\x1b%2E", _round_trip),
}


def fuzzed_text(name: str) -> Callable[[], None]:
    """A hypothesis test of one option's parser: its own text edited, or any text."""
    sound, parse = _TEXTS[name]
    near = _EDITS.map(lambda edits: edited(sound.encode(), edits).decode(errors="surrogateescape"))

    def run() -> None:
        @given(st.one_of(near, st.text(max_size=200)))
        def parse_text(text: str) -> None:
            parses(lambda: parse(text))

        _settled(parse_text)()

    return run


def _settled(test: Callable[[], None]) -> Callable[[], None]:
    return settings(
        max_examples=_examples,
        deadline=10_000,  # ms: more is a hang
        database=None,
        derandomize=_repeatable,
        phases=(Phase.explicit, Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
    )(test)


PARSERS: Mapping[str, Callable[[], None]] = {
    **{name: fuzzed_format(name) for name in FORMATS},
    **{name: fuzzed_text(name) for name in _TEXTS},
}
_examples, _repeatable = 60, True  # of the short form


def main(seconds: float) -> None:
    """Fuzz all parsers in turn, with new inputs each round, until the time is over."""
    global _examples, _repeatable
    _examples, _repeatable = 100, False
    end, tried = time.monotonic() + seconds, 0
    for parser in cycle(PARSERS.values()):
        if time.monotonic() > end and tried >= _examples * len(PARSERS):
            break
        parser()
        tried += _examples
    print(f"fuzz: {tried} inputs for {len(PARSERS)} parsers, each refused or read")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 600)
