"""A body that was not read to its end ends its connection.

A caller without a token is refused before a byte of the body is read, and so is a body over its limit. The rest of
such a body would stand before the next request of the same connection. The HTTP server then closes the connection,
unless the rest has come by chance; a client that was not told sends its next request into a connection that is being
closed, and gets no answer at all.

RFC 9112, 9.3: read the whole body, or close the connection; 9.6: whoever closes says so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wsgiref.types import InputStream, StartResponse, WSGIApplication, WSGIEnvironment


class Unread:
    """WSGI middleware that says `Connection: close` where the body was not read to its end."""

    def __init__(self, application: WSGIApplication) -> None:
        """`application` reads the body with `read` alone, and before it starts its answer."""
        self._application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        length = environ.get("CONTENT_LENGTH") or "0"
        if length == "0" and "HTTP_TRANSFER_ENCODING" not in environ:
            return self._application(environ, start_response)
        body = _Body(environ["wsgi.input"], int(length) if length.isdecimal() else 0)
        environ["wsgi.input"] = body

        def start(status: str, headers: list[tuple[str, str]], *failure: Any) -> Any:
            if not body.is_read:
                headers = [*headers, ("Connection", "close")]
            return start_response(status, headers, *failure)

        return self._application(environ, start)


class _Body:
    """A body that knows whether it was read to its end; `length` is 0 where it was not told."""

    def __init__(self, stream: InputStream, length: int) -> None:
        self._read = stream.read
        self._left = length or None
        self.is_read = False

    def read(self, size: int = -1) -> bytes:
        """Read as the stream below does."""
        chunk = self._read(size) if size >= 0 else self._read()
        if self._left is not None:
            self._left -= len(chunk)
        self.is_read = self.is_read or self._left == 0 or size < 0 or (not chunk and size > 0)
        return chunk
