"""Whether a server uses a volume, when nobody is there to be asked."""

from __future__ import annotations

import pytest

from breezeblock.config import build
from breezeblock.model.errors import Unavailable
from breezeblock.services.compute_client import ComputeClient

NOWHERE = "http://127.0.0.1:9/v2.1"
USER = {"name": "ada", "password": "$2b$04$" + "a" * 53, "project_id": "p"}
SERVER, VOLUME = "0f5a33cd-9f0e-4f4e-b9a1-6a1f6f9f2b11", "11111111-2222-4333-8444-555555555555"


async def test_alone_on_a_machine_no_compute_api_means_no_servers() -> None:
    client = ComputeClient(build({"compute": {"endpoint": NOWHERE}}))
    assert await client.attachment_in_use(SERVER, VOLUME) is None
    await client.close()


@pytest.mark.parametrize(
    "auth",
    [
        {"strategy": "basic", "users": [USER]},
        {"strategy": "keystone", "keystone": {"auth_url": "http://127.0.0.1:9", "password": "x"}},
    ],
    ids=lambda auth: auth["strategy"],
)
async def test_where_there_are_users_nobody_is_believed_to_have_none(auth: object) -> None:
    client = ComputeClient(build({"auth": auth, "compute": {"endpoint": NOWHERE}}))
    with pytest.raises(Unavailable):
        await client.attachment_in_use(SERVER, VOLUME)
    await client.close()
