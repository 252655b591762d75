"""Who is signed in to the Hub, and what that token may write."""

import os
from dataclasses import dataclass

from transfer.errors import PublishError

TOKENS_PAGE = "https://huggingface.co/settings/tokens"


@dataclass(frozen=True, kw_only=True)
class Account:
    """`organisations`: name → role, "" if unknown; `role` is the token's.

    `writable` are the accounts and repositories that a fine-grained token may write to.
    """

    name: str
    organisations: dict[str, str]
    role: str
    writable: frozenset[str]


def sign_in(token: str | None) -> str:
    """The given token, else the one of `hf auth login` or HF_TOKEN.

    On a Space those belong to its owner, not to the visitor, so they are not used there.
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
            "expected a token of letters, digits and _, found other characters; copy it again from "
            f"{TOKENS_PAGE}"
        )
    return token


def read_account(answer: dict) -> Account:
    """From what the Hub's whoami answers."""
    token = (answer.get("auth") or {}).get("accessToken") or {}
    scopes = (token.get("fineGrained") or {}).get("scoped") or []
    return Account(
        name=answer["name"],
        organisations={org["name"]: org.get("roleInOrg", "") for org in answer.get("orgs") or []},
        role=token.get("role", ""),
        writable=frozenset(
            str(scope.get("entity", {}).get("name")).casefold()
            for scope in scopes
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
            f"expected a repository name like {account.name}/ants-bees, found {repository!r}; "
            "use at most 96 letters, digits, - _ and ."
        )
    mine = {known.casefold(): known for known in (account.name, *account.organisations)}
    if owner and owner.casefold() not in mine:
        places = ", ".join(f"{known}/" for known in mine.values())
        raise PublishError(
            f"expected an account of yours ({places}), found {owner}/; publish as "
            f"{account.name}/{name}"
        )
    return f"{mine[owner.casefold()] if owner else account.name}/{name}"


def check_rights(account: Account, repository: str) -> None:
    """Raises PublishError if the token or the role is known not to suffice."""
    owner = repository.split("/")[0]
    advice = f"create one that may write at {TOKENS_PAGE}, then run `hf auth login`"
    if account.role == "read":
        raise PublishError(
            f"expected a token that may write, found one that can only read; {advice}"
        )
    reach = {owner.casefold(), repository.casefold()}
    if account.role == "fineGrained" and not reach & account.writable:
        raise PublishError(
            f"expected a token that may write to {repository}, found a fine-grained one without "
            f"that right; {advice}"
        )
    if account.organisations.get(owner) == "read":
        raise PublishError(
            f"expected the right to write in {owner}, found that {account.name} may only read "
            f"there; ask its admin, or publish to {account.name}/"
        )
