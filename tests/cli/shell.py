"""A user's shell: client commands against a real server."""

from __future__ import annotations

import typer
from typer.testing import CliRunner, Result

from cli import webhooks
from cli.submit import submit
from cli.watch import status, watch
from tests.api.service import Client

app = typer.Typer()
for command in (submit, status, watch):
    app.command()(command)
app.add_typer(webhooks.app)


class Shell:
    """Runs commands against a server, with the key of an account."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.environment: dict[str, str | None] = {
            "IMAGEQUEUE_URL": client.service.url,
            "IMAGEQUEUE_KEY": client.key,
        }

    def run(self, *words: str, status: int = 0) -> Result:
        """Run a command that ends with this exit status."""
        result = CliRunner().invoke(app, words, env=self.environment)
        assert result.exit_code == status, result.output
        assert not result.exception or isinstance(result.exception, SystemExit), result.exception
        return result
