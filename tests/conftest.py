"""What any test may ask for. The engines start when the first test asks for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog

from tests.engines.glance import Glance
from tests.engines.ontap import Ontap
from tests.engines.postgres import Postgres
from tests.engines.process import started
from tests.engines.rabbitmq import RabbitMQ

# As in the services: no values of variables in tracebacks, which may be secrets.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A running broker. A test that stops, kills or pauses it must leave it running."""
    with started(RabbitMQ()) as server:
        yield server


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running database server. A test that stops, kills or pauses it must leave it running."""
    with started(Postgres()) as server:
        yield server


@pytest.fixture(scope="session")
def glance() -> Iterator[Glance]:
    """A running Glance without Keystone. Its images are those of all tests that ask for it."""
    with started(Glance()) as server:
        yield server


@pytest.fixture(scope="module")
def ontap_server() -> Iterator[Ontap]:
    """A running ONTAP simulator, of one test module."""
    with started(Ontap()) as server:
        yield server


@pytest.fixture
def ontap(ontap_server: Ontap) -> Ontap:
    """An array as new. A test that kills it may leave it dead."""
    ontap_server.start()
    ontap_server.reset()
    return ontap_server
