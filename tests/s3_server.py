"""`python tests/s3_server.py PORT`: moto's S3 server on loopback, for tests.

One request at a time, as moto tests a condition and puts the object in two steps, where a real server takes
one. Requests are counted: `GET /__requests__` tells them since the last time, as `METHOD path` lines.
"""

import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any

from moto.server import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

COUNTED = "/__requests__"


class OneAtATime:
    """moto's application with a lock around it."""

    def __init__(self) -> None:
        self.application = DomainDispatcherApplication(create_backend_app)
        self.lock = threading.Lock()
        self.requests: list[str] = []

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """One request."""
        with self.lock:
            if environ["PATH_INFO"] == COUNTED:
                start_response("200 OK", [("Content-Type", "text/plain")])
                told, self.requests = "\n".join(self.requests), []
                return [told.encode()]
            self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            return list(self.application(environ, start_response))


if __name__ == "__main__":
    run_simple("127.0.0.1", int(sys.argv[1]), OneAtATime(), threaded=True, request_handler=MotoRequestHandler)
