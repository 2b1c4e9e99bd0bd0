"""What is served beside the routes: health, the OpenAPI description, and pages for people."""

import asyncio
import html
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response
from starlette.routing import Route as Page

from chassis.refusals import DependencyUnavailable, RouteNotFound, http_status
from chassis.tracing import HEADER as TRACE_HEADER
from chassis.tracing import begin_trace
from kernel.refusals import Refusal
from loyalty.errors.v1 import errors_pb2
from services.gateway.http.comments import comments
from services.gateway.http.problems import MEDIA_TYPE, problem_of_refusal

_STATIC = Path(__file__).parent / "static"
_SCRIPT = "rapidoc-min.js"
_CHECK_SECONDS = 1.0
_SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
}
# The viewer styles its parts in place and draws its icons from data; nothing comes from elsewhere.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self';"
    " img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)
_DOCS = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Loyalty API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<script type="module" src="/docs/{_SCRIPT}"></script></head>
<body><rapi-doc spec-url="/openapi.json" load-fonts="false" render-style="focused"
 show-header="false" allow-spec-file-download="true" schema-description-expanded="true"
 persist-auth="false" theme="light"></rapi-doc></body>
</html>
"""

Ready = Callable[[], Awaitable[tuple[str, ...]]]


def pages(openapi: bytes, unready: Ready) -> Starlette:
    """The pages. `unready` answers the names of the services that cannot be called just now."""
    readiness = _Readiness(unready)

    async def healthz(_: Request) -> Response:
        return Response('{"status":"live"}', media_type="application/json", headers=_SAFE)

    async def readyz(_: Request) -> Response:
        missing = await readiness.missing()
        if missing:
            raise DependencyUnavailable(", ".join(missing))
        return Response('{"status":"ready"}', media_type="application/json", headers=_SAFE)

    async def described(_: Request) -> Response:
        return Response(openapi, media_type="application/json", headers=_SAFE)

    async def docs(_: Request) -> Response:
        return HTMLResponse(_DOCS, headers={**_SAFE, "content-security-policy": _POLICY})

    async def script(_: Request) -> Response:
        return FileResponse(
            _STATIC / _SCRIPT,
            media_type="text/javascript",
            headers={**_SAFE, "cache-control": "public, max-age=3600"},
        )

    async def problems(_: Request) -> Response:
        return HTMLResponse(_problems(), headers={**_SAFE, "content-security-policy": _POLICY})

    async def front(_: Request) -> Response:
        return RedirectResponse("/docs", headers=_SAFE)

    return Starlette(
        routes=[
            Page("/", front),
            Page("/healthz", healthz),
            Page("/readyz", readyz),
            Page("/openapi.json", described),
            Page("/docs", docs),
            Page(f"/docs/{_SCRIPT}", script),
            Page("/problems", problems),
        ],
        exception_handlers={Refusal: _refused, HTTPException: _not_a_page},
    )


class _Readiness:
    """Asks the services at most once a second, however often it is asked itself."""

    def __init__(self, unready: Ready) -> None:
        self._unready = unready
        self._lock = asyncio.Lock()
        self._until = 0.0
        self._missing: tuple[str, ...] = ()

    async def missing(self) -> tuple[str, ...]:
        async with self._lock:
            if time.monotonic() >= self._until:
                self._missing = await self._unready()
                self._until = time.monotonic() + _CHECK_SECONDS
            return self._missing


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    trace = begin_trace(request.headers.get(TRACE_HEADER))
    problem = problem_of_refusal(error)
    return Response(
        problem.body(trace.trace_id),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers={**_SAFE, TRACE_HEADER: trace.header()},
    )


async def _not_a_page(request: Request, _: Exception) -> Response:
    return await _refused(request, RouteNotFound())


def _problems() -> str:
    """Every reason with what it means, for those who follow a problem's `type`."""
    texts = comments()
    rows = []
    for value in errors_pb2.Reason.DESCRIPTOR.values:
        if value.number:
            text = texts.of(f"loyalty.errors.v1.{value.name}")
            rows.append(
                f'<dt id="{value.name}"><code>{value.name}</code> '
                f"({http_status(value.name)})</dt><dd>{html.escape(text)}</dd>"
            )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Problems</title></head>'
        f"<body><h1>Problems</h1><dl>{''.join(rows)}</dl></body></html>"
    )


def openapi_bytes(document: dict[str, object]) -> bytes:
    """An OpenAPI document as it is served."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
