"""OpenAPI documents of the services, generated from their routes without anything running.

    python -m deploy.openapi          writes shared/contracts/openapi/*.json
    python -m deploy.openapi --check  fails when a file there is not what would be written

Each is what the service answers at `/openapi.json`. The routes are the source; the files are never
edited.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from pydantic import SecretStr
from sqlalchemy.ext.asyncio import AsyncEngine

from deploy import generated
from services.alerts.main import documented as alerts
from services.ingest.main import documented as ingest
from services.scoring.main import documented as scoring
from shared.postgres.engine import create_engine
from shared.postgres.settings import PostgresSettings

FOLDER = generated.CONTRACTS / "openapi"

SERVICES: Final[Mapping[str, Callable[[AsyncEngine], FastAPI]]] = {
    "ingest": ingest,
    "scoring": scoring,
    "alerts": alerts,
}

NOWHERE: Final = SecretStr("postgresql://localhost/none")
"""Address of the engine, which is made and never used."""


def generate() -> dict[str, str]:
    """Returns the content of every file, by its name."""
    postgres = PostgresSettings.model_construct(url=NOWHERE)
    return {
        f"{name}.json": generated.text_of(documented(create_engine(postgres, name)).openapi())
        for name, documented in SERVICES.items()
    }


def main(argv: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Writes or checks; exit status 1 on drift."""
    return generated.command("deploy.openapi", __doc__, generate, folder, argv)


if __name__ == "__main__":
    sys.exit(main())
