"""A private Keystone, for tests that need real tokens, and the people in it.

Two projects, `demo` and `other`, with a member and a reader each; `admin`; and the users of the
services, in a project of their own. Everybody's password is `PASSWORD`, everything is in the domain
`Default` and the region `REGION`.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2

from tests.engines.openstack import OpenStackService

PASSWORD = "everybodys-password"
REGION = "RegionOne"
DOMAIN = "Default"
PEOPLE = {
    "ada": ("demo", ("member",)),
    "ben": ("demo", ("reader",)),
    "carl": ("other", ("member",)),
    "dora": ("other", ("reader",)),
    "breezeblock": ("service", ("service", "admin")),
    "glance": ("service", ("service",)),
}
"""User names with their project and roles; `admin` is there besides, in the project `admin`."""

INTERFACES = ("public", "internal", "admin")
KEYS = ("fernet_tokens", "fernet_receipts", "credential")


class Keystone(OpenStackService):
    """Keystone on a loopback port, with a catalog that services are added to."""

    application = "keystone.wsgi.api"

    def __init__(self) -> None:
        super().__init__("keystone")
        self._token = ""
        for name in KEYS:
            (self.home / name).mkdir(mode=0o700)
            for number in ("0", "1"):
                (self.home / name / number).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
        self.write(
            "keystone.conf",
            {
                "database": {"connection": f"sqlite:///{self.database}"},
                "identity": {"password_hash_rounds": 4},  # quick, and nobody's secret
                **{name: {"key_repository": self.home / name} for name in KEYS},
            },
        )
        manage = ("keystone-manage", "--config-file", "keystone.conf")
        self.make_database(*manage, "db_sync")
        urls = [f"--bootstrap-{interface}-url" for interface in INTERFACES]
        self.manage(
            *(*manage, "bootstrap", "--bootstrap-password", PASSWORD),
            *("--bootstrap-region-id", REGION),
            *(text for option in urls for text in (option, self.url)),
        )

    @property
    def url(self) -> str:
        """What clients know as auth_url."""
        return f"{self.endpoint}/v3"

    def start(self) -> None:
        """With all people in it, once it runs."""
        super().start()
        if not self._token:
            self._token = self.token("admin")
            self._populate()

    def token(self, user: str, project: str | None = None) -> str:
        """A new token of a user for a project."""
        name = project or project_of(user)
        return self.issue(user, {"project": {"name": name, "domain": {"name": DOMAIN}}})

    def issue(self, user: str, scope: Mapping[str, Any] | str) -> str:
        """A new token of a user with any scope that Keystone knows; `unscoped` is one, too."""
        person = {"name": user, "domain": {"name": DOMAIN}, "password": PASSWORD}
        identity = {"methods": ["password"], "password": {"user": person}}
        body = {"auth": {"identity": identity, "scope": scope}}
        reply = httpx2.post(f"{self.url}/auth/tokens", json=body, timeout=30)
        reply.raise_for_status()
        return str(reply.headers["X-Subject-Token"])

    def limited_token(self, user: str, **limits: Any) -> str:
        """A token got with an application credential: `access_rules`, `expires_at`, …"""
        mine = {"X-Auth-Token": self.token(user)}
        owner = self.about(mine["X-Auth-Token"])["user"]["id"]
        wanted = {"name": os.urandom(4).hex(), "secret": PASSWORD, **limits}
        url_of_his = f"{self.url}/users/{owner}/application_credentials"
        made = httpx2.post(url_of_his, json={"application_credential": wanted}, headers=mine)
        ident = made.raise_for_status().json()["application_credential"]["id"]
        methods = {
            "methods": ["application_credential"],
            "application_credential": {"id": ident, "secret": PASSWORD},
        }
        body = {"auth": {"identity": methods}}
        reply = httpx2.post(f"{self.url}/auth/tokens", json=body, timeout=30)
        return str(reply.raise_for_status().headers["X-Subject-Token"])

    def trusted_token(self, truster: str, trustee: str, *roles: str) -> str:
        """A token of the trustee's, with which he acts as the truster in his project."""
        about = self.about(self.token(truster))
        wanted = {
            "trustor_user_id": about["user"]["id"],
            "trustee_user_id": self.about(self.token(trustee))["user"]["id"],
            "project_id": about["project"]["id"],
            "impersonation": True,
            "roles": [{"name": role} for role in roles],
        }
        url = f"{self.url}/OS-TRUST/trusts"
        mine = {"X-Auth-Token": self.token(truster)}
        made = httpx2.post(url, json={"trust": wanted}, headers=mine, timeout=30)
        trust = made.raise_for_status().json()["trust"]["id"]
        return self.issue(trustee, {"OS-TRUST:trust": {"id": trust}})

    def about(self, token: str) -> dict[str, Any]:
        """What Keystone tells a token's owner of it."""
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        reply = httpx2.get(f"{self.url}/auth/tokens", headers=headers, timeout=30)
        told: dict[str, Any] = reply.raise_for_status().json()["token"]
        return told

    def short_token(self, user: str) -> str:
        """A token that expires in a second; later on a machine too slow to get it within one."""
        for seconds in (1, 4, 16):
            end = datetime.now(UTC) + timedelta(seconds=seconds)
            try:
                return self.limited_token(user, expires_at=end.strftime("%Y-%m-%dT%H:%M:%S.%f"))
            except httpx2.HTTPStatusError as error:
                refusal = error
        raise refusal

    def revoke(self, token: str) -> None:
        headers = {"X-Auth-Token": self._token, "X-Subject-Token": token}
        reply = httpx2.delete(f"{self.url}/auth/tokens", headers=headers, timeout=30)
        reply.raise_for_status()

    def register(self, kind: str, name: str, url: str) -> None:
        """Put a service and its endpoints into the catalog."""
        service = self.make("service", type=kind, name=name)
        for interface in INTERFACES:
            self.make(
                "endpoint", service_id=service, interface=interface, url=url, region_id=REGION
            )

    def make(self, what: str, **values: Any) -> str:
        """Create a resource of Keystone's as its administrator; return its id."""
        answer = self.call("POST", f"/{what}s", {what: values})
        return str(answer[what]["id"])

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Any request to Keystone as its administrator."""
        headers = {"X-Auth-Token": self._token}
        reply = httpx2.request(method, self.url + path, json=body, headers=headers, timeout=30)
        reply.raise_for_status()
        return reply.json() if reply.content else None

    def cloud(self, user: str, project: str | None = None) -> dict[str, Any]:
        """A user's entry in a clouds.yaml."""
        return {
            "auth": {
                "auth_url": self.url,
                "username": user,
                "password": PASSWORD,
                "project_name": project or project_of(user),
                "user_domain_name": DOMAIN,
                "project_domain_name": DOMAIN,
            },
            "region_name": REGION,
        }

    def filter(self, user: str) -> dict[str, object]:
        """The section `keystone_authtoken` of an OpenStack service that runs as this user."""
        return {
            "auth_type": "password",
            "www_authenticate_uri": self.url,
            **self.cloud(user)["auth"],
        }

    def _populate(self) -> None:
        roles = {role["name"]: role["id"] for role in self.call("GET", "/roles")["roles"]}
        projects = {
            name: self.make("project", name=name, domain_id="default")
            for name in dict.fromkeys(project for project, _ in PEOPLE.values())
        }
        for name, (project, wanted) in PEOPLE.items():
            self._person(name, projects[project], [roles[role] for role in wanted])

    def newcomer(self, role: str = "member") -> tuple[str, str, str]:
        """A person in a project of his own: both have this name; the ids of user and project."""
        name = f"new-{os.urandom(4).hex()}"
        [found] = self.call("GET", f"/roles?name={role}")["roles"]
        project = self.make("project", name=name, domain_id="default")
        return name, self._person(name, project, [found["id"]]), project

    def _person(self, name: str, project: str, roles: Sequence[str]) -> str:
        user = self.make("user", name=name, password=PASSWORD, domain_id="default")
        for role in roles:
            self.call("PUT", f"/projects/{project}/users/{user}/roles/{role}")
        return user

    def _command(self) -> Sequence[str]:
        # Two transactions that read and then write would end in "database is locked".
        return [*super()._command(), "--threads", "1"]

    def _environment(self) -> Mapping[str, str]:
        return {
            **super()._environment(),
            "OS_KEYSTONE_CONFIG_FILES": str(self.home / "keystone.conf"),
        }


def project_of(user: str) -> str:
    """The name of the project that a user has unless he names another one."""
    return PEOPLE[user][0] if user in PEOPLE else user
