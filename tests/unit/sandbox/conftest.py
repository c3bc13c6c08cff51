"""Canaries and a checker that tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from evalkit.sandbox import Checker
from tests.support.sandbox.canaries import TIMEOUT_SECONDS, Canaries


@pytest.fixture(scope="module")
def canaries(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Canaries]:
    os.environ["EVALKIT_CANARY"] = "canary"
    folder = tmp_path_factory.mktemp("canaries")
    made = Canaries(folder)
    yield made
    made.close()
    del os.environ["EVALKIT_CANARY"]


@pytest.fixture(scope="session")
def checker() -> Iterator[Checker]:
    with Checker(timeout_seconds=TIMEOUT_SECONDS, jobs=1) as started:
        yield started
