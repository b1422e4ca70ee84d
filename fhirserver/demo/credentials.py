"""The keys and tokens of the demo: clients prove themselves by private_key_jwt, people get tokens from the operator.

https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from fhirserver.demo.http import Caller, UnexpectedAnswer
from fhirserver.demo.region import Client

_ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

# Seconds for which a token is used: well below the lifetime that the server gives.
_FRESH: Final = 120


class Operator:
    """The operator at the command line of this server: registers clients, gives people tokens."""

    def __init__(self, data: Path) -> None:
        """`data` is the data folder of the server."""
        self._data = data

    def run(self, *arguments: str) -> str:
        """What one command prints. Raises UnexpectedAnswer where it fails."""
        command = [sys.executable, "-m", "fhirserver", *arguments, "--data", str(self._data)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ.copy())
        if done.returncode != 0:
            said = done.stderr.strip() or done.stdout.strip()
            raise UnexpectedAnswer(f"fhirserver {' '.join(arguments[:2])}: exit {done.returncode}\n{said}")
        return done.stdout.strip()

    def register(self, client: Client, jwks: Path) -> None:
        """Register a backend client with its public keys; one of this name is replaced."""
        options = {
            "--id": client.id,
            "--name": client.name,
            "--category": client.category,
            "--jwks": str(jwks),
            "--scope": client.scope,
            "--organization": client.organization,
            "--patient-id-system": client.patient_id_system,
        }
        given = [text for name, value in options.items() if value is not None for text in (name, value)]
        self.run("client", "add", "--replace", *given)

    def token(self, person: str, organization: str | None = None, purpose: str | None = None) -> str:
        """An access token for a person, as they would have after signing in."""
        arguments = ["token", "--as", person]
        if organization is not None:
            arguments += ["--organization", organization]
        if purpose is not None:
            arguments += ["--purpose", purpose]
        return self.run(*arguments)


class PersonalToken:
    """The token of a person, asked for again when it grows old."""

    def __init__(self, operator: Operator, person: str, organization: str | None, purpose: str | None = None) -> None:
        """Nothing is asked for before the first use."""
        self._ask = (person, organization, purpose)
        self._operator = operator
        self._token, self._until = "", 0.0

    def __call__(self) -> str:
        """The token."""
        if time.monotonic() >= self._until:
            self._token, self._until = self._operator.token(*self._ask), time.monotonic() + _FRESH
        return self._token


class ClientToken:
    """The token of a backend client, which signs its own assertions (ES384)."""

    def __init__(self, base: str, client: Client, key: ECKey) -> None:
        """Nothing is asked for before the first use."""
        self._server, self._client, self._key = Caller(base), client, key
        self._token, self._until = "", 0.0

    def __call__(self) -> str:
        """The token."""
        if time.monotonic() >= self._until:
            self._token, self._until = self._request(), time.monotonic() + _FRESH
        return self._token

    def _request(self) -> str:
        discovery = self._server.ask("GET", "/fhir/.well-known/smart-configuration", accept="application/json")
        endpoint = str(discovery.expect(200).json()["token_endpoint"])
        form = {
            "grant_type": "client_credentials",
            "scope": self._client.scope,
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._assertion(endpoint),
        }
        answer = self._server.ask(
            "POST",
            "/oauth/token",
            body=urlencode(form).encode(),
            content_type="application/x-www-form-urlencoded",
            accept="application/json",
        )
        return str(answer.expect(200).json()["access_token"])

    def _assertion(self, endpoint: str) -> str:
        now = int(time.time())
        claims = {
            "iss": self._client.id,
            "sub": self._client.id,
            "aud": endpoint,
            "iat": now,
            "exp": now + 60,
            "jti": uuid.uuid4().hex,
        }
        header = {"alg": "ES384", "typ": "JWT", "kid": self._key.kid}
        return str(jwt.encode(header, claims, self._key, algorithms=["ES384"]))


class Keys:
    """The private keys of the demo's clients, in the data folder, readable by its owner only."""

    def __init__(self, data: Path) -> None:
        """`data` is the data folder of the server."""
        self._folder = data / "demo" / "keys"

    def of(self, client: Client) -> ECKey:
        """The key of a client. Raises UnexpectedAnswer where the demo has not been built with this data folder."""
        path = self._folder / f"{client.id}.json"
        if not path.exists():
            raise UnexpectedAnswer(f"There is no key of {client.id} in {self._folder}")
        return ECKey.import_key(json.loads(path.read_text("utf-8")))

    def make(self, client: Client) -> Path:
        """Make a key for a client, not yet in use, and return the file of its public part."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = ECKey.generate_key("P-384", {"kid": uuid.uuid4().hex, "use": "sig", "alg": "ES384"})
        private = self._folder / f"{client.id}.new.json"
        private.touch(mode=0o600)
        private.write_text(json.dumps(key.as_dict(private=True)), "utf-8")
        public = self._folder / f"{client.id}.public.json"
        public.write_text(json.dumps(KeySet([key]).as_dict(private=False)), "utf-8")
        return public

    def keep(self, client: Client) -> None:
        """Use the key that was made for a client, which is now registered."""
        (self._folder / f"{client.id}.new.json").replace(self._folder / f"{client.id}.json")

    def has(self, client: Client) -> bool:
        """Whether the client has its key."""
        return (self._folder / f"{client.id}.json").exists()
