"""`breezeblock run`: the service, whole or some of its roles."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TypeVar

import msgspec
import structlog
import uvloop

from breezeblock.cli import logs
from breezeblock.cli.run_options import RunOptions
from breezeblock.cli.service_manager import ServiceManager
from breezeblock.config import Api, Config, ConfigError, load
from breezeblock.services.process import Process, resolve_roles
from breezeblock.telemetry import tracing
from breezeblock.web.descriptors import raise_descriptor_limit

log = structlog.get_logger()

GUEST_CACHE = Path(".cache/guest").absolute()

STOP_SECONDS = 45.0
"""A process that was told to stop ends within this time, whatever hangs. systemd and compose wait
longer (deploy/), so that nothing is killed before."""

EXIT_SECONDS = 1.0
"""How long threads may hold up the end of a process that has stopped: calls to storage."""

S = TypeVar("S", bound=msgspec.Struct)


def run(options: RunOptions) -> None:
    """Run the service until SIGTERM or SIGINT; a second one ends it at once."""
    config = load(options.file)
    roles = resolve_roles(options.roles)
    api = {"listen": options.listen, "port": options.port}
    compute = {"listen": options.listen, "port": options.compute_port}
    guest = _demo_guest(config) if "compute-agent" in roles else {}
    config = _changed(
        config,
        api=_changed(config.api, **api),
        compute=_changed(config.compute, **compute, **guest),
        data=str(options.data) if options.data else None,
        log_level=options.log_level,
    )
    logs.set_up(config.log_level, config.log_format)
    logs.take_what_is_printed()
    raise_descriptor_limit()
    try:
        tracing.set_up()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(config, roles))
    except (OSError, ValueError) as error:
        raise ConfigError(str(error)) from None


def _demo_guest(config: Config) -> dict[str, str]:
    """The demo's guest for servers without a bootable volume, if `make demo` has made it here."""
    from breezeblock.compute.guest_image import find_guest_image

    image = None if config.compute.kernel else find_guest_image(GUEST_CACHE)
    return {"kernel": str(image.kernel), "initrd": str(image.initrd)} if image else {}


def _changed(struct: S, **values: object) -> S:
    """A copy with the values that were given."""
    given = {name: value for name, value in values.items() if value is not None}
    return msgspec.convert(msgspec.to_builtins(struct) | msgspec.to_builtins(given), type(struct))


async def serve(config: Config, roles: tuple[str, ...]) -> None:
    """Run the roles until SIGINT or SIGTERM."""
    process = Process(config, roles)
    manager = ServiceManager.of(os.environ)
    stopped = asyncio.create_task(_told_to_stop())
    started = asyncio.create_task(process.start())
    alive = asyncio.create_task(manager.give_signs_of_life())
    try:
        await asyncio.wait({started, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if started.done():
            started.result()
            gc.freeze()  # modules and routes stay for good: nobody looks through them again
            _greet(config, process.roles)
            manager.tell("READY=1", f"STATUS=Serves: {', '.join(process.roles)}")
            await stopped
    finally:
        log.info("stopping")
        manager.tell("STOPPING=1", "STATUS=Hands over its work")
        started.cancel()
        await asyncio.wait({started})
        await process.close()
        await tracing.flush()
        alive.cancel()
    _end_within(EXIT_SECONDS, 0)


async def _told_to_stop() -> None:
    """Return at SIGINT or SIGTERM. From then on time runs, and the next one ends the process."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, told.set)
    await told.wait()
    for number in numbers:
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_DFL)  # it works also while the event loop stands still
    _end_within(STOP_SECONDS, 1)


def _end_within(seconds: float, code: int) -> None:
    """End the process after that time, unless it has ended by itself.

    Threads of drivers cannot be cancelled, and the interpreter would wait for them. What they do
    was handed over, or is repeated by whoever goes on.
    """

    def end() -> None:
        if code:
            print(f"breezeblock: not stopped within {seconds:g} seconds", file=sys.stderr)
        sys.stdout.flush()
        os._exit(code)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _greet(config: Config, roles: tuple[str, ...]) -> None:
    """Say that it runs: to people how to use it, to machines one line of the log."""
    if config.log_format == "json":
        log.info("breezeblock runs", roles=roles)
    else:
        print(greeting(config, roles), flush=True)


def greeting(config: Config, roles: tuple[str, ...]) -> str:
    """What a newcomer needs: where it listens, and lines to paste."""
    if "api" not in roles:
        return f"breezeblock runs: {', '.join(roles)}"
    user = config.auth.users[0].name if config.auth.users else "admin"
    return GREETINGS[config.auth.strategy].format(
        volume=f"{_endpoint(config.api)}/v3",
        compute=config.compute_endpoint,
        roles=", ".join(roles),
        user=user,
        keystone=config.auth.keystone.www_authenticate_uri or config.auth.keystone.auth_url,
    )


def _endpoint(api: Api) -> str:
    """What clients know the block storage API as, without a version."""
    return api.public_endpoint.rstrip("/") or f"http://{api.listen}:{api.port}"


OPEN = """\
breezeblock runs: {roles}

clouds.yaml
  clouds:
    breezeblock:
      auth_type: admin_token
      auth: {{endpoint: "{volume}", token: "admin:admin"}}
      block_storage_endpoint_override: "{volume}"
      compute_endpoint_override: "{compute}"
      image_endpoint_override: "{compute}"
      volume_api_version: "3"
      block_storage_default_microversion: "3.71"

Try
  openstack --os-cloud breezeblock volume create --size 1 first
  cinder --os-auth-type noauth --os-endpoint {volume} --os-user-id admin --os-project-id admin list
  curl -s {volume}/volumes/detail
"""

BASIC = """\
breezeblock runs: {roles}

clouds.yaml
  clouds:
    breezeblock:
      auth_type: http_basic
      auth: {{endpoint: "{volume}", username: "{user}", password: "..."}}
      block_storage_endpoint_override: "{volume}"
      compute_endpoint_override: "{compute}"
      image_endpoint_override: "{compute}"
      volume_api_version: "3"
      block_storage_default_microversion: "3.71"

Try
  openstack --os-cloud breezeblock volume create --size 1 first
  curl -s -u {user} {volume}/volumes/detail
"""

KEYSTONE = """\
breezeblock runs: {roles}

Keystone at {keystone} says who callers are. Its catalog should name
  block-storage  {volume}
  compute        {compute}
"""

GREETINGS = {"none": OPEN, "basic": BASIC, "keystone": KEYSTONE}
