"""Lays out the wheel; all the rest is in pyproject.toml.

The programs and the catalogs stand at the top of a checkout. The wheel has them inside the package
`imagequeue`, since names like `api` and `cli` in site-packages would meet those of other distributions
(docs/adr/0026-one-name-in-site-packages.md).
"""

from setuptools import find_namespace_packages, setup
from setuptools.command.build_py import build_py

PROGRAMS = ("api", "cli", "migrations", "simulator", "worker")
INSIDE = "imagequeue._programs"


def _packages(*names: str) -> list[str]:
    return find_namespace_packages(
        include=[*names, *(f"{name}.*" for name in names)], exclude=["*.__pycache__"]
    )


class BuildPrograms(build_py):
    """Takes the catalogs of the checkout's top folder, and none of its modules, which is this file."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        """The modules of one package: its name, each module's name, and the file."""
        if package == INSIDE:
            return []
        return super().find_package_modules(package, package_dir)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]


setup(
    cmdclass={"build_py": BuildPrograms},
    packages=[*_packages("imagequeue"), INSIDE, *(f"{INSIDE}.{name}" for name in _packages(*PROGRAMS))],
    package_dir={INSIDE: "."} | {f"{INSIDE}.{name}": name.replace(".", "/") for name in _packages(*PROGRAMS)},
    exclude_package_data={INSIDE: ["pyproject.toml"]},
)
