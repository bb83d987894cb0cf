"""A wrong configuration is named key by key; the example and the generated one are right."""

import base64
import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from rokuga import settings
from rokuga.config import Config
from rokuga.errors import ConfigError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "rokuga.example.toml"
KEY = base64.b64encode(bytes(32)).decode()
RIGHT = f"""
[[apps]]
sdk_app_id = 1400000001
secret_id = "id"
secret_key = "hush-hush"
user_sig_key = "hush"
[temporal]
payload_key = "{KEY}"
"""
APART = RIGHT + 'address = "temporal:7233"\n[janus]\nurl = "ws://janus:8188"\n'


def load(tmp_path: Path, text: str, role: settings.Role = "up", **environ: str) -> Config:
    path = tmp_path / "rokuga.toml"
    path.write_text(text)
    return settings.load(path, role, environ)


def refused(tmp_path: Path, text: str, role: settings.Role = "up", **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, role, **environ)
    assert "hush" not in str(caught.value)
    return caught.value.problems


def keys(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


def test_the_example_has_every_key_and_loads() -> None:
    example = tomllib.loads(EXAMPLE.read_text("utf-8"))
    assert set(example) == keys(Config)
    for name, field in Config.model_fields.items():
        section = example[name]
        first: dict[str, Any] = section[0] if isinstance(section, list) else section
        model = field.annotation
        if isinstance(section, list):
            (model, _) = model.__args__  # type: ignore[union-attr]
        assert isinstance(model, type)
        assert issubclass(model, BaseModel)
        assert set(first) == keys(model), name
    settings.load(EXAMPLE, "up", {})


def test_the_example_shows_the_defaults() -> None:
    example = settings.load(EXAMPLE, "up", {})
    for name in ("server", "janus", "recorder", "internal_store", "backup_store", "stores"):
        assert getattr(example, name) == getattr(Config(), name), name


def test_every_kind_of_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    found = refused(
        tmp_path,
        RIGHT.replace('secret_id = "id"', "")
        + '[server]\nport = 70000\nhots = "x"\n[recorder]\nsegment_seconds = "hush"\n[[stores]]\naddressing = "dns"\n',
    )
    assert [f.split(":")[0] for f in found] == [
        "server.port",
        "server.hots",
        "apps.0.secret_id",
        "recorder.segment_seconds",
        "stores.0.addressing",
    ]
    assert "server.hots: there is no such key" in found
    assert "apps.0.secret_id: is missing" in found


@pytest.mark.parametrize(
    ("text", "role", "named"),
    [
        ("[server]\ntls_cert = 'x'\n", "up", ["server.tls_cert, server.tls_key", "server.tls_cert"]),
        ("[server]\npublic_url = 'recorder:80'\n", "up", ["server.public_url"]),
        ("[[stores]]\nendpoint = 'ftp://x'\n", "up", ["stores.0.endpoint"]),
        ("[[stores]]\nendpoint = 'https://{name}.x'\n", "up", ["stores.0.endpoint"]),
        ("[[stores]]\nendpoint = 'https://{bucket'\n", "up", ["stores.0.endpoint"]),
        ("[[stores]]\nshared = true\n", "up", ["stores.0.shared"]),
        ("[[stores]]\nendpoint = 'file'\n", "up", []),
        ("[internal_store]\nbucket = 'b'\n", "up", ["internal_store.endpoint", "internal_store.access_key", "internal_store.secret_key"]),
        ("[janus]\nurl = 'http://x'\n", "up", ["janus.url"]),
        ("[recorder]\nmetrics = '7081'\n", "up", ["recorder.metrics"]),
        ("[janus]\nadmin_url = 'ws://x:1'\n", "up", ["janus.admin_url"]),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, text: str, role: settings.Role, named: list[str]) -> None:
    if named:
        assert [f.split(":")[0] for f in refused(tmp_path, RIGHT + text, role)] == named
    else:
        load(tmp_path, RIGHT + text, role)


@pytest.mark.parametrize("role", ["api", "control", "node"])
def test_a_role_apart_needs_servers_and_a_shared_folder(tmp_path: Path, role: settings.Role) -> None:
    found = {f.split(":")[0] for f in refused(tmp_path, RIGHT + '[[stores]]\nendpoint = "file"\n', role)}
    assert found == {"temporal.address", "stores.0.shared"} | ({"janus.url"} if role == "node" else set())
    load(tmp_path, APART + '[[stores]]\nendpoint = "file"\nshared = true\n', role)


@pytest.mark.parametrize("address", ["temporal", "http://temporal:7233", "temporal:", ":7233", "a b:1"])
def test_the_cluster_address_is_host_and_port(tmp_path: Path, address: str) -> None:
    assert [f.split(":")[0] for f in refused(tmp_path, RIGHT + f'address = "{address}"\n')] == ["temporal.address"]


@pytest.mark.parametrize("key", ["", "hush", base64.b64encode(bytes(16)).decode(), "ä" * 44])
def test_the_payload_key_is_32_bytes(tmp_path: Path, key: str) -> None:
    (found,) = refused(tmp_path, RIGHT.replace(KEY, key))
    assert found.startswith("temporal.payload_key: must be 32 bytes")
    fresh = found.split('"')[1]
    load(tmp_path, RIGHT.replace(KEY, fresh))


def test_apps_are_told_apart(tmp_path: Path) -> None:
    second = '[[apps]]\nsdk_app_id = 1400000001\nsecret_id = "id"\nsecret_key = ""\nuser_sig_key = "x"\ncallback_url = "x"\n'
    assert [f.split(":")[0] for f in refused(tmp_path, RIGHT + second)] == [
        "apps.1.sdk_app_id",
        "apps.1.secret_key",
        "apps.1.secret_key",
        "apps.1.callback_url",
    ]
    pair = '[[apps]]\nsdk_app_id = 1400000002\nsecret_id = "id"\nsecret_key = "hush-hush"\nuser_sig_key = "x"\n'
    assert len(load(tmp_path, RIGHT + pair).apps) == 2
    assert [f.split(":")[0] for f in refused(tmp_path, f'[temporal]\npayload_key = "{KEY}"\n')] == ["apps"]


def test_the_environment_wins(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        RIGHT + "[server]\nport = 1\n",
        PATH="/bin",
        ROKUGA_SERVER__PORT="8443",
        ROKUGA_APPS__0__SECRET_KEY="other",
        ROKUGA_APPS__0__PRIVATE_MAP_KEY="true",
        ROKUGA_STORES__0__ENDPOINT="file",
        ROKUGA_RECORDER='{"segment_seconds": 6}',
    )
    assert config.server.port == 8443
    assert config.apps[0].secret_key.get_secret_value() == "other"
    assert config.apps[0].private_map_key is True
    assert [s.endpoint for s in config.stores] == ["file"]
    assert config.recorder.segment_seconds == 6


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("ROKUGA_SEVER__PORT", "1", "sever"),
        ("ROKUGA_SERVER__PROT", "1", "server.prot: there is no such key"),
        ("ROKUGA_SERVER__PORT", "hush", "server.port"),
        ("ROKUGA_SERVER__PORT__X", "1", "ROKUGA_SERVER__PORT__X: does not lead to a key"),
        ("ROKUGA_APPS__5__SECRET_ID", "x", "ROKUGA_APPS__5__SECRET_ID: number an entry from 0 to 1"),
        ("ROKUGA_SERVER", "hush", "ROKUGA_SERVER: a whole section is given as JSON"),
        ("ROKUGA_DATA", "x", "ROKUGA_DATA: there is no such section"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path: Path, name: str, value: str, said: str) -> None:
    (found,) = refused(tmp_path, RIGHT + "[server]\nport = 1\n", "up", **{name: value})
    assert found.startswith(said)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    assert "not TOML" in refused(tmp_path, "[server\n")[0]
    with pytest.raises(ConfigError, match="No such file"):
        settings.load(tmp_path / "none.toml", "up", {})


def test_the_first_start_writes_fresh_secrets_once(tmp_path: Path) -> None:
    path = settings.first_start(tmp_path / "a")
    other = settings.first_start(tmp_path / "b")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    text = path.read_text()
    config = settings.load(path, "up", {})
    assert settings.first_start(tmp_path / "a") == path
    assert path.read_text() == text
    assert [p.name for p in path.parent.iterdir()] == ["rokuga.toml"]
    (app,), (second,) = config.apps, settings.load(other, "up", {}).apps
    assert app.sdk_app_id == 1400000001
    assert app.secret_key != second.secret_key
    assert len(app.user_sig_key.get_secret_value()) == 64
    assert [s.endpoint for s in config.stores] == ["file", "file"]


def test_a_child_gets_the_same_configuration(tmp_path: Path) -> None:
    config = load(tmp_path, RIGHT)
    assert settings.parse(json.loads(settings.dump(config))) == config
