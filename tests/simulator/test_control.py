"""The control routes: for those who test, and not for whoever can have the service send something there."""

from __future__ import annotations

import httpx
import pytest
from sqlalchemy import Engine

from imagequeue.egress.errors import EgressError
from tests.builders import runtime
from tests.servers import SimulatorThread
