"""The locked requirements: every package of the environment, with its version and the checksums of its files."""

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from test_install import PINS, PROJECT, pinned

from workflow_scripts.plan.code import ROOT

LOCK = (ROOT / "envs" / "requirements.lock").read_text()
FROM = "-r envs/requirements.txt"


@dataclass(frozen=True)
class Locked:
    """A package of the lock.

    Attributes:
        requirement: its name, version and marker.
        hashes: the SHA-256 of each of its files.
        wanted_by: the packages that require it.
    """

    requirement: Requirement
    hashes: list[str]
    wanted_by: set[str]

    @property
    def is_for_this_machine(self) -> bool:
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def read_lock() -> dict[str, Locked]:
    """The packages by their names."""
    packages = {}
    for block in re.split(r"\n(?=\w)", LOCK)[1:]:
        first, *lines = block.splitlines()
        requirement = Requirement(first.removesuffix(" \\"))
        assert requirement.name not in packages
        hashes = [line.strip(" \\") for line in lines if not line.startswith("    #")]
        comments = [line.removeprefix("    #").strip().removeprefix("via").strip() for line in lines[len(hashes) :]]
        packages[requirement.name] = Locked(requirement, hashes, set(filter(None, comments)))
    return packages


PACKAGES = read_lock()


def requirements_of(package: Requirement) -> list[Requirement] | None:
    """What a package requires on this machine; None where another version of it is installed, or none."""
    try:
        installed = distribution(package.name)
    except PackageNotFoundError:
        return None
    if installed.version != pinned(PACKAGES[canonicalize_name(package.name)].requirement):
        return None
    asked = map(Requirement, installed.requires or [])
    extras = ("", *package.extras)
    return [
        each for each in asked if not each.marker or any(each.marker.evaluate({"extra": extra}) for extra in extras)
    ]


def test_every_package_has_its_version_and_checksums():
    assert len(PACKAGES) > len(PINS)
    for name, package in PACKAGES.items():
        assert name == canonicalize_name(name) and pinned(package.requirement)
        assert package.wanted_by and package.wanted_by <= PACKAGES.keys() | {FROM}, name
        assert package.hashes and all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", each) for each in package.hashes), name
    assert "://" not in LOCK and "index" not in LOCK


def test_the_pins_are_those_of_the_lock():
    for pin in PINS:
        locked = PACKAGES[canonicalize_name(pin.name)]
        assert locked.requirement.specifier == pin.specifier and locked.requirement.marker is None, pin.name
        assert FROM in locked.wanted_by
    listed = {name for name, package in PACKAGES.items() if FROM in package.wanted_by}
    assert listed == {canonicalize_name(pin.name) for pin in PINS}


def test_the_lock_says_how_it_is_made_for_every_python_of_the_project():
    [lowest] = re.findall(r">=([\d.]+)", PROJECT["project"]["requires-python"])
    assert LOCK.splitlines()[1] == (
        f"#    uv pip compile --universal --python-version {lowest} --fork-strategy fewest --generate-hashes"
        " envs/requirements.txt -o envs/requirements.lock"
    )


def test_the_image_has_a_python_of_the_project_and_installs_the_lock():
    recipe = (ROOT / "envs" / "apptainer.def").read_text()
    [version] = re.findall(r"^From: python:(\d+\.\d+\.\d+)-slim-\w+$", recipe, re.MULTILINE)
    assert version in SpecifierSet(PROJECT["project"]["requires-python"])
    [(source, there)] = re.findall(r"^%files\n +(\S+) (\S+)$", recipe, re.MULTILINE)
    assert (ROOT / source).read_text() == LOCK
    assert f" --require-hashes -r {there}\n" in recipe


def test_the_lock_has_what_the_requirements_need_and_no_more():
    """Torch without CUDA needs less, and a newer release may need others: of these, what the lock says counts."""
    reached, asked, waiting = set(), set(), list(PINS)
    while waiting:
        package = waiting.pop()
        name = canonicalize_name(package.name)
        assert name in PACKAGES, f"{package} is missing"
        reached.add(name)
        needed = requirements_of(package)
        if needed is None:
            needed = [
                other.requirement
                for other in PACKAGES.values()
                if name in other.wanted_by and other.is_for_this_machine
            ]
        for each in needed:
            locked = PACKAGES.get(canonicalize_name(each.name))
            assert locked and locked.is_for_this_machine, f"{package} needs {each}"
            assert each.specifier.contains(pinned(locked.requirement), prereleases=True), f"{package} needs {each}"
            if (question := (each.name, *sorted(each.extras))) not in asked:
                asked.add(question)
                waiting.append(each)
    assert reached == {name for name, package in PACKAGES.items() if package.is_for_this_machine}
    compared = [pin.name for pin in PINS if requirements_of(pin) is not None]
    assert {pin.name for pin in PINS} - set(compared) <= {"torch"}
