"""The two questions that Cinder asks Keystone itself: a token for its caller, and a project.

Only for the reference: what a default volume type is set for has to exist. Every token is given,
and the projects are those of `people`.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from tests.conformance.people import PEOPLE
from tests.engines.process import free_port

EXPIRES = "2999-01-01T00:00:00.000000Z"


class Identity:
    """A server on loopback; `url` is for `[keystone_authtoken] auth_url`."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", free_port()), _Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v3"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        _, _, project = self.path.rpartition("/projects/")
        if "/projects/" not in self.path:
            links = [{"rel": "self", "href": f"http://{self.headers['Host']}/v3"}]
            version = {"id": "v3.14", "status": "stable", "links": links}
            self._answer(HTTPStatus.OK, {"version": version})
        elif project in {person.project for person in PEOPLE.values()}:
            fields = {"id": project, "name": project, "domain_id": "default", "enabled": True}
            self._answer(HTTPStatus.OK, {"project": {**fields, "description": ""}})
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error": {"code": 404, "message": "no project"}})

    def do_POST(self) -> None:
        endpoint = {
            "id": "identity",
            "interface": "public",
            "region": None,
            "region_id": None,
            "url": f"http://{self.headers['Host']}/v3",
        }
        interfaces = [{**endpoint, "interface": name} for name in ("public", "admin", "internal")]
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        token = {
            "expires_at": EXPIRES,
            "issued_at": "2000-01-01T00:00:00.000000Z",
            "methods": ["token"],
            "user": {"id": "u", "name": "u", "domain": {"id": "default", "name": "Default"}},
            "catalog": [{"type": "identity", "name": "keystone", "endpoints": interfaces}],
        }
        self._answer(HTTPStatus.CREATED, {"token": token})

    def _answer(self, status: HTTPStatus, body: dict[str, Any]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Subject-Token", "token")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass
