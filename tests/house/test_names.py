"""One name for one thing: classes of the product have names of their own, and the glossary knows them."""

from __future__ import annotations

import ast
import re

from tests.house.checkout import text
from tests.house.measure import PRODUCT
from tests.house.program import Module, modules, public_classes

GLOSSARY = "docs/glossary.md"
KNOWN_BY_THE_GLOSSARY = ("imagequeue/domain/", "imagequeue/lifecycle/")

ERRORS = "ImagequeueError", "UpstreamError", "Exception"
"""What a class below one of these means is its docstring, which clients or operators read."""

ONE_STEP = "a value that one file of a room hands to another, or to the one that called it"
PARTS_OF_THE_FORECAST = "a term of the arithmetic of the forecast, which its module's essay defines"

EXEMPT = {
    "Accepted": ONE_STEP,
    "Checked": ONE_STEP,
    "CheckedLine": ONE_STEP,
    "ClaimedCall": ONE_STEP,
    "BatchChange": ONE_STEP,
    "CreatedBatch": ONE_STEP,
    "Draft": ONE_STEP,
    "EndFiles": ONE_STEP,
    "FileLine": ONE_STEP,
    "History": ONE_STEP,
    "LineAnswer": ONE_STEP,
    "IssuedKey": ONE_STEP,
    "JobInLine": ONE_STEP,
    "JobTrouble": ONE_STEP,
    "LinePreparation": ONE_STEP,
    "Means": ONE_STEP,
    "KeyTerms": ONE_STEP,
    "Output": ONE_STEP,
    "PlannedCall": ONE_STEP,
    "PartLost": ONE_STEP,
    "Postponed": ONE_STEP,
    "Prepared": ONE_STEP,
    "PreparedLine": ONE_STEP,
    "Progress": ONE_STEP,
    "Rates": ONE_STEP,
    "Turn": ONE_STEP,
    "ReadRequest": ONE_STEP,
    "Upload": ONE_STEP,
    "ValidLine": ONE_STEP,
    "Waiting": ONE_STEP,
    "FlowSample": PARTS_OF_THE_FORECAST,
    "ServiceRate": PARTS_OF_THE_FORECAST,
    "Starts": PARTS_OF_THE_FORECAST,
    "WorkerSlots": PARTS_OF_THE_FORECAST,
}
"""Classes of the domain and of the verbs that are no word of the project, and why."""


def test_no_two_classes_of_the_product_have_one_name() -> None:
    homes: dict[str, list[str]] = {}
    for folder in PRODUCT:
        for name, found in public_classes(f"{folder}/").items():
            homes.setdefault(name, []).extend(str(module.path) for module in found)
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}


def test_the_glossary_knows_the_classes_of_the_domain_and_of_the_verbs() -> None:
    words, names = _words(), _names()
    unknown = [
        f"{module.path} {name}"
        for name, module in _classes().items()
        if name.lower() not in words
        and name not in names
        and name not in EXEMPT
        and not _is_error(module, name)
    ]
    assert not unknown, f"a row of {GLOSSARY}, its name in `backticks` in one, or an exemption here"


def test_every_exemption_is_of_a_class_that_the_glossary_does_not_know() -> None:
    known = {name for name in EXEMPT if name.lower() in _words() or name in _names()}
    assert not known
    assert EXEMPT.keys() <= _classes().keys()


def test_every_class_that_the_glossary_names_exists() -> None:
    classes = {
        node.name for module in modules().values() for node in module.nodes if isinstance(node, ast.ClassDef)
    }
    assert {name for name in _names() if re.fullmatch(r"(?:[A-Z][a-z]+)+", name)} <= classes


def _classes() -> dict[str, Module]:
    return {
        name: found[0] for folder in KNOWN_BY_THE_GLOSSARY for name, found in public_classes(folder).items()
    }


def _words() -> set[str]:
    """The words of the first column, in lower case and as a class is called: quotagroup for `Quota group`."""
    cells = re.findall(r"^\| ([^|]+) \|", text(GLOSSARY), re.MULTILINE)
    plain = (re.sub(r"\(.*?\)", "", cell) for cell in cells)
    return {re.sub(r"[\s`-]", "", word).lower() for cell in plain for word in cell.split(",")}


def _names() -> set[str]:
    """What stands in backticks in the glossary."""
    return set(re.findall(r"`(\w+)`", text(GLOSSARY)))


def _is_error(module: Module, name: str) -> bool:
    found = next(node for node in module.tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    bases = [module.stands_for(base) for base in found.bases]
    return any(_leads_to_an_error(base) for base in bases)


def _leads_to_an_error(base: str) -> bool:
    home, _, name = base.rpartition(".")
    if name in ERRORS:
        return True
    known = modules().get(home)
    return known is not None and name in public_classes(str(known.path)) and _is_error(known, name)
