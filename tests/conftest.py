"""Each test runs in a folder of its own, so that what it leaves there is gone with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes depends on the machine, not on us: a busy one must not fail a test.
settings.register_profile("quiet", deadline=None)
settings.load_profile("quiet")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
