"""The default policy, and what an operator may change about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from breezeblock.auth.identity import Identity
from breezeblock.auth.policy import Policy
from breezeblock.auth.rules import DEFAULTS

POLICY = Policy()
OWN = {"project_id": "p1"}
OTHER = {"project_id": "p2"}


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
    ask = overridden._ask

    def counting(*question: object) -> bool:
        questions.append(question)
        return ask(*question)  # type: ignore[arg-type]

    monkeypatch.setattr(overridden, "_ask", counting)
    for _ in range(3):
        overridden.allows(rule, who("reader"), target)
    assert len(questions) == asked


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Policy(tmp_path / "none.yaml")
