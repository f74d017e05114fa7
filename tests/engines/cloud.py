"""A small cloud of real parts: Keystone, Glance, and Breezeblock configured for them.

    python -m tests.engines.cloud         start it, print a clouds.yaml, run until interrupted

Tests start a `Cloud` and ask its parts.
"""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Mapping
from typing import Any

from tests.e2e.deployment import Deployment, one_process
from tests.engines.glance import Glance
from tests.engines.keystone import PASSWORD, PEOPLE, Keystone
from tests.engines.openstack import CACHE


class Cloud:
    """All of it, on loopback, with data that nobody keeps. `start`, then `stop`.

    `settings` are Breezeblock's, `keystone_options` those of its section `auth.keystone`.
    """

    def __init__(
        self, keystone_options: Mapping[str, object] | None = None, **settings: Any
    ) -> None:
        self.keystone = Keystone()
        self.glance = Glance(self.keystone)
        options = {"auth_url": self.keystone.url, "password": PASSWORD, **(keystone_options or {})}
        auth = {"strategy": "keystone", "keystone": options}
        images = {"endpoint": self.glance.endpoint}
        self.deployment: Deployment = one_process(auth=auth, images=images, **settings)

    async def start(self) -> None:
        """Return when clients are served, and the catalog names everything."""
        glance = asyncio.to_thread(self.glance.start)
        await asyncio.gather(asyncio.to_thread(self._start_keystone), glance)
        self.deployment.http.headers["X-Auth-Token"] = self.keystone.token("admin")
        await self.deployment.start()

    def _start_keystone(self) -> None:
        self.keystone.start()
        for kind, name, url in (
            ("image", "glance", self.glance.endpoint),
            ("block-storage", "breezeblock", self.deployment.volume_url),
            ("volumev3", "breezeblock-v3", self.deployment.volume_url),
            ("compute", "breezeblock-compute", self.deployment.compute_url),
        ):
            self.keystone.register(kind, name, url)

    async def stop(self) -> None:
        """End everything and delete its data."""
        await self.deployment.stop()
        self.glance.remove()
        self.keystone.remove()

    def clouds_yaml(self) -> str:
        """One cloud a person, named as the person is. (JSON is YAML, too.)"""
        clouds = {name: self.keystone.cloud(name) for name in ("admin", *PEOPLE)}
        return json.dumps({"clouds": clouds}, indent=2)


async def main() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print("Starting Keystone, Glance and Breezeblock ...", flush=True)
    cloud = Cloud()
    try:
        await cloud.start()
        path = CACHE / "clouds.yaml"
        path.write_text(cloud.clouds_yaml())
        print(path.read_text())
        print(f"export OS_CLIENT_CONFIG_FILE={path}")
        print("openstack --os-cloud ada volume create --size 1 first", flush=True)
        await stop.wait()
    finally:
        await cloud.stop()


if __name__ == "__main__":
    asyncio.run(main())
