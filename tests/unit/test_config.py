"""The configuration: defaults that work, and errors that name what is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from breezeblock.config import Config, ConfigError, build, load


def test_without_a_file_everything_has_a_default() -> None:
    config = load(None, {})
    assert config == Config()
    assert config.database_url.endswith("data/breezeblock.sqlite")
    assert config.compute_database_url.endswith("data/compute.sqlite")
    assert config.block_storage_endpoint == "http://127.0.0.1:8776/v3"


def test_a_file_sets_options(tmp_path: Path) -> None:
    path = tmp_path / "breezeblock.toml"
    path.write_text('[api]\nport = 9000\n[[backends]]\nname = "a"\n[backends.options]\nx = 1\n')
    config = load(path, {})
    assert config.api.port == 9000
    assert config.backends[0].options == {"x": 1}


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "breezeblock.toml"
    path.write_text("[api]\nport = 9000\n")
    environment = {"BREEZEBLOCK_API__PORT": "9001", "BREEZEBLOCK_HOST": "node-1"}
    config = load(path, environment)
    assert (config.api.port, config.hostname) == (9001, "node-1")


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ({"prot": 1}, "prot"),
        ({"api": {"port": "many"}}, "api.port"),
        ({"api": {"prot": 1}}, "prot"),
        ({"auth": {"strategy": "kerberos"}}, "auth.strategy"),
        ({"backends": [{"name": "a"}, {"name": "a"}]}, "backends"),
        ({"backends": [{"name": "a@b"}]}, "a@b"),
        ({"backends": [{"name": ""}]}, "empty"),
    ],
)
def test_a_mistake_is_named(tree: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build(tree)


def test_a_file_that_is_no_toml_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("[api\n")
    with pytest.raises(ConfigError, match=r"broken\.toml"):
        load(path, {})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml"):
        load(tmp_path / "nowhere.toml", {})


def test_an_environment_that_goes_below_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="below"):
        load(None, {"BREEZEBLOCK_HOST": "x", "BREEZEBLOCK_HOST__NAME": "y"})


def test_postgresql_serves_compute_too_unless_it_has_its_own() -> None:
    url = "postgresql+psycopg://db/breezeblock"
    assert build({"database": url}).compute_database_url == url
    own = build({"database": url, "compute": {"database": "postgresql+psycopg://db/own"}})
    assert own.compute_database_url.endswith("/own")


HASH = "$2b$04$" + "a" * 53


@pytest.mark.parametrize(
    ("tree", "named"),
    [
        ({"api": {"port": 99999}}, "api.port"),
        ({"report_interval": -1}, "report_interval"),
        ({"operations": {"lease": 0}}, "operations.lease"),
        ({"bus": "http://x"}, "bus"),
        ({"database": "nosuch://x"}, "database"),
        ({"api": {"project_id_regex": "("}}, "api.project_id_regex"),
        ({"auth": {"strategy": "basic"}}, "auth.users"),
        ({"auth": {"strategy": "keystone"}}, "auth.keystone.auth_url"),
        (
            {"auth": {"strategy": "keystone", "keystone": {"auth_url": "http://k"}}},
            "auth.keystone.password",
        ),
        *(
            (
                {"auth": {"strategy": "keystone", "keystone": {"auth_url": url, "password": "p"}}},
                "auth.keystone.auth_url",
            )
            for url in ("keystone.example:5000/v3", "ftp://k/v3", "https:///v3", "http:/k/v3")
        ),
        (
            {"auth": {"users": [{"name": "ada", "password": "plain", "project_id": "p"}]}},
            "'ada' is no bcrypt hash",
        ),
    ],
)
def test_a_value_that_cannot_work_is_refused_at_start(tree: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build(tree)


def test_a_user_with_a_hash_is_taken() -> None:
    user = {"name": "ada", "password": HASH, "project_id": "p"}
    assert build({"auth": {"strategy": "basic", "users": [user]}}).auth.users[0].name == "ada"


def test_credentials_go_before_the_file_and_the_environment_before_both(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        'bus = "amqp://file"\nlog_level = "debug"\n[auth.keystone]\npassword = "file"\n'
    )
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "breezeblock_bus").write_text("amqp://credential\n")
    (secrets / "breezeblock_auth.keystone.password").write_text("0123\n")
    (secrets / "of_somebody_else").write_text("x")
    environment = {
        "CREDENTIALS_DIRECTORY": str(secrets),
        "BREEZEBLOCK_BUS": "amqp://environment",
    }
    config = load(file, environment)
    assert config.bus == "amqp://environment"
    assert config.auth.keystone.password == "0123"  # a text, though it looks like a number
    assert config.log_level == "debug"


def test_a_credential_needs_no_prefix_where_its_name_is_an_option(tmp_path: Path) -> None:
    """The operator's own folder of credentials serves commands that no unit gives them to."""
    (tmp_path / "bus").write_text("amqp://plain\n")
    (tmp_path / "auth.keystone.password").write_text("0123\n")
    (tmp_path / "compute.database").write_text("postgresql+psycopg://plain/x\n")
    (tmp_path / "breezeblock_compute.database").write_text("postgresql+psycopg://prefixed/x\n")
    for name in ("of_somebody_else", "bus.pem", "api", "auth.keystone", "compute.", ".data"):
        (tmp_path / name).write_text("x")
    (tmp_path / "lost").mkdir()
    config = load(None, {"CREDENTIALS_DIRECTORY": str(tmp_path)})
    assert (config.bus, config.auth.keystone.password) == ("amqp://plain", "0123")
    assert config.compute.database == "postgresql+psycopg://prefixed/x"


def test_a_credential_that_is_no_option_is_named(tmp_path: Path) -> None:
    (tmp_path / "breezeblock_buss").write_text("amqp://host")
    with pytest.raises(ConfigError, match="buss"):
        load(None, {"CREDENTIALS_DIRECTORY": str(tmp_path)})


def test_credentials_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"credentials: .*gone"):
        load(None, {"CREDENTIALS_DIRECTORY": str(tmp_path / "gone")})


@pytest.mark.parametrize("option", ["bus", "database"])
def test_a_url_that_is_refused_is_not_repeated_with_its_password(option: str) -> None:
    with pytest.raises(ConfigError, match=option) as refused:
        build({option: "http://user:verysecret@host/"})
    assert "verysecret" not in str(refused.value)
