"""keystonemiddleware as an oracle: what the filter of OpenStack's own services makes of a request.

    python -P token_oracle.py PORT CONFIG         (in `.venv-openstack`: see `TokenOracle`)

Behind the filter stands an application that answers any request with the identity that has come
through to it, as the filter's headers say.
"""

from __future__ import annotations

import json
import sys


def main() -> None:
    import waitress
    from keystonemiddleware import auth_token
    from oslo_config import cfg

    port, path = sys.argv[1:]
    config = cfg.ConfigOpts()
    config(["--config-file", path], project="oracle")
    guarded = auth_token.AuthProtocol(show, {"oslo_config_config": config})
    waitress.serve(guarded, host="127.0.0.1", port=int(port), threads=4, ident=None)


def show(environ, start_response):
    def told(name):
        text = environ.get(f"HTTP_{name}", "")
        return "" if text in ("None", None) else text

    seen = {
        "user_id": told("X_USER_ID"),
        "project_id": told("X_PROJECT_ID"),
        "domain_id": told("X_DOMAIN_ID"),
        "system": told("OPENSTACK_SYSTEM_SCOPE"),
        "roles": sorted(role.lower() for role in told("X_ROLES").split(",") if role),
        "service_roles": sorted(role for role in told("X_SERVICE_ROLES").split(",") if role),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(seen).encode()]


if __name__ == "__main__":
    main()
