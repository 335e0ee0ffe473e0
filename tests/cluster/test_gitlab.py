# SPDX-License-Identifier: GPL-2.0-or-later
"""The pipeline of a matrix: what GitLab accepts, and the matrix's cells, each once."""

from __future__ import annotations

import importlib.resources
import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from lab.campaign.cells import Choice, NightPlan, pairs_named, plan_night
from lab.cluster import gitlab
from lab.errors import UserError
from lab.spec.catalog import Catalog
from lab.spec.matrix import STOCK
from lab.spec.matrix_file import LoadedMatrix, load_matrix

SCHEMA = json.loads(
    importlib.resources.files("check_jsonschema.builtin_schemas.vendor")
    .joinpath("gitlab-ci.json")
    .read_text(encoding="utf-8")
)
"""GitLab's own, as check-jsonschema ships it; no network. (Its data transform is about !reference, which the
lab does not write: yaml.safe_load refuses it.)"""

NOT_JOBS = ("stages", "variables", "workflow")

MATRIX = """
title: two kernels
kernels:
  - kernel: debian:6.12
    series: [stock, mine.mbox]
  - kernel: source:6.12
configurations: [lean+drm, lean+drm+debug]
machines: [qxl, virtio-gpu]
cases: [smoke, prefault, virt-faults]
include:
  - {kernel: "debian:7.3", cases: [smoke/boot], machine: bochs}
exclude:
  - {machine: virtio-gpu, case: "prefault/*"}
limits:
  - {case: prefault/first-touch, trials: 3, timeout: 77.5}
priorities:
  - {case: "smoke/*", priority: 5}
"""


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return Catalog.load()


def planned(path: Path, catalog: Catalog) -> tuple[LoadedMatrix, NightPlan]:
    """As lab.workflow.night_plan does it, without asking the archive what there is."""
    loaded = load_matrix(path, catalog)
    chosen = {}
    for kernel, series in pairs_named(loaded.matrix):
        mboxes = {} if series == STOCK else {f"series/{series}": path.parent / series}
        chosen[kernel, series] = Choice(kernel, mboxes)
    return loaded, plan_night(loaded, chosen, catalog.machines)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    (tmp_path / "ci").mkdir()
    (tmp_path / "ci/mine.mbox").write_text("From nobody\n")
    path = tmp_path / "ci/matrix.yaml"
    path.write_text(MATRIX)
    return path


def jobs(text: str) -> dict[str, dict[str, Any]]:
    """The jobs of a pipeline that GitLab would take: by its schema, and by its documentation where the schema
    takes any text (https://docs.gitlab.com/ci/yaml/ and .../ci/jobs/)."""
    document = yaml.safe_load(text)
    jsonschema.validate(document, SCHEMA)
    found = {name: job for name, job in document.items() if name not in NOT_JOBS}
    for name, job in found.items():
        assert len(name) <= 255
        assert job["stage"] in document["stages"]
        assert job["tags"] and all(0 < len(tag) <= 255 for tag in job["tags"])
        assert re.fullmatch(r"[1-9][0-9]{0,4} minutes", job["timeout"])
        assert re.fullmatch(r"[A-Za-z0-9_:./-]{1,255}", job.get("resource_group", "any"))
        assert not any(path.startswith("/") for path in job["artifacts"]["paths"])
    return found


def pipeline(path: Path, catalog: Catalog, *without: str) -> str:
    loaded, plan = planned(path, catalog)
    return gitlab.pipeline(loaded, gitlab.split(loaded, plan, catalog.machines, set(without)), "ci")


