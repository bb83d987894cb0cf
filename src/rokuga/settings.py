"""Reads the configuration: a TOML file, then ``ROKUGA_<SECTION>__<KEY>`` over it; what is wrong is named key by key.

An entry of ``[[apps]]`` or ``[[stores]]`` is reached by its number: ``ROKUGA_APPS__0__CALLBACK_URL``.
"""

import base64
import json
import os
import re
import secrets
import tomllib
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from string import Formatter
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from rokuga.config import Config, ObjectStore, Store
from rokuga.errors import ConfigError

Role = Literal["up", "api", "control", "node"]
PREFIX = "ROKUGA_"
PAYLOAD_KEY_BYTES = 32
GENERATED = "rokuga.toml"
_HOST_PORT = re.compile(r"\[[0-9a-fA-F:.]+\]:\d+|[^\s/:]+:\d+")

_FIRST = """# Written by the first start of Rokuga in this folder, with fresh random secrets. Every key is explained in rokuga.example.toml.

[server]
host = "127.0.0.1"
port = 7080

[[apps]]
sdk_app_id = 1400000001
secret_id = "{secret_id}"
secret_key = "{secret_key}"
user_sig_key = "{user_sig_key}"
callback_url = ""
callback_key = ""

[janus]
admin_secret = "{admin_secret}"

[temporal]
# Encrypts all that Temporal stores. Lost with this file: the recordings that were still running or owed something.
payload_key = "{payload_key}"

# Local disk, <data>/store/<Bucket>/<key>, whatever vendor a request names.
[[stores]]
vendor = 0
endpoint = "file"

[[stores]]
vendor = 1
endpoint = "file"
"""


def load(path: Path, role: Role, environ: Mapping[str, str]) -> Config:
    """The configuration in the file at ``path`` as that role may use it. Raises ConfigError."""
    try:
        values: dict[str, Any] = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not TOML: {error}"]) from None
    found = override(values, environ)
    if found:
        raise ConfigError(found)
    config = parse(values)
    found = problems(config, role)
    if found:
        raise ConfigError(found)
    return config


def parse(values: dict[str, Any]) -> Config:
    """Values as a Config. Raises ConfigError; its texts never contain a value, which might be a secret."""
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise ConfigError([_problem(e) for e in error.errors(include_url=False, include_input=False)]) from None


def _problem(error: ErrorDetails) -> str:
    where = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return f"{where}: there is no such key"
    if error["type"] == "missing":
        return f"{where}: is missing"
    return f"{where}: {error['msg']}"


def override(values: dict[str, Any], environ: Mapping[str, str]) -> list[str]:
    """Lay the environment's ``ROKUGA_…`` over ``values``, in place; the answer names what does not fit."""
    found = []
    for name in sorted(environ):
        if not name.startswith(PREFIX):
            continue
        keys = name.removeprefix(PREFIX).lower().split("__")
        value: Any = environ[name]
        if len(keys) == 1:
            if keys[0] not in Config.model_fields:
                found.append(f"{name}: there is no such section")
                continue
            try:
                value = json.loads(value)
            except ValueError:
                found.append(f"{name}: a whole section is given as JSON")
                continue
        trouble = _put(values, keys, value)
        if trouble:
            found.append(f"{name}: {trouble}")
    return found


def _put(values: dict[str, Any], keys: list[str], value: Any) -> str:
    """Set ``value`` at the end of the path ``keys``; the answer says what is wrong, empty if nothing."""
    here: Any = values
    for at, key in enumerate(keys):
        last = at == len(keys) - 1
        if isinstance(here, list):
            if not key.isdigit() or int(key) > len(here):
                return f"number an entry from 0 to {len(here)}"
            if int(key) == len(here):
                here.append({})
            if last:
                here[int(key)] = value
            else:
                here = here[int(key)]
        elif isinstance(here, dict):
            if last:
                here[key] = value
            else:
                here = here.setdefault(key, [] if keys[at + 1].isdigit() else {})
        else:
            return "does not lead to a key"
    return ""


def problems(config: Config, role: Role) -> list[str]:
    """What no single key can tell: keys that do not go together, or not with that role."""
    return [*_server(config), *_apps(config), *_stores(config, role), *_servers_beside(config, role)]


def _server(config: Config) -> list[str]:
    server = config.server
    found = []
    if bool(server.tls_cert) != bool(server.tls_key):
        found.append("server.tls_cert, server.tls_key: give both or none")
    found += [
        f"server.{key}: there is no file {path}"
        for key, path in (("tls_cert", server.tls_cert), ("tls_key", server.tls_key))
        if path and not Path(path).is_file()
    ]
    if server.public_url and not _is_url(server.public_url, "http", "https"):
        found.append("server.public_url: must be http://host:port or https://host:port")
    return found


