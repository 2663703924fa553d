"""The runner that all cases share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.reliability.runner import Runner


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    with Runner() as shared:
        yield shared
