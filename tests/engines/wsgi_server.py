"""Serves an OpenStack service's WSGI application on a loopback port; runs in `.venv-openstack`.

    python -P wsgi_server.py MODULE PORT [--threads N] [--believe]

With `--believe` there is no Keystone: the token is `user:project`, as for Breezeblock without
authentication, and the caller an administrator. The service is told so by the headers that
Keystone's own filter would have set, so its ownership and its policy stay as they are.
"""

from __future__ import annotations

import argparse
import importlib
import sys

import waitress

CONFIRMED = {
    "HTTP_X_IDENTITY_STATUS": "Confirmed",
    "HTTP_X_ROLES": "admin,member,reader",
    "HTTP_X_USER_DOMAIN_ID": "default",
    "HTTP_X_PROJECT_DOMAIN_ID": "default",
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("module")
    parser.add_argument("port", type=int)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--believe", action="store_true")
    wanted = parser.parse_args()
    sys.argv = sys.argv[:1]  # the services read it, too
    application = importlib.import_module(wanted.module).application
    if wanted.believe:
        application = believing(application)
    waitress.serve(
        application,
        host="127.0.0.1",
        port=wanted.port,
        threads=wanted.threads,
        max_request_body_size=64 * 2**30,
        ident=None,
    )


def believing(application):
    """The application behind callers who are whom they say they are."""

    def call(environ, start_response):
        user, _, project = environ.get("HTTP_X_AUTH_TOKEN", "admin:admin").partition(":")
        environ |= CONFIRMED
        environ["HTTP_X_USER_ID"] = user
        environ["HTTP_X_PROJECT_ID"] = project or user
        return application(environ, start_response)

    return call


if __name__ == "__main__":
    main()
