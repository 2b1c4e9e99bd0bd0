"""Cross-origin requests: which pages in browsers may call the HTTP interface."""

from collections.abc import Sequence
from typing import Any, Final, cast

from starlette.middleware.cors import CORSMiddleware

from services.gateway.http.app import Application

_METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
_SENT: Final = (
    "Authorization",
    "Content-Type",
    "Idempotency-Key",
    "Traceparent",
    "X-Request-Timeout",
)
_SHOWN: Final = ("Retry-After", "Traceparent", "WWW-Authenticate")
_REMEMBERED_SECONDS: Final = 600


def with_cors(application: Application, origins: Sequence[str]) -> Application:
    """The application for pages of these origins; `*` is any. Without origins it is as it was.

    Browsers are never told to send cookies or certificates along (credentials in the words of the
    Fetch standard): whoever calls shows a token, which a page must hold to send it.
    """
    if not origins:
        return application
    wrapped = CORSMiddleware(
        cast("Any", application),
        allow_origins=origins,
        allow_methods=_METHODS,
        allow_headers=_SENT,
        expose_headers=_SHOWN,
        allow_credentials=False,
        max_age=_REMEMBERED_SECONDS,
    )
    return cast("Application", wrapped)
