"""All dialects, with the second one among them.

In a copy of the checkout in which the registry finds it, another file stands here: the registry's own.
"""

from __future__ import annotations

from imagequeue.dialects.registry import DIALECTS, Dialects
from tests.dialects.second import SecondDialect

WITH_SECOND = Dialects([*DIALECTS, SecondDialect()])
