"""An OpenID provider on loopback, with the addresses, the claims and the consent of the Hub's."""

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from urllib.parse import parse_qsl, urlencode

from joserfc import jwt
from joserfc.jwk import RSAKey

from tests.hub_server import _Handler

APP, SECRET = "an-app", "a-secret"
SCOPES = "openid profile contribute-repos"
ALGORITHM = "RS256"
SECONDS_OF_A_SIGN_IN = 8 * 3_600
CONSENT = """<!doctype html><title>Sign in</title>
<p>May this app publish in your name?</p><a href="{yes}">Authorize</a> <a href="{no}">Cancel</a>"""


class Provider:
    """Asks for consent; a person who gives it is `name` to the app, which gets `token`.

    A sign-in lasts `seconds`. `codes` are those that wait to be changed into a token, each once,
    with what was asked for; `signed_in` counts the tokens given out.
    """

    def __init__(self, name: str, token: str):
        self.name, self.token, self.seconds = name, token, SECONDS_OF_A_SIGN_IN
        self.codes: dict[str, dict[str, str]] = {}
        self.signed_in = 0
        self.key = RSAKey.generate_key(2048, {"use": "sig", "alg": ALGORITHM}, auto_kid=True)
        handler = type("Handler", (_Pages,), {"provider": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads, self.server.block_on_close = True, False
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def environment(self) -> dict[str, str]:
        """What a Space whose README asks for sign-in finds in its environment."""
        return {
            "OAUTH_CLIENT_ID": APP,
            "OAUTH_CLIENT_SECRET": SECRET,
            "OAUTH_SCOPES": SCOPES,
            "OPENID_PROVIDER_URL": self.url,
        }

    def claims(self) -> dict:
        """About who signed in; the picture is elsewhere, and nobody has to look at it."""
        return {
            "sub": "6" * 24,
            "name": f"The whole name of {self.name}",
            "preferred_username": self.name,
            "profile": f"{self.url}/{self.name}",
            "picture": f"{self.url}/avatars/{self.name}.svg",
            "website": "",
            "isPro": False,
            "orgs": [],
        }

    def id_token(self, nonce: str) -> str:
        now = int(time.time())
        about = {
            "iss": self.url,
            "aud": APP,
            "iat": now,
            "auth_time": now,
            "exp": now + 3_600,
            "nonce": nonce,
            "at_hash": _half_hash(self.token),
        }
        header = {"alg": ALGORITHM, "kid": self.key.kid}
        return jwt.encode(header, self.claims() | about, self.key, algorithms=[ALGORITHM])


class _Pages(_Handler):
    provider: Provider

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        asked = dict(parse_qsl(query))
        if path == "/.well-known/openid-configuration":
            self.send_json(_configuration(self.provider.url))
        elif path == "/oauth/authorize":
            self._ask(asked)
        elif path == "/oauth/jwks":
            self.send_json({"keys": [self.provider.key.as_dict(private=False)]})
        elif path == "/oauth/userinfo" and self.token == self.provider.token:
            self.send_json(self.provider.claims())
        else:
            self.send(404, b"")

    def do_POST(self) -> None:
        form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
        asked = self.provider.codes.pop(form.get("code", ""), None)
        if self.path != "/oauth/token" or asked is None or not self._is_the_app(form, asked):
            self.send(400, b'{"error": "invalid_grant"}', {"Content-Type": "application/json"})
            return
        self.provider.signed_in += 1
        self.send_json(
            {
                "access_token": self.provider.token,
                "token_type": "bearer",
                "expires_in": self.provider.seconds,
                "id_token": self.provider.id_token(asked["nonce"]),
                "scope": asked["scope"],
            }
        )

    def _ask(self, asked: dict[str, str]) -> None:
        """The page that asks for consent; its links lead back to the app."""
        if asked["client_id"] != APP or asked["response_type"] != "code":
            self.send(400, b"")
            return
        code = secrets.token_hex(8)
        self.provider.codes[code] = asked
        answers = {"yes": {"code": code}, "no": {"error": "access_denied"}}
        links = {word: _back(asked, answer) for word, answer in answers.items()}
        self.send(200, CONSENT.format(**links).encode(), {"Content-Type": "text/html"})

    def _is_the_app(self, form: dict[str, str], asked: dict[str, str]) -> bool:
        known = base64.b64encode(f"{APP}:{SECRET}".encode()).decode()
        return (
            self.headers["Authorization"] == f"Basic {known}"
            and form["grant_type"] == "authorization_code"
            and form["redirect_uri"] == asked["redirect_uri"]
        )


def _configuration(url: str) -> dict:
    return {
        "issuer": url,
        "authorization_endpoint": f"{url}/oauth/authorize",
        "token_endpoint": f"{url}/oauth/token",
        "userinfo_endpoint": f"{url}/oauth/userinfo",
        "jwks_uri": f"{url}/oauth/jwks",
        "scopes_supported": [*SCOPES.split(), "email", "read-repos", "write-repos", "manage-repos"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "grant_types_supported": ["authorization_code", "refresh_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "code_challenge_methods_supported": ["S256"],
    }


def _back(asked: dict[str, str], answer: dict[str, str]) -> str:
    """The app's address for the answer, for an attribute of HTML."""
    query = urlencode(answer | {"state": asked["state"]})
    joined = "&" if "?" in asked["redirect_uri"] else "?"
    return f"{asked['redirect_uri']}{joined}{query}".replace("&", "&amp;")


def _half_hash(token: str) -> str:
    """What ties an id_token to its access token (OpenID Connect Core 3.1.3.6)."""
    half = hashlib.sha256(token.encode()).digest()[:16]
    return base64.urlsafe_b64encode(half).rstrip(b"=").decode()


@contextmanager
def provider(name: str, token: str) -> Iterator[Provider]:
    """A provider that is up."""
    made = Provider(name, token)
    threading.Thread(target=made.server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