def _apps(config: Config) -> list[str]:
    found = [] if config.apps else ["apps: at least one [[apps]] is needed"]
    ids: set[int] = set()
    pairs: dict[str, str] = {}
    for at, app in enumerate(config.apps):
        if app.sdk_app_id in ids:
            found.append(f"apps.{at}.sdk_app_id: another app has the same")
        ids.add(app.sdk_app_id)
        # One key pair may serve several apps, as an account's does at Tencent.
        if pairs.setdefault(app.secret_id, app.secret_key.get_secret_value()) != app.secret_key.get_secret_value():
            found.append(f"apps.{at}.secret_key: another app has the same secret_id with another secret_key")
        for key, secret in (("secret_key", app.secret_key), ("user_sig_key", app.user_sig_key)):
            if not secret.get_secret_value():
                found.append(f"apps.{at}.{key}: must not be empty")
        if app.callback_url and not _is_url(app.callback_url, "http", "https"):
            found.append(f"apps.{at}.callback_url: must be an http:// or https:// address")
        if app.callback_ca and not Path(app.callback_ca).is_file():
            found.append(f"apps.{at}.callback_ca: there is no file {app.callback_ca}")
    return found


def _stores(config: Config, role: Role) -> list[str]:
    found = []
    for at, store in enumerate(config.stores):
        found += [f"stores.{at}.{text}" for text in _store(store, role)]
    for name, place in (("internal_store", config.internal_store), ("backup_store", config.backup_store)):
        found += [f"{name}.{text}" for text in _object_store(place)]
    return found


def _store(store: Store, role: Role) -> list[str]:
    if store.endpoint == "file":
        if role != "up" and not store.shared:
            return ['shared: must be true with endpoint = "file" where roles run apart (the same folder on every machine)']
        return []
    found = []
    if store.shared:
        found.append('shared: goes with endpoint = "file" only')
    try:
        names = {name for _, name, _, _ in Formatter().parse(store.endpoint) if name is not None}
    except ValueError:
        names = {""}
    if not names <= {"bucket", "region"}:
        found.append("endpoint: only {bucket} and {region} are replaced")
    elif not _is_url(store.endpoint.format(bucket="b", region="r"), "http", "https"):
        found.append('endpoint: must be "file" or an http:// or https:// address')
    return found


def _object_store(place: ObjectStore) -> list[str]:
    keys = {
        "endpoint": place.endpoint,
        "bucket": place.bucket,
        "access_key": place.access_key.get_secret_value(),
        "secret_key": place.secret_key.get_secret_value(),
    }
    if not any(keys.values()):
        return []
    found = [f"{key}: is missing" for key, value in keys.items() if not value]
    if place.endpoint and not _is_url(place.endpoint, "http", "https"):
        found.append("endpoint: must be an http:// or https:// address")
    return found


def _servers_beside(config: Config, role: Role) -> list[str]:
    """Janus and Temporal: embedded under ``up`` only."""
    found = []
    janus, temporal = config.janus, config.temporal
    if not janus.url and role == "node":
        found.append(f"janus.url: `rokuga {role}` needs a Janus of yours; only `rokuga up` brings its own")
    for key, url in (("url", janus.url), ("admin_url", janus.admin_url)):
        if url and not _is_url(url, "ws", "wss"):
            found.append(f"janus.{key}: must be a ws:// or wss:// address")
    if janus.admin_url and not janus.url:
        found.append("janus.admin_url: goes with janus.url; the embedded Janus has its own")
    if not temporal.address and role != "up":
        found.append(f"temporal.address: `rokuga {role}` needs a Temporal cluster; only `rokuga up` brings its own")
    addresses = (("temporal.address", temporal.address), ("recorder.metrics", config.recorder.metrics))
    found += [f"{key}: must be host:port" for key, text in addresses if text and not _HOST_PORT.fullmatch(text)]
    payload_key = _decoded(temporal.payload_key)
    if payload_key is None or len(payload_key) != PAYLOAD_KEY_BYTES:
        fresh = base64.b64encode(secrets.token_bytes(PAYLOAD_KEY_BYTES)).decode()
        found.append(f'temporal.payload_key: must be {PAYLOAD_KEY_BYTES} bytes as base64, for example this fresh random one: "{fresh}"')
    return found


def _decoded(secret: SecretStr) -> bytes | None:
    try:
        return base64.b64decode(secret.get_secret_value(), validate=True)
    except ValueError:
        return None


def _is_url(text: str, *schemes: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def first_start(data: Path) -> Path:
    """The data folder's own configuration file, written with fresh secrets (mode 0600) if it is not there. Raises OSError."""
    path = data / GENERATED
    if path.exists():
        return path
    text = _FIRST.format(
        secret_id="AKID" + secrets.token_hex(16),
        secret_key=secrets.token_urlsafe(32),
        user_sig_key=secrets.token_hex(32),
        admin_secret=secrets.token_urlsafe(24),
        payload_key=base64.b64encode(secrets.token_bytes(PAYLOAD_KEY_BYTES)).decode(),
    )
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Whole or not at all: a start that is killed here must not leave a file that the next one takes for a configuration.
    fresh = path.with_suffix(f".{os.getpid()}")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return path


def dump(config: Config) -> str:
    """The whole configuration as JSON, secrets in clear: for a child process's eyes only, never for a file or an environment."""

    def plain(value: Any) -> Any:
        if isinstance(value, SecretStr):
            return value.get_secret_value()
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(v) for v in value]
        if isinstance(value, (IPv4Network, IPv6Network)):
            return str(value)
        return value

    return json.dumps(plain(config.model_dump()))
