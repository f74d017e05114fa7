"""A filter for Cinder's WSGI pipeline in the place of Keystone's: users with roles, by HTTP basic.

Who names a known user and the right password is that user, as the headers say that Keystone's
filter would set; anybody else is nobody, which Cinder answers with 401. Only the version document
is for all: the clients that are used without Keystone look at it before they say who they are.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from keystonemiddleware import auth_token
from oslo_config import cfg


class Personas:
    """Believes the users of a file: {"name": {"password", "project", "roles"}}."""

    def __init__(self, application: Callable[..., Any], users: dict[str, Any]) -> None:
        self._application = application
        self._users = users

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        scheme, _, credentials = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        if scheme.lower() == "basic":
            name, _, password = base64.b64decode(credentials).decode().partition(":")
            user = self._users.get(name)
            if user and user["password"] == password:
                environ["HTTP_X_USER_ID"] = name
                environ["HTTP_X_AUTH_TOKEN"] = name
                environ["HTTP_X_PROJECT_ID"] = user["project"]
                environ["HTTP_X_ROLES"] = ",".join(user["roles"])
                if "service" in user["roles"]:
                    environ["HTTP_X_SERVICE_ROLES"] = "service"
        elif environ.get("PATH_INFO", "") in ("", "/"):
            environ["HTTP_X_USER_ID"] = environ["HTTP_X_PROJECT_ID"] = "anybody"
        return self._application(environ, start_response)


def factory(_configuration: dict[str, str], users: str) -> Callable[..., Personas]:
    """For the paste file: `users` names the file."""
    _register_options()
    known = json.loads(Path(users).read_text())
    return lambda application: Personas(application, known)


def _register_options() -> None:
    """What loading Keystone's own filter registers, and Cinder reads."""
    cfg.CONF.register_opts([cfg.StrOpt("auth_url")], auth_token._base.AUTHTOKEN_GROUP)
