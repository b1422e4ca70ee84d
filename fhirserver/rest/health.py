"""Whether the process lives, and whether it can serve.

`/healthz` answers as long as the process does. `/readyz` asks the database and the audit log: a server that cannot
write its audit discloses nothing, so it is not ready.
"""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Response

Check = Callable[[], None]


def blueprint(checks: dict[str, Check]) -> Blueprint:
    """The two routes; each check is named in the answer and raises where its part cannot serve."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def healthz() -> Response:
        return Response("ok\n", content_type="text/plain; charset=utf-8")

    @health.get("/readyz")
    def readyz() -> Response:
        failing = [name for name, check in checks.items() if not _passes(check)]
        text = "ready\n" if not failing else f"not ready: {', '.join(failing)}\n"
        return Response(text, status=503 if failing else 200, content_type="text/plain; charset=utf-8")

    return health


def _passes(check: Check) -> bool:
    try:
        check()
    except Exception:  # noqa: BLE001 - whatever fails, the answer is the same: this node cannot serve
        return False
    return True
