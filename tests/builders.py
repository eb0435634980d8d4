"""Things that many tests need: a catalog, a runtime on the test's database, accounts with funds."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import SecretStr
from sqlalchemy import Engine, text

from imagequeue.domain.catalog import Catalog
from imagequeue.domain.catalog_file import parse_catalog
from imagequeue.egress.policy import EgressPolicy
from imagequeue.lifecycle.operate.accounts import IssuedKey, KeyTerms, open_account
from imagequeue.media.opening import open_storage
from imagequeue.providers.registry import PROVIDERS
from imagequeue.redis_server.client import open_redis
from imagequeue.runtime import Runtime
from imagequeue.settings import Settings
from imagequeue.signing import Keyring

SECRET_KEY = "the secret key of the tests; long enough to pass"
MODEL = "microsoft-mai-image-2-5"
PRICE = Decimal("0.039")
NO_REDIS = "redis://127.0.0.1:1/0"
NO_API = "http://127.0.0.1:1"
"""Nothing listens there."""


def catalog(endpoint: str = "http://127.0.0.1:9", **deployment: Any) -> Catalog:
    """One model that generates and edits, served by one Foundry deployment; one that only generates."""
    foundry: dict[str, Any] = {
        "name": "foundry-test",
        "model": MODEL,
        "provider": "foundry",
        "upstream_model": "mai-image-2-5",
        "endpoint": endpoint,
        "key_env": "TEST_KEY",
        "rpm": 1000,
    }
    models = [
        {
            "id": MODEL,
            "aliases": ["microsoft/mai-image-2.5", "MAI-Image-2.5"],
            "operations": ["generate", "edit"],
            "price_usd": str(PRICE),
        },
        {"id": "microsoft-mai-image-2", "price_usd": "0.02"},
        {"id": "disabled-model", "price_usd": "0.02", "enabled": False},
    ]
    second = {"name": "second", "model": "microsoft-mai-image-2", "upstream_model": "mai-image-2"}
    tables = {"models": models, "deployments": [foundry | deployment, foundry | second]}
    return parse_catalog(tables, {"TEST_KEY": "upstream-key"}, PROVIDERS)


def settings(database_url: str, **more: Any) -> Settings:
    """Settings without the environment."""
    given: dict[str, Any] = {
        "database_url": SecretStr(database_url),
        "redis_url": SecretStr(NO_REDIS),
        "secret_key": SecretStr(SECRET_KEY),
    }
    return Settings(**(given | more))


def runtime(engine: Engine, database_url: str, *, of: Catalog | None = None, **more: Any) -> Runtime:
    """A runtime on the test's database; no Redis unless `redis_url` is given, `of`: the catalog."""
    own = settings(database_url, **more)
    return Runtime(
        settings=own,
        engine=engine,
        redis=open_redis(own.redis_address, patience=1),
        catalog=of or catalog(),
        keyring=Keyring(SECRET_KEY),
        policy=EgressPolicy.parse(allow=own.egress_allow, deny=own.egress_deny, public_url=own.public_origin),
        storage=open_storage(own.storage_url, own.s3_endpoint_url, own.s3_presign_endpoint_url),
    )


def account(engine: Engine, name: str, funds: str = "10", **terms: Any) -> tuple[UUID, IssuedKey]:
    """Open an account; returns its id and its first key."""
    issued = open_account(engine, Keyring(SECRET_KEY), name, KeyTerms(**terms), Decimal(funds))
    with engine.connect() as connection:
        statement = text("SELECT account_id FROM api_keys WHERE id = :id")
        return connection.execute(statement, {"id": issued.id}).scalar_one(), issued


def count(engine: Engine, table: str) -> int:
    """How many rows a table has."""
    with engine.connect() as connection:
        return connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one()  # noqa: S608
