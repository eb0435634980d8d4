"""Which Pythons the project runs on is said the same wherever it is said."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import distributions

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.house.checkout import text

PROJECT = tomllib.loads(text("pyproject.toml"))["project"]
MINORS = [minor for minor in range(50) if f"3.{minor}" in SpecifierSet(PROJECT["requires-python"])]
VERSIONS = [f"3.{minor}" for minor in MINORS]
OLDEST, NEWEST = VERSIONS[0], VERSIONS[-1]


def test_make_takes_the_pythons_that_the_project_takes() -> None:
    makefile = text("Makefile")
    assert f"not (3, {MINORS[0]}) <= sys.version_info[:2] <= (3, {MINORS[-1]})" in makefile
    (names,) = re.findall(r"^NAMES := (.*)$", makefile, re.MULTILINE)
    assert {f"python{version}" for version in VERSIONS} <= set(names.split())
    (minors,) = re.findall(r"foreach minor,([\d ]+)", makefile)
    assert sorted(minors.split()) == [str(minor) for minor in MINORS]
    assert f"--python-version {OLDEST} " in makefile


def test_wheels_are_looked_for_on_each() -> None:
    (versions,) = re.findall(r"for python in (.*); do", text("requirements/check_wheels.sh"))
    assert versions.split() == VERSIONS


def test_every_text_names_the_same_range() -> None:
    named = f"{OLDEST} to {NEWEST}"
    for name in ("README.md", "CONTRIBUTING.md", "Makefile", ".ci/run", "docs/design/contract.md"):
        assert named in text(name), name


def test_types_are_checked_for_the_oldest() -> None:
    tool = tomllib.loads(text("pyproject.toml"))["tool"]
    assert tool["basedpyright"]["pythonVersion"] == OLDEST
    assert tool["ruff"]["target-version"] == f"py{OLDEST.replace('.', '')}"


def test_no_pin_refuses_one_of_them() -> None:
    """`make pins` looks for the wheels; here it is seen without a network what a wheel says that it needs."""
    lines = re.findall(r"^([a-z].*) \\$", text("requirements/dev.txt"), re.MULTILINE)
    pins = {canonicalize_name(pin.name): pin.marker for pin in map(Requirement, lines)}
    installed = [one for one in distributions() if canonicalize_name(one.name) in pins]
    assert len(installed) > len(pins) * 0.9
    for one in installed:
        marker = pins[canonicalize_name(one.name)]
        takes = SpecifierSet(str(one.metadata.json.get("requires_python", "")))
        for version in VERSIONS:
            python = {"python_version": version, "python_full_version": f"{version}.9"}
            if marker is None or marker.evaluate(python):
                assert f"{version}.9" in takes, f"{one.name} on Python {version}"
