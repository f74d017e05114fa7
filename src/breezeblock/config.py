"""The configuration: one TOML file, credentials, `BREEZEBLOCK_…` environment variables; typed.

Every option has a default that makes one process on a laptop work. `load` refuses unknown keys and
wrong types by name, so that a typing error is seen at start and not at three in the morning.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from breezeblock.model.servers import Flavor

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class Api(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The block storage API."""

    listen: str = "127.0.0.1"
    """Address that the API listens on; beyond loopback only with authentication."""
    port: Port = 8776
    """Port of the API."""
    public_endpoint: str = ""
    """Base of the links in answers; empty: taken from the request."""
    max_limit: Positive = 1000
    """Longest page of a list."""
    operation_timeout: Seconds = 60.0
    """Seconds that a request waits for an answer from a volume service (attachments)."""
    project_id_regex: str = "[0-9a-f-]+"
    """What a project id in a URL looks like; the caller's own is always taken."""


class Compute(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """The compute API and the agent on a compute host."""

    listen: str = "127.0.0.1"
    """Address that the API listens on; beyond loopback only with authentication."""
    port: Port = 8774
    """Port of the API."""
    database: str = ""
    """SQLAlchemy URL of the compute service's own database; empty: `compute.sqlite` in the data
    directory, or the block storage database when that is PostgreSQL."""
    host: str = ""
    """Name of this compute host; empty: the machine's host name."""
    ip: str = "127.0.0.1"
    """Address that storage backends see this host come from."""
    initiator: str = ""
    """Name (IQN) that this host logs in to iSCSI targets with, one for each host; empty:
    iqn.2026-11.cloud.breezeblock:<name of the compute host>."""
    endpoint: str = ""
    """Compute API as block storage reaches it; empty: http://<compute.listen>:<compute.port>/v2.1."""
    block_storage_endpoint: str = ""
    """Block storage API; empty: http://<api.listen>:<api.port>/v3."""
    block_storage_token: str = ""
    """Token sent with it (noauth: `user:project`); empty: the identity of the server's owner."""
    block_storage_user: str = ""
    """User name for HTTP basic authentication against it; the token is then not sent."""
    block_storage_password: str = ""
    """Password that goes with it."""
    kernel: str = ""
    """Kernel that guests without a bootable volume start (direct boot)."""
    initrd: str = ""
    """Initial file system that goes with the kernel."""
    kernel_image: str = "demo"
    """Id of the image that stands for the kernel. Where clients look images up in Glance: the id
    of one there; its content does not matter."""
    accelerator: Literal["auto", "kvm", "tcg"] = "auto"
    """`auto`: hardware virtualisation where it works, else emulation."""
    flavors: tuple[Flavor, ...] = (
        Flavor(id="tiny", name="tiny", vcpus=1, ram=256),
        Flavor(id="small", name="small", vcpus=1, ram=512),
        Flavor(id="medium", name="medium", vcpus=2, ram=1024),
    )
    """Sizes of servers; `ram` is MiB."""
    operation_timeout: float = 120.0
    """Seconds that a request waits for the agent's answer (attaching a volume)."""
    shutdown_timeout: float = 60.0
    """Seconds that a guest is given to shut down before its plug is pulled."""
    detach_timeout: float = 20.0
    """Seconds that a guest is given, each time it is asked, to let go of a disk."""


class User(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A user for HTTP basic authentication; `password` is a bcrypt hash."""

    name: str
    password: str
    project_id: str
    roles: tuple[str, ...] = ("member",)


class Keystone(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How Keystone is asked whose a token is, for strategy `keystone`."""

    auth_url: str = ""
    """Keystone, as this service reaches it: http://keystone.example:5000/v3."""
    www_authenticate_uri: str = ""
    """Keystone, as clients reach it: they are told so when they show no good token; empty:
    auth_url."""
    username: str = "breezeblock"
    """Our own user. It needs the role `service`, for asking about tokens."""
    password: str = ""
    """Its password."""
    project_name: str = "service"
    """Its project."""
    user_domain_name: str = "Default"
    """The domain of our user."""
    project_domain_name: str = "Default"
    """The domain of its project."""
    service_token_roles: tuple[str, ...] = ("service",)
    """Whoever has one of these roles is a service: it may pass on a user's request, also with a
    token that has expired meanwhile."""
    cache_seconds: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    """Seconds that an answer about a token is remembered; a revoked one is good so long."""
    timeout: Seconds = 10.0
    """Seconds that Keystone may take for an answer."""
    cafile: str = ""
    """File with the certificates of authorities to trust; empty: the machine's."""
    insecure: bool = False
    """Do not look at Keystone's certificate."""


class Auth(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Who may call. `none` trusts every caller and therefore listens on loopback only."""

    strategy: Literal["none", "basic", "keystone"] = "none"
    """`none`: everyone is an administrator; `basic`: HTTP basic authentication by `users` and
    `users_file`; `keystone`: tokens of OpenStack's identity service."""
    none_listens_beyond_loopback: bool = False
    """Say so in so many words: everyone who reaches the port is an administrator."""
    users: tuple[User, ...] = ()
    """For `basic`: name, password (a bcrypt hash: `breezeblock password`), project_id, roles."""
    users_file: str = ""
    """For `basic`, instead of `users` or besides: an htpasswd file of bcrypt hashes. It is read
    again when it changes."""
    policy_file: str = ""
    """A policy.yaml with Cinder's and Nova's rule names; empty: the default rules, which
    `breezeblock policy` prints. It is read again when it changes."""
    keystone: Keystone = Keystone()


class Backend(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One storage backend; `options` are the driver's own."""

    name: str
    """Part behind the @ of the service's name."""
    driver: str = "local"
    """A driver's entry point name (docs/drivers.md)."""
    host: str = ""
    """Part before the @ of the service's name; empty: the service's host. Give two volume services
    the same one to let them share the backend: an array, from any hosts; a `local` one belongs to
    one host, and they share `data`, too."""
    availability_zone: str = ""
    """Zone of the backend; empty: the service's."""
    threads: Positive = 8
    """Driver calls at a time."""
    options: dict[str, Any] = {}
    """The driver's own options (docs/drivers.md)."""


class Scheduler(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How pools are chosen."""

    filters: tuple[str, ...] = (
        "AvailabilityZoneFilter",
        "CapacityFilter",
        "CapabilitiesFilter",
        "DriverFilter",
        "SameBackendFilter",
        "DifferentBackendFilter",
    )
    """Which filters a pool must pass, in this order."""
    weighers: dict[str, float] = msgspec.field(default_factory=lambda: {"CapacityWeigher": 1.0})
    """Weigher names with their multipliers."""
    max_candidates: Positive = 10
    """How many pools a volume service may try for one volume."""


class Quota(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Limits of a project that has none of its own; -1: no limit."""

    volumes: int = 10
    snapshots: int = 10
    gigabytes: int = 1000
    backups: int = 10
    backup_gigabytes: int = 1000
    per_volume_gigabytes: int = -1
    groups: int = 10


class Images(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where volumes made from images get them, and where uploads go."""

    endpoint: str = ""
    """URL of a Glance API; empty: `folder`."""
    folder: str = ""
    """Directory of image files; empty: `images` in the data directory."""
    token: str = ""
    """Token that volume services send to a Glance without Keystone; empty: none."""
    max_virtual_gigabytes: Positive = 2048
    """Largest disk that an image may hold, in GiB, whatever the file's own size."""
    scratch: str = ""
    """Directory for images on their way, as large as the largest; empty: in the data directory."""


class Monitoring(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where a process tells how it is: `/metrics`, `/live` and `/ready`, for machines only."""

    listen: str = ""
    """Address and port, one port for each process of a host (127.0.0.1:9776, [::1]:9776; port 0:
    any that is free); empty: it does not listen. No password is asked for."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port. Raises ConfigError when `listen` has another form."""
        match = re.fullmatch(r"(?:\[([\w:.%]+)\]|([^\[\]:/\s]+)):(\d{1,5})", self.listen, re.ASCII)
        if match is None or int(match[3]) > 65535:
            raise ConfigError(
                f"configuration: monitoring.listen: {self.listen!r} is no address with a port, "
                "such as 127.0.0.1:9776 or [::1]:9776"
            )
        return match[1] or match[2], int(match[3])


class Operations(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """How work is leased to services."""

    lease: Seconds = 20.0
    """Seconds after which work of a silent worker is taken over."""
    poll: Seconds = 2.0
    """Seconds between looks into the database for work whose message was lost."""
    deadline: Seconds = 3600.0
    """Seconds after which an operation that nobody could finish ends as failed."""


class Config(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Everything an operator can set."""

    host: str = ""
    """This machine's name in service names; empty: its host name."""
    data: str = "data"
    """Directory for the databases, local volumes and guests."""
    database: str = ""
    """SQLAlchemy URL; empty: `breezeblock.sqlite` in the data directory."""
    migrate_at_start: bool = True
    """Whether a process that starts brings an older database up to date; else it refuses one, and
    `breezeblock database upgrade` does it."""
    bus: str = "memory:"
    """`memory:` for one process, or `amqp://user:password@host:5672/`; the nodes of a cluster are
    parted by commas (`amqp://user:password@mq1,mq2,mq3/`)."""
    availability_zone: str = "nova"
    """Zone of services and backends that name none."""
    report_interval: Seconds = 10.0
    """Seconds between reports of services; also each backend's self-test."""
    service_down_time: Seconds = 60.0
    """Seconds of silence after which a service counts as down."""
    inventory_interval: Seconds = 600.0
    """Seconds between comparisons of what each backend holds with what the database says."""
    default_volume_type: str = "__DEFAULT__"
    """Type of volumes that are asked for without one; made at start when it is not there."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level of log lines."""
    log_format: Literal["console", "json"] = "console"
    """How they look: for people, or one JSON object a line."""
    api: Api = Api()
    compute: Compute = Compute()
    auth: Auth = Auth()
    scheduler: Scheduler = Scheduler()
    quota: Quota = Quota()
    images: Images = Images()
    operations: Operations = Operations()
    monitoring: Monitoring = Monitoring()
    backends: tuple[Backend, ...] = (Backend(name="local"),)
    """Storage backends, each as a [[backends]] table of: name, driver, host (the same on several
    volume services lets them share it, if it is an array), availability_zone, threads (driver calls
    at a time), options (the driver's own: docs/drivers.md)."""

    @property
    def hostname(self) -> str:
        """This machine's name in service names."""
        return self.host or socket.gethostname()

    @property
    def data_dir(self) -> Path:
        return Path(self.data).resolve()

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.data_dir / 'breezeblock.sqlite'}"

    @property
    def compute_database_url(self) -> str:
        if self.compute.database:
            return self.compute.database
        if self.database and not self.database.startswith("sqlite"):
            return self.database
        return f"sqlite:///{self.data_dir / 'compute.sqlite'}"

    @property
    def compute_endpoint(self) -> str:
        if self.compute.endpoint:
            return self.compute.endpoint.rstrip("/")
        return f"http://{self.compute.listen}:{self.compute.port}/v2.1"

    @property
    def block_storage_endpoint(self) -> str:
        if self.compute.block_storage_endpoint:
            return self.compute.block_storage_endpoint.rstrip("/")
        return f"http://{self.api.listen}:{self.api.port}/v3"


class ConfigError(ValueError):
    """The configuration cannot be used; the message names the key."""


DATABASES = ("sqlite", "postgresql+psycopg")

ENVIRONMENT_PREFIX = "BREEZEBLOCK_"
CREDENTIAL_PREFIX = "breezeblock_"
"""May begin names of files in $CREDENTIALS_DIRECTORY: a file that has it is for us."""


def load(path: Path | None = None, environment: Mapping[str, str] | None = None) -> Config:
    """Read the TOML file (if any), then let credentials override it, then environment variables.

    A file `breezeblock_auth.keystone.password`, or `auth.keystone.password`, in
    $CREDENTIALS_DIRECTORY (systemd's LoadCredential= or any folder of secrets) holds the text of
    that option. Other files there are somebody else's, unless their names begin with our prefix.

    `BREEZEBLOCK_API__PORT=9000` sets `api.port`; a double underscore goes one level down; values
    are TOML (so numbers and lists work), or plain text when they are not valid TOML.
    """
    tree: dict[str, Any] = {}
    if path is not None:
        try:
            tree = tomllib.loads(path.read_text())
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: {error}") from None
    env = os.environ if environment is None else environment
    for name, text in _credentials(env.get("CREDENTIALS_DIRECTORY", "")):
        _put(tree, name.split("."), text)
    for key, value in env.items():
        if key.startswith(ENVIRONMENT_PREFIX) and key != "BREEZEBLOCK_CONFIG":
            _put(tree, key[len(ENVIRONMENT_PREFIX) :].lower().split("__"), _value(value))
    return build(tree)


def build(tree: Mapping[str, Any]) -> Config:
    """Turn plain data into a checked Config. Raises ConfigError."""
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(f"configuration: {error}") from None
    _check(config)
    return config


def _check(config: Config) -> None:
    """Rules beyond the types. Raises ConfigError."""
    names = [backend.name for backend in config.backends]
    if len(set(names)) != len(names):
        raise ConfigError("configuration: backends: every name must be there once only")
    for name in names:
        if not name or any(mark in name for mark in "@#/ "):
            raise ConfigError(f"configuration: backends: the name {name!r} is empty or holds @ # /")
    if config.bus.partition(":")[0] not in ("memory", "amqp", "amqps"):
        kind = _kind_of_url(config.bus)
        raise ConfigError(f"configuration: bus: {kind!r} is no memory:, amqp: or amqps: URL")
    for key, url in (("database", config.database), ("compute.database", config.compute.database)):
        if url and url.partition(":")[0] not in DATABASES:
            raise ConfigError(
                f"configuration: {key}: {_kind_of_url(url)!r} is no URL of {' or '.join(DATABASES)}"
            )
    if config.monitoring.listen:
        _ = config.monitoring.address
    initiator = config.compute.initiator
    if initiator and not re.fullmatch(r"(iqn|eui|naa)\.[A-Za-z0-9.:_-]{1,219}", initiator):
        raise ConfigError(f"configuration: compute.initiator: {initiator!r} is no iSCSI name")
    try:
        re.compile(config.api.project_id_regex)
    except re.error as error:
        raise ConfigError(f"configuration: api.project_id_regex: {error}") from None
    if config.auth.strategy == "basic" and not (config.auth.users or config.auth.users_file):
        raise ConfigError(
            "configuration: auth.users: basic authentication needs at least one, or auth.users_file"
        )
    if config.auth.strategy == "keystone":
        for option in ("auth_url", "username", "password"):
            if not getattr(config.auth.keystone, option):
                raise ConfigError(f"configuration: auth.keystone.{option}: Keystone needs it")
        if not re.match(r"https?://[^/?#]", config.auth.keystone.auth_url):
            raise ConfigError(
                f"configuration: auth.keystone.auth_url: {config.auth.keystone.auth_url!r} "
                "does not begin with http:// or https:// and a host"
            )
    for user in config.auth.users:
        if not re.fullmatch(r"\$2[aby]\$\d\d\$.{53}", user.password):
            raise ConfigError(
                f"configuration: auth.users: the password of {user.name!r} is no bcrypt hash; "
                "`breezeblock password` makes one"
            )


def _kind_of_url(url: str) -> str:
    """What can be shown of a URL that may hold a password."""
    return url.partition(":")[0][:40] + ":…"


def _credentials(folder: str) -> Iterator[tuple[str, str]]:
    """The options that files of secrets hold, by name. Raises ConfigError."""
    if not folder:
        return
    try:
        paths = sorted(Path(folder).iterdir())  # raises where glob would find nothing
        # With the prefix last: that one counts where both are there.
        for path in sorted(paths, key=lambda one: one.name.startswith(CREDENTIAL_PREFIX)):
            option = path.name.removeprefix(CREDENTIAL_PREFIX)
            if option != path.name or _is_option(option):
                yield option, path.read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"credentials: {error}") from None


def _is_option(name: str) -> bool:
    """Whether there is an option of this name, with dots between its parts."""
    kind: Any = Config
    for part in name.split("."):
        if not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
            return False
        kind = {field.name: field.type for field in msgspec.structs.fields(kind)}.get(part)
    return kind is not None and not (isinstance(kind, type) and issubclass(kind, msgspec.Struct))


def _put(tree: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"environment: {'__'.join(keys)} goes below a value")
    tree[keys[-1]] = value


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
