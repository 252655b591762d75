"""Who is signed in to the Hub, and what that token may write."""

import os
from dataclasses import dataclass

from transfer.errors import PublishError

TOKENS_PAGE = "https://huggingface.co/settings/tokens"


@dataclass(frozen=True, kw_only=True)
class Account:
    """`organisations`: name → role, "" where it is not told; `role` is the token's.

    `writable` holds what a fine-grained token may write: names of accounts and of repositories.
    """

    name: str
    organisations: dict[str, str]
    role: str
    writable: frozenset[str]


def sign_in(token: str | None) -> str:
    """The token to publish with: the one given, else what `hf auth login` or HF_TOKEN left.

    On a Space those are its owner's, not the visitor's, so they are not taken there.
    """
    from huggingface_hub import get_token

    token = token or (None if os.environ.get("SPACE_ID") else get_token())
    if not token:
        raise PublishError(
            "expected you to be signed in to the Hub, found no token; run `hf auth login` with a "
            f"token that may write ({TOKENS_PAGE})"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise PublishError(
            "expected a token of the Hub, found something with other signs than letters, digits "
            f"and _; copy it again from {TOKENS_PAGE}"
        )
    return token


def read_account(answer: dict) -> Account:
    """From what the Hub's whoami answers."""
    auth = answer.get("auth") or {}
    token = auth.get("accessToken") or {}
    scoped = (token.get("fineGrained") or {}).get("scoped") or []
    return Account(
        name=answer["name"],
        organisations={org["name"]: org.get("roleInOrg", "") for org in answer.get("orgs") or []},
        role=token.get("role", ""),
        writable=frozenset(
            str(scope.get("entity", {}).get("name")).casefold()
            for scope in scoped
            if "repo.write" in scope.get("permissions", ())
        ),
    )


def full_name(repository: str, account: Account) -> str:
    """NAME or USER/NAME → USER/NAME as the Hub writes it. Raises PublishError."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    owner, slash, name = repository.rpartition("/")
    try:
        validate_repo_id(repository)
        valid = bool(name) and bool(owner) == bool(slash)
    except HFValidationError:
        valid = False
    if not valid:
        raise PublishError(
            f"expected a repository's name like {account.name}/ants-bees, found {repository!r}; "
            "use letters, digits, - _ and . in it, at most 96"
        )
    mine = {known.casefold(): known for known in (account.name, *account.organisations)}
    if owner and owner.casefold() not in mine:
        places = ", ".join(f"{known}/" for known in mine.values())
        raise PublishError(
            f"expected a place of yours ({places}), found {owner}/; publish as "
            f"{account.name}/{name}"
        )
    return f"{mine[owner.casefold()] if owner else account.name}/{name}"


def check_rights(account: Account, repository: str) -> None:
    """Raises PublishError where the token or the role is known not to suffice."""
    owner = repository.split("/")[0]
    advice = f"make one that may write at {TOKENS_PAGE}, then run `hf auth login`"
    if account.role == "read":
        raise PublishError(f"expected a token that may write, found one that only reads; {advice}")
    reach = {owner.casefold(), repository.casefold()}
    if account.role == "fineGrained" and not reach & account.writable:
        raise PublishError(
            f"expected a token that may write to {repository}, found a fine-grained one without "
            f"that right; {advice}"
        )
    if account.organisations.get(owner) == "read":
        raise PublishError(
            f"expected a right to write in {owner}, found that {account.name} may only read "
            f"there; ask its admin, or publish to {account.name}/"
        )
