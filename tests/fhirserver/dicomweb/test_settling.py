"""The names of stored instances survive a loss of power: every folder on the way to them is synced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fhirserver.config import Config
from fhirserver.store.objects import Objects


def test_each_folder_above_the_objects_is_synced_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    objects = Objects(Config(data=tmp_path))
    keys = ["dicom/1.2/a", "dicom/1.2/b", "dicom/1.3/c", "d"]
    for key in keys:
        with objects.begin() as upload:
            upload.write(b"content")
            upload.finish(key, settle=False)
    synced: list[str] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink().relative_to(tmp_path / "objects")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    objects.settle(keys)
    assert sorted(synced) == [".", "dicom", "dicom/1.2", "dicom/1.3"]
