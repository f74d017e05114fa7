"""Who is calling.

An authenticator makes one `Identity` a request; the web layer puts it on the call, the policy
judges it, and the workflows note its user and project on what they create.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK_STORAGE = frozenset({"block-storage", "block-store", "volume", "volumev2", "volumev3"})
COMPUTE = frozenset({"compute"})
"""The names that a service may have in Keystone's catalog, and so in access rules."""

IMPLIED = {
    "admin": ("manager", "member", "reader"),
    "manager": ("member", "reader"),
    "member": ("reader",),
}
"""As Keystone's bootstrap makes them: a token there lists them all anyway."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The caller: user, project and roles, as one authenticator vouched for them.

    `roles` holds the implied ones too when made by `with_roles`. `is_service` says that a service
    user (role `service`) speaks, for itself or beside a user's own credentials. `is_anonymous`
    says that nobody presented any credentials and the service is configured to serve such callers
    all the same; a project named in the URL is then taken as theirs.
    """

    user_id: str
    project_id: str
    roles: frozenset[str] = frozenset()
    is_admin: bool = False
    is_service: bool = False
    is_anonymous: bool = False

    @classmethod
    def with_roles(
        cls, user_id: str, project_id: str, roles: frozenset[str] | set[str], **rest: bool
    ) -> Identity:
        """An identity whose roles are completed: `IMPLIED` says by which."""
        full = expand_roles(frozenset(roles))
        flags = {"is_admin": "admin" in full, "is_service": "service" in full} | rest
        return cls(user_id, project_id, full, **flags)


def expand_roles(roles: frozenset[str]) -> frozenset[str]:
    """The roles and those that they imply. Role names do not distinguish letter case."""
    lowered = frozenset(role.lower() for role in roles)
    return lowered.union(*(IMPLIED.get(role, ()) for role in lowered))
