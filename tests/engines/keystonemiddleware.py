"""A process that is asked what the filter of OpenStack's own services makes of a request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import httpx2

from tests.engines.keystone import Keystone
from tests.engines.openstack import ENVIRONMENT, OpenStackService

SCRIPT = Path(__file__).with_name("token_oracle.py")


class TokenOracle(OpenStackService):
    """keystonemiddleware before an application that says who has come; it remembers no token.

    It asks as the user that Breezeblock asks as, and is the service `kind` of the catalog.
    """

    def __init__(self, keystone: Keystone, kind: str) -> None:
        super().__init__("oracle")
        strict = {
            "service_token_roles": "service",
            "service_token_roles_required": True,
            "service_type": kind,
            "token_cache_time": -1,
            "http_request_max_retries": 0,
        }
        self._config = self.write(
            "oracle.conf", {"keystone_authtoken": {**keystone.filter("breezeblock"), **strict}}
        )

    def _command(self) -> Sequence[str]:
        python = str(ENVIRONMENT / "bin" / "python")
        return [
            *("setpriv", "--pdeathsig", "KILL", "--", python, "-P", str(SCRIPT)),
            *(str(self.port), str(self._config)),
        ]

    def _answers(self) -> bool:
        try:
            return httpx2.get(self.endpoint, timeout=5).status_code in (200, 401)
        except httpx2.HTTPError:
            return False
