"""The default policy, and what an operator may change about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from breezeblock.auth import policy as policy_module
from breezeblock.auth.identity import Identity
from breezeblock.auth.judging import DefaultRules
from breezeblock.auth.oslo_rules import OsloRules
from breezeblock.auth.policy import Policy
from breezeblock.auth.policy_file import overrides
from breezeblock.auth.rules import BASE, DEFAULTS
from breezeblock.compute.api.policy import DEFAULTS as COMPUTE_RULES

POLICY = Policy()
OWN = {"project_id": "p1"}
OTHER = {"project_id": "p2"}
EVERYBODY = ("admin", "manager", "member", "reader", "service", "guest")


def who(*roles: str, project: str = "p1") -> Identity:
    return Identity.with_roles("alice", project, set(roles))


@pytest.mark.parametrize(
    ("rule", "role", "own", "other"),
    [
        ("volume:create", "admin", True, True),
        ("volume:create", "member", True, False),
        ("volume:create", "reader", False, False),
        ("volume:create", "guest", False, False),
        ("volume:get", "member", True, False),
        ("volume:get", "reader", True, False),
        ("volume:get", "guest", False, False),
        ("volume:force_delete", "admin", True, True),
        ("volume:force_delete", "member", False, False),
    ],
)
def test_the_personas(rule: str, role: str, own: bool, other: bool) -> None:
    assert POLICY.allows(rule, who(role), OWN) is own
    assert POLICY.allows(rule, who(role), OTHER) is other


def test_every_rule_of_the_facts_has_a_default() -> None:
    assert len(DEFAULTS) == 161
    admin = who("admin")
    assert all(POLICY.allows(rule, admin, OTHER) for rule in DEFAULTS)
    assert not any(POLICY.allows(rule, who("guest"), OWN) for rule in DEFAULTS)


def test_an_unknown_rule_is_refused_to_everybody() -> None:
    assert not POLICY.allows("volume:fly", who("admin"), OWN)


def test_role_names_do_not_distinguish_letter_case() -> None:
    assert POLICY.allows("volume:create", who("Member"), OWN)


def test_a_target_without_project_belongs_to_nobody() -> None:
    assert not POLICY.allows("volume:get", who("reader"), {})


def test_is_admin_is_enough_without_the_role() -> None:
    root = Identity("root", "p1", frozenset(), is_admin=True)
    assert POLICY.allows("volume:force_delete", root, OTHER)


@pytest.fixture
def overridden(tmp_path: Path) -> Policy:
    path = tmp_path / "policy.yaml"
    path.write_text(
        '"volume:create": "role:creator"\n'
        '"volume:get": "rule:admin_or_owner"\n'
        '"volume:delete": "user_id:%(user_id)s"\n'
        '"volume:update": "not role:frozen and project_id:%(project_id)s"\n'
        '"volume:extend": "!"\n'
        '"volume:retype": "@"\n'
        '"volume:reimage": "role:member and nonsense"\n'
        '"our_rule": "role:ours"\n'
        '"volume:get_all": "rule:our_rule"\n'
        '"volume:get_snapshot": "rule:nowhere"\n'
    )
    return Policy(path)


def test_an_operator_overrides_single_rules(overridden: Policy) -> None:
    assert overridden.allows("volume:create", who("creator"), OWN)
    assert not overridden.allows("volume:create", who("member"), OWN)
    assert overridden.allows("volume:create_snapshot", who("member"), OWN)


def test_the_well_known_base_rules_can_be_referred_to(overridden: Policy) -> None:
    assert overridden.allows("volume:get", who("guest"), OWN)
    assert not overridden.allows("volume:get", who("guest"), OTHER)


def test_rules_may_look_at_the_user(overridden: Policy) -> None:
    alice = who("guest")
    assert overridden.allows("volume:delete", alice, OWN | {"user_id": "alice"})
    assert not overridden.allows("volume:delete", alice, OWN | {"user_id": "bob"})
    assert overridden.allows("volume:delete", alice, OTHER | {"user_id": "alice"})


def test_rules_may_deny(overridden: Policy) -> None:
    assert overridden.allows("volume:update", who("guest"), OWN)
    assert not overridden.allows("volume:update", who("frozen"), OWN)
    assert not overridden.allows("volume:extend", who("admin"), OWN)
    assert overridden.allows("volume:retype", who(), OTHER)


def test_rules_of_the_operators_own_are_followed(overridden: Policy) -> None:
    assert overridden.allows("volume:get_all", who("ours"), OWN)
    assert not overridden.allows("volume:get_all", who("admin"), OWN)


@pytest.mark.parametrize("rule", ["volume:reimage", "volume:get_snapshot"])
def test_what_cannot_be_understood_is_refused(overridden: Policy, rule: str) -> None:
    assert not overridden.allows(rule, who("admin", "member"), OWN)


def test_remembered_answers_do_not_leak_between_callers_or_targets() -> None:
    policy = Policy()
    for _ in range(2):
        assert policy.allows("volume:get", who("reader"), OWN)
        assert not policy.allows("volume:get", who("reader"), OTHER)
        assert not policy.allows("volume:get", who("reader", project="p3"), OWN)
        assert not policy.allows("volume:get", who("guest"), OWN)


@pytest.mark.parametrize(
    ("rule", "target", "asked"),
    [
        ("volume:get", OWN, 1),
        ("volume:force_delete", OTHER, 1),
        ("volume:update", OWN, 1),
        ("volume:delete", OWN | {"user_id": "alice"}, 3),
    ],
)
def test_only_rules_of_roles_and_ownership_are_remembered(
    overridden: Policy,
    monkeypatch: pytest.MonkeyPatch,
    rule: str,
    target: dict[str, str],
    asked: int,
) -> None:
    questions = []
    rules = overridden._rules
    ask = rules.judge

    def counting(*question: object) -> bool:
        questions.append(question)
        return ask(*question)  # type: ignore[arg-type]

    monkeypatch.setattr(rules, "judge", counting)
    for _ in range(3):
        overridden.allows(rule, who("reader"), target)
    assert len(questions) == asked


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Policy(tmp_path / "none.yaml")


# -- the operator's file ---------------------------------------------------------------------------


class Edited:
    """A policy whose file is written while it is in use; each question looks at the file."""

    def __init__(self, path: Path, text: str) -> None:
        self.path = path
        path.write_text(text)
        self.policy = Policy(path, look_every=0.0)

    def write(self, text: str) -> None:
        """As an editor that replaces the file."""
        new = self.path.with_suffix(".new")
        new.write_text(text)
        new.rename(self.path)

    def may(self, role: str, rule: str = "volume:create") -> bool:
        return self.policy.allows(rule, who(role), OWN)


def warnings(logged: list[Any]) -> list[str]:
    return [entry["problem"] for entry in logged if entry["log_level"] == "warning"]


def errors(logged: list[Any]) -> list[str]:
    return [entry["error"] for entry in logged if entry["log_level"] == "error"]


@pytest.fixture
def edited(tmp_path: Path) -> Edited:
    return Edited(tmp_path / "policy.yaml", '"volume:create": "role:creator"\n')


def test_a_changed_file_holds_without_a_restart(edited: Edited) -> None:
    assert (edited.may("creator"), edited.may("member")) == (True, False)
    edited.write('"volume:create": "role:maker"\n')
    assert (edited.may("creator"), edited.may("maker")) == (False, True)
    edited.write("")
    assert (edited.may("maker"), edited.may("member")) == (False, True)


def test_a_file_written_in_place_is_read_again(edited: Edited) -> None:
    edited.path.write_text('"volume:create": "role:another"\n')
    assert edited.may("another")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('"volume:create": "role:x"\n  bad: [\n', "line 2"),
        ('"volume:create": {"a": 1}\n', "volume:create"),
        ("- volume:create\n", "lines of"),
        ("just words", "lines of"),
    ],
)
def test_a_broken_file_leaves_the_old_rules(edited: Edited, text: str, told: str) -> None:
    with capture_logs() as logged:
        edited.write(text)
        assert [edited.may("creator") for _ in range(3)] == [True] * 3
    (error,) = errors(logged)
    assert told in error
    assert str(edited.path) in error
    edited.write('"volume:create": "role:maker"\n')
    assert edited.may("maker")


def test_a_file_that_is_away_leaves_the_old_rules(edited: Edited) -> None:
    edited.path.unlink()
    with capture_logs() as logged:
        assert [edited.may("creator") for _ in range(3)] == [True] * 3
    assert len(errors(logged)) == 1
    edited.write('"volume:create": "role:maker"\n')
    assert edited.may("maker")


def failures_of_rules(logged: list[Any]) -> list[tuple[str, str]]:
    return [(one["rule"], one["error"]) for one in logged if one["log_level"] == "error"]


@pytest.mark.parametrize(
    ("who_may", "cause"),
    [
        ('"@ or rule:x"\n"x": "rule:volume:create"', "refers to itself"),
        ('"rule:x"\n"x": "rule:y"\n"y": "rule:x"', ""),
        ('"not %(project_id)s:%(project_id)s"', "SyntaxError"),
        ('"role:100%"', "ValueError"),
        ('"http://127.0.66.1:1/x"', "ConnectionError"),
    ],
)
def test_a_rule_that_cannot_be_evaluated_is_refused_and_told_of_once_a_load(
    edited: Edited, who_may: str, cause: str
) -> None:
    for _ in range(2):
        edited.write(f'"volume:create": {who_may}\n')
        with capture_logs() as logged:
            assert [edited.may("admin") for _ in range(3)] == [False] * 3
            assert edited.may("member", "volume:delete")
        ((rule, error),) = failures_of_rules(logged)
        assert rule == "volume:create"
        assert cause in error


TOO_DEEP = [
    '"volume:create": "' + "not " * 20000 + '@"',
    '"volume:create": ' + "[" * 1500 + "]" * 1500,
]


@pytest.mark.parametrize("text", TOO_DEEP)
def test_a_file_that_breaks_its_parser_is_parsed_once(
    edited: Edited, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    parsed = []

    def counting(content: str) -> dict[str, str]:
        parsed.append(content)
        return overrides(content)

    monkeypatch.setattr(policy_module, "overrides", counting)
    with capture_logs() as logged:
        edited.write(text)
        assert [edited.may("creator") for _ in range(3)] == [True] * 3
    (error,) = errors(logged)
    assert "nested too deeply" in error
    assert parsed == [text]
    edited.write('"volume:create": "role:maker"\n')
    assert edited.may("maker")


def test_an_error_of_any_kind_leaves_the_old_rules(
    edited: Edited, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: str) -> dict[str, str]:
        raise KeyError("$2b$12$secret")

    monkeypatch.setattr(policy_module, "overrides", broken)
    with capture_logs() as logged:
        edited.write("anything")
        assert [edited.may("creator") for _ in range(3)] == [True] * 3
    (error,) = errors(logged)
    assert error == f"{edited.path}: it cannot be understood (KeyError)"


@pytest.mark.parametrize("text", ["a: [", "- a", '"a": 3', "a: b: c", *TOO_DEEP])
def test_a_file_that_is_broken_at_start_is_a_value_error_in_a_line(
    tmp_path: Path, text: str
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"policy\.yaml: ") as error:
        Policy(path)
    assert "\n" not in str(error.value)


def test_json_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "policy.json"
    path.write_text('{"volume:create": "role:creator"}')
    assert Policy(path).allows("volume:create", who("creator"), OWN)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('"volume:creat": "@"', "volume:creat is no rule of this service"),
        ('"volume:creat": "@"', "did you mean volume:create?"),
        ('"volume:get": "rule:nowhere"', "volume:get refers to nowhere"),
        ('"volume:get": "role:member and nonsense"', "volume:get: 'role:member and nonsense'"),
        ('"volume:get": "(role:member"', "volume:get: '(role:member'"),
        ('"a": "rule:b"\n"b": "rule:a"', "a refers to itself"),
        ('"volume:get": "@ or not (role:a% or @)"', "volume:get: 'role:a%' cannot be evaluated"),
        ('"volume:get": "roles.x.y:z"', "volume:get: 'roles.x.y:z' cannot be evaluated"),
        ('"volume:get": "%(user_id)s:x"', "volume:get: '%(user_id)s:x' cannot be evaluated"),
        ('"volume:get": "http://h/%d"', "volume:get: 'http://h/%d' cannot be evaluated"),
        ('"volume_extension:types_manage": "@"', "volume_extension:type_create"),
    ],
)
def test_what_is_wrong_in_a_line_is_warned_of(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(line)
    with capture_logs() as logged:
        Policy(path)
    assert any(told in warning for warning in warnings(logged)), warnings(logged)


def test_a_good_file_is_not_warned_of(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        '"ours": "role:a or (role:b and not user_id:%(user_id)s)"\n'
        '"volume:get": "rule:ours"\n'
        '"context_is_admin": "role:cloud_admin"\n'
        '"os_compute_api:servers:show": "rule:project_reader_or_admin"\n'
        '"volume:delete": "!"\n'
        '"volume:extend": "@"\n'
        '"volume:retype": ""\n'
    )
    with capture_logs() as logged:
        Policy(path, others={"os_compute_api:servers:show"})
    assert warnings(logged) == []


def test_an_older_name_stands_for_those_that_took_its_place(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        '"volume_extension:types_manage": "role:typist"\n'
        '"volume_extension:type_delete": "role:remover"\n'
    )
    policy = Policy(path)
    assert policy.allows("volume_extension:type_create", who("typist"), OWN)
    assert not policy.allows("volume_extension:type_delete", who("typist"), OWN)
    assert policy.allows("volume_extension:type_delete", who("remover"), OWN)


def test_the_operator_says_who_is_an_administrator(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text('"context_is_admin": "role:cloud_admin"\n')
    policy = Policy(path)
    chief = policy.known(who("cloud_admin"))
    assert chief.is_admin
    assert policy.allows("volume:force_delete", chief, OTHER)
    assert not policy.known(who("admin")).is_admin
    assert POLICY.known(who("admin")).is_admin


@pytest.mark.parametrize("defaults", [DEFAULTS, COMPUTE_RULES], ids=["volumes", "compute"])
def test_the_defaults_are_judged_as_oslo_policy_judges_them(defaults: dict[str, str]) -> None:
    text = {**BASE, **defaults}
    ours, theirs = DefaultRules(text), OsloRules(text)
    callers = [who(role, project=project) for role in EVERYBODY for project in ("p1", "")]
    callers.append(Identity("root", "p1", frozenset(), is_admin=True))
    for rule in (*text, "volume:fly"):
        for caller in callers:
            for target in (OWN, OTHER, {"project_id": ""}, {}):
                expected = theirs.judge(rule, caller, target)
                assert ours.judge(rule, caller, target) is expected, (rule, caller, target)
