"""A private Glance, for tests that need the real image service.

Images are files in its directory. Without a Keystone it believes its callers: a token is
`user:project`, none at all is admin's, and everybody is an administrator; it then is up in seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.engines.keystone import Keystone
from tests.engines.openstack import ENVIRONMENT, OpenStackService


class Glance(OpenStackService):
    """Glance on a loopback port, `endpoint` without a version; with Keystone, or open."""

    application = "glance.wsgi.api"

    def __init__(self, keystone: Keystone | None = None) -> None:
        super().__init__("glance")
        self._keystone = keystone
        self._configure()
        self.make_database("glance-manage", "db_sync")

    def _configure(self) -> None:
        # The pipeline is the same with and without Keystone: `wsgi_server.py --believe` stands
        # where Keystone's filter would.
        paste = (ENVIRONMENT / "etc" / "glance" / "glance-api-paste.ini").read_text()
        if self._keystone is None:
            paste = paste.replace(" authtoken context ", " context ")
        (self.home / "paste.ini").write_text(paste)
        stores = ("file", "os_glance_staging_store", "os_glance_tasks_store")
        for store in stores:
            (self.home / store).mkdir()
        self.write(
            "glance-api.conf",
            {
                "DEFAULT": {
                    "enabled_backends": "file:file",
                    "worker_self_reference_url": self.endpoint,
                },
                "database": {"connection": f"sqlite:///{self.database}"},
                "glance_store": {"default_backend": "file"},
                "paste_deploy": {"flavor": "keystone", "config_file": self.home / "paste.ini"},
                **{store: {"filesystem_store_datadir": self.home / store} for store in stores},
                **self._authentication(),
            },
        )

    def _authentication(self) -> Mapping[str, Mapping[str, object]]:
        return (
            {}
            if self._keystone is None
            else {"keystone_authtoken": self._keystone.filter("glance")}
        )

    def _command(self) -> Sequence[str]:
        return [*super()._command(), *(() if self._keystone else ("--believe",))]

    def _environment(self) -> Mapping[str, str]:
        return {**super()._environment(), "OS_GLANCE_CONFIG_DIR": str(self.home)}
