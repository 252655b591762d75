"""Who is signed in to the Hub, and what a repository of theirs is called."""

import re

from transfer.errors import PublishError, SignInError
from transfer.hub import is_token
from transfer.machine.environment import is_shared

TOKENS_PAGE = "https://huggingface.co/settings/tokens"
LIKE_A_TOKEN = re.compile(r"^\s*hf_|hf_\w{30}", re.MULTILINE)


def sign_in(token: str | None) -> str:
    """The given token, else the one of `hf auth login` or HF_TOKEN.

    On a shared server those belong to its owner, not to the visitor, so they are not used there.
    """
    from huggingface_hub import get_token

    token = token or (None if is_shared() else get_token())
    if not token:
        raise SignInError(
            "expected you to be signed in to the Hub, found no token; sign in with one that may "
            f"write ({TOKENS_PAGE})"
        )
    if not is_token(token):
        raise PublishError(
            "expected a token of letters, digits and _, found other characters; copy it again from "
            f"{TOKENS_PAGE}"
        )
    return token


def refuse_token(text: str) -> None:
    """Raises PublishError, which repeats nothing, where a token was entered as something else."""
    if LIKE_A_TOKEN.search(text):
        raise PublishError(
            "expected a repository name and a license, found what looks like a token; give it only "
            "where a token is asked for, and create a new one on the Hub if others saw it"
        )


def check_name(repository: str) -> str:
    """NAME or USER/NAME, if the Hub allows it. Raises PublishError."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    refuse_token(repository)
    owner, slash, name = repository.rpartition("/")
    try:
        validate_repo_id(repository)
        if not name or (slash and not owner):
            raise HFValidationError
    except HFValidationError:
        raise PublishError(
            f"expected a repository name like me/ants-bees, found {repository[:100]!r}; use at "
            "most 96 letters, digits, - _ and ."
        ) from None
    return repository


def full_name(repository: str, whoami: dict) -> str:
    """NAME or USER/NAME → USER/NAME as the Hub writes it; `whoami` is the Hub's answer.

    Raises PublishError.
    """
    owner, _, name = check_name(repository).rpartition("/")
    user = whoami["name"]
    accounts = [user, *(organisation["name"] for organisation in whoami.get("orgs") or [])]
    mine = {account.casefold(): account for account in accounts}
    if owner and owner.casefold() not in mine:
        places = ", ".join(f"{account}/" for account in accounts)
        raise PublishError(
            f"expected an account of yours ({places}), found {owner}/; publish as {user}/{name}"
        )
    return f"{mine[owner.casefold()] if owner else user}/{name}"
