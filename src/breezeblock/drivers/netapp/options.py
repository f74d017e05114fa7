"""The NetApp driver's options: what an operator may write under `options` of such a backend.

The names are those of the driver that most clouds use today, where it has such an option.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, cast

from breezeblock.drivers.base import BackendConfig
from breezeblock.drivers.options import Given

Protocol = Literal["iscsi", "nfs"]

OS_TYPES = (
    *("linux", "aix", "hpux", "hyper_v", "netware", "openvms", "solaris", "vmware", "windows"),
    "xen",
)
LUN_OS_TYPES = (*OS_TYPES, "solaris_efi", "windows_2008", "windows_gpt")
PORTS = {"https": 443, "http": 80}
SHORTEST_KEY = 16


@dataclass(frozen=True, slots=True)
class NetAppOptions:
    """The options, checked and complete.

    netapp_server_hostname       the management address of the cluster or of the SVM
    netapp_server_port           default: 443, or 80 with `http`
    netapp_transport_type        `https` or `http`
    netapp_ssl_cert_path         a file with the CA certificates to trust instead of the system's
    netapp_login, netapp_password
    netapp_vserver               the SVM; needed with a cluster's account, harmless with an SVM's
    netapp_storage_protocol      `iscsi` or `nfs`
    netapp_pool_name_search_pattern   which FlexVols are pools: their whole names match it
    netapp_lun_space_reservation `enabled`: thick unless a type says otherwise; `disabled`: thin
    netapp_lun_ostype            what new LUNs are formatted for
    netapp_host_type             what new igroups are for
    netapp_own_initiator         the IQN under which volume services read and write volumes
                                 themselves (images, backups); default: made of the host's name
    use_chap_auth                hosts must prove who they are
    chap_secret_key              each initiator's secret is derived from it: at least 16 characters,
                                 the same in all services of the backend
    volume_backend_name          default: the backend's name
    max_over_subscription_ratio  GiB promised for each GiB there is, or "auto" (the scheduler's)
    reserved_percentage          of the capacity, kept free by the scheduler
    filter_function, goodness_function   for the scheduler
    """

    server_hostname: str
    server_port: int
    transport_type: Literal["https", "http"]
    ssl_cert_path: Path | None
    login: str
    password: str = field(repr=False)
    vserver: str | None
    storage_protocol: Protocol
    pool_name_search_pattern: re.Pattern[str]
    lun_space_reservation: bool
    lun_ostype: str
    host_type: str
    own_initiator: str
    use_chap_auth: bool
    chap_secret_key: str | None = field(repr=False)
    volume_backend_name: str
    max_over_subscription_ratio: float | str
    reserved_percentage: int
    filter_function: str | None
    goodness_function: str | None

    @classmethod
    def of(cls, config: BackendConfig) -> NetAppOptions:
        """Check and complete what was configured. Raises ValueError that names the option."""
        given = Given(config.options)
        transport = cast(
            Literal["https", "http"], given.one_of("netapp_transport_type", "https", "http")
        )
        certificates = given.text("netapp_ssl_cert_path")
        chap = given.flag("use_chap_auth")
        options = cls(
            server_hostname=_address(given.needed("netapp_server_hostname")),
            server_port=given.whole(
                "netapp_server_port", PORTS[transport], at_least=1, at_most=65535
            ),
            transport_type=transport,
            ssl_cert_path=None if certificates is None else Path(certificates),
            login=given.needed("netapp_login"),
            password=given.secret("netapp_password") or _missing("netapp_password"),
            vserver=given.text("netapp_vserver"),
            storage_protocol=cast(
                Protocol, given.one_of("netapp_storage_protocol", "iscsi", "nfs")
            ),
            pool_name_search_pattern=given.pattern("netapp_pool_name_search_pattern", "(.+)"),
            lun_space_reservation=(
                given.one_of("netapp_lun_space_reservation", "enabled", "disabled") == "enabled"
            ),
            lun_ostype=given.one_of("netapp_lun_ostype", *LUN_OS_TYPES),
            host_type=given.one_of("netapp_host_type", *OS_TYPES),
            own_initiator=_initiator(given.text("netapp_own_initiator"), config.host),
            use_chap_auth=chap,
            chap_secret_key=given.secret("chap_secret_key", at_least=SHORTEST_KEY),
            volume_backend_name=given.text("volume_backend_name") or config.name,
            max_over_subscription_ratio=given.ratio("max_over_subscription_ratio", 20.0),
            reserved_percentage=given.whole("reserved_percentage", 0, at_least=0, at_most=100),
            filter_function=given.text("filter_function"),
            goodness_function=given.text("goodness_function"),
        )
        given.nothing_left()
        if chap and options.chap_secret_key is None:
            raise ValueError("chap_secret_key: is needed with use_chap_auth")
        return options

    @property
    def url(self) -> str:
        return f"{self.transport_type}://{self.server_hostname}:{self.server_port}"


def _missing(key: str) -> str:
    raise ValueError(f"{key}: is needed")


def _address(text: str) -> str:
    """A host as it stands in a URL."""
    try:
        return f"[{text}]" if ipaddress.ip_address(text).version == 6 else text
    except ValueError:
        pass
    if not re.fullmatch(r"[A-Za-z0-9._-]+", text):
        raise ValueError(
            f"netapp_server_hostname: {text!r} is neither a host's name nor an address"
        )
    return text


def _initiator(given: str | None, host: str) -> str:
    """The IQN of the volume service's own; hosts' names may have letters that an IQN must not.

    The compute agent of the same host is another initiator: it has other LUNs under other secrets.
    """
    if given is None:
        plain = re.sub(r"[^a-z0-9.:-]+", "-", host.lower()).strip("-.")
        return f"iqn.2026-11.cloud.breezeblock:{plain[:180]}-volume"
    if not re.fullmatch(r"iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(:\S+)?|eui\.[0-9A-Fa-f]{16}", given):
        raise ValueError(f"netapp_own_initiator: {given!r} is no name of an iSCSI initiator")
    return given
