"""`/docs`: Swagger UI with the OpenAPI document; its files are served from here, and no other host is asked.

`fastapi-swagger` brings the files of the current Swagger UI. The page starts it by a script in a file, so
that the policy of the page can forbid every script that stands in a page, and every other origin.

Its links are relative, because clients may reach the service below a path (`IMAGEQUEUE_PUBLIC_URL`).
"""

from __future__ import annotations

from importlib import resources

from fastapi import APIRouter, Response

from imagequeue.domain.errors import NotFound

router = APIRouter(include_in_schema=False)

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:;"
    " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Swagger UI sets styles on its elements, which only `unsafe-inline` allows."""

_FILES = {"swagger-ui-bundle.js": "text/javascript", "swagger-ui.css": "text/css"}
_HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>imagequeue</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#swagger-ui",
  deepLinking: true,
  docExpansion: "none",
  persistAuthorization: false,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
"""Without `validatorUrl: null` Swagger UI would tell a server of its authors where the document is."""


@router.get("/docs")
async def page() -> Response:
    """The page."""
    return Response(_PAGE, headers=_HEADERS, media_type="text/html")


@router.get("/docs/start.js")
async def start() -> Response:
    """The script that starts Swagger UI."""
    return Response(_START, headers=_HEADERS, media_type="text/javascript")


@router.get("/docs/{name}")
async def file(name: str) -> Response:
    """A file of Swagger UI."""
    if name not in _FILES:
        raise NotFound
    content = resources.files("fastapi_swagger.resources").joinpath(name).read_bytes()
    headers = _HEADERS | {"Cache-Control": "public, max-age=3600"}
    return Response(content, headers=headers, media_type=_FILES[name])