def test_the_jobs_do_all_cells_once(written: Path, catalog: Catalog) -> None:
    """Each job's script, run by a shell, writes a matrix; the cells of all these are those of the whole, with
    trials, timeout and priority."""
    _, whole = planned(written, catalog)
    wanted = Counter((one.cell, one.trials, one.timeout, one.priority) for one in whole.cells)
    found: Counter[Any] = Counter()
    for job in jobs(pipeline(written, catalog)).values():
        writing, _ = job["script"]
        subprocess.run(["sh", "-ec", writing], cwd=written.parent.parent, check=True, timeout=10)
        (file,) = written.parent.glob(".*.yaml")
        _, part = planned(file, catalog)
        found.update((one.cell, one.trials, one.timeout, one.priority) for one in part.cells)
        assert part.left_out == ()
        file.unlink()
    assert found == wanted
    assert set(found.values()) == {1}


def test_a_job_has_the_tags_of_what_its_cells_need(written: Path, catalog: Catalog) -> None:
    """KVM where a case needs it, nothing beside the lab where none does; every kernel has jobs of its own."""
    for job in jobs(pipeline(written, catalog)).values():
        cases = yaml.safe_load("\n".join(job["script"][0].splitlines()[1:-1]))["cases"]
        needs = {need for case in cases for need in catalog.case(case).needs}
        assert ("kvm" in job["tags"]) == ("kvm" in needs)
        assert job["tags"][0] == "faultlab"
        assert job["script"][1].startswith('"$LAB" nightly ci/.')


def test_a_device_is_one_jobs_at_a_time(written: Path, catalog: Catalog) -> None:
    """A machine that a device of the host is given to: its tag, and a resource group of that name."""
    text = MATRIX.replace("machines: [qxl, virtio-gpu]", "machines: [vfio]\nclock: real")
    text = text.replace("cases: [smoke, prefault, virt-faults]", "cases: [smoke]")
    text = text[: text.index("exclude:")].replace("kernel: source:6.12", "kernel: debian:6.1")
    written.write_text(text)
    device = catalog.machine("vfio").passthrough
    assert device is not None
    tag = f"vfio:{device.device}"
    found = [job for job in jobs(pipeline(written, catalog)).values() if tag in job["tags"]]
    assert found
    assert {job["resource_group"] for job in found} == {tag}
    assert all("kvm" in job["tags"] for job in found)  # real clock
    for job in jobs(pipeline(written, catalog, tag, "kvm", "iommu")).values():
        assert job["tags"] == ["faultlab"] and "resource_group" not in job


def test_jobs_are_bounded(written: Path, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part whose trials could take too long is split; too many jobs, or too long a text, are refused."""
    few = jobs(pipeline(written, catalog))
    monkeypatch.setattr(gitlab, "JOB_SECONDS", 600.0)
    many = jobs(pipeline(written, catalog))
    assert len(many) > len(few)
    monkeypatch.setattr(gitlab, "MAX_JOBS", 3)
    with pytest.raises(UserError, match=r"would have \d+ jobs, 3 is the limit"):
        pipeline(written, catalog)
    monkeypatch.setattr(gitlab, "MAX_JOBS", 200)
    monkeypatch.setattr(gitlab, "MAX_TEXT", 1000)
    with pytest.raises(UserError, match="GitLab takes 1,000"):
        pipeline(written, catalog)


@pytest.mark.parametrize(
    "change",
    [
        {"script": []},
        {"tags": "kvm"},
        {"needs": "nothing"},
        {"retry": {"max": 3, "when": ["runner_system_failure"]}},
        {"retry": {"max": 1, "when": ["the_runner_failed"]}},
        {"timeout": 60},
        {"interruptible": "perhaps"},
        {"resource_group": ["vfio:8086:56a0"]},
        {"artifacts": {"when": "sometimes", "paths": ["x"]}},
        {"artifacts": {"when": "always", "paths": ["x"], "reports": {"junitxml": ["x"]}}},
        {"resource_groups": "x"},
    ],
)
def test_the_schema_refuses_what_gitlab_would(
    written: Path, catalog: Catalog, change: dict[str, object]
) -> None:
    """A job that is wrong in one place does not pass."""
    document = yaml.safe_load(pipeline(written, catalog))
    name = next(name for name in document if name not in NOT_JOBS)
    document[name] |= change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)
