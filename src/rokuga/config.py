"""The configuration: TOML, every key also settable as ``ROKUGA_<SECTION>__<KEY>``; see ``rokuga.example.toml``.

The models here say what a key means and which values it takes; ``rokuga.settings`` loads them.
"""

from ipaddress import ip_network
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, IPvAnyNetwork, SecretStr

IMAGE_DENY = tuple(
    ip_network(network)
    for network in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "255.255.255.255/32"),
        *("::/128", "::1/128", "fe80::/10", "ff00::/8"),
        # Where clouds tell a machine its own credentials, other than at a link-local address (Alibaba, Oracle, AWS).
        *("100.100.100.200/32", "192.0.0.192/32", "fd00:ec2::254/128"),
    )
)
"""This machine itself, its neighbours on the wire, everybody at once"""


class Section(BaseModel):
    """A frozen table of the file; an unknown key is an error, so that a typing mistake never becomes a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(Section):
    host: str = "127.0.0.1"
    port: int = Field(default=7080, ge=0, le=65535)
    """0: any free port, printed on the ready line."""
    tls_cert: str = ""
    tls_key: str = ""
    public_url: str = ""
    """How clients reach the API, for /media links; empty: http(s)://host:port."""
    requests_per_second: float = Field(default=20, gt=0)
    """Of each action with each SecretId, per API process."""


class App(Section):
    sdk_app_id: int = Field(ge=1)
    secret_id: str = Field(min_length=1)
    secret_key: SecretStr
    user_sig_key: SecretStr
    private_map_key: bool = False
    callback_url: str = ""
    callback_key: SecretStr = SecretStr("")
    callback_ca: str = ""
    max_tasks: int = Field(default=100, ge=1)
    max_streams_per_task: int = Field(default=25, ge=1, le=25)


class Janus(Section):
    url: str = ""
    """WebSocket address of a Janus, ws://host:port; empty: embedded."""
    port: int = Field(default=0, ge=0, le=65535)
    """Embedded: its WebSocket port; 0: any free one."""
    host: str = "127.0.0.1"
    """Embedded: the address that its WebSocket binds to. A browser on another machine needs a reachable one."""
    media_address: str = ""
    """Embedded: interface or address for WebRTC media; empty: all of this machine's but loopback."""
    room_ids: Literal["string", "integer"] = "string"
    api_secret: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")
    room_secret: SecretStr = SecretStr("")
    room_pin: SecretStr = SecretStr("")
    admin_url: str = ""
    admin_secret: SecretStr = SecretStr("")
    admin_key: SecretStr = SecretStr("")


class Temporal(Section):
    address: str = ""
    """host:port of a cluster; empty: embedded, one machine, its database file is the truth."""
    port: int = Field(default=0, ge=0, le=65535)
    namespace: str = "rokuga"
    payload_key: SecretStr = SecretStr("")
    """32 bytes as base64: encrypts everything that Temporal stores. The same on all machines."""


class Recorder(Section):
    segment_seconds: float = Field(default=10, ge=2, le=60)
    spool_max_bytes: int = Field(default=50 * 1024**3, ge=1)
    keep_journal_hours: float = Field(default=24, ge=0)
    heartbeat_timeout: float = Field(default=3, ge=1, le=60)
    max_tasks: int = Field(default=100, ge=1)
    """How many recordings this node takes at a time."""
    shutdown_seconds: float = Field(default=20, ge=0)
    metrics: str = ""
    """host:port where the node serves Prometheus; empty: nowhere."""
    image_deny: tuple[IPvAnyNetwork, ...] = IMAGE_DENY
    """Networks from which no image of a layout is fetched."""


class Store(Section):
    """Where a request's Vendor, Region and Bucket lead. The first matching entry counts; ``*`` matches all."""

    vendor: int = 0
    region: str = "*"
    bucket: str = "*"
    endpoint: str = "https://{bucket}.cos.{region}.myqcloud.com"
    """``file``: local disk under the data folder. Otherwise a URL; ``{bucket}`` and ``{region}`` are replaced."""
    addressing: Literal["virtual", "path"] = "virtual"
    shared: bool = False
    """Only with ``endpoint = "file"`` on several machines: the folder is the same one on all of them."""


class ObjectStore(Section):
    endpoint: str = ""
    bucket: str = ""
    access_key: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")


class Config(Section):
    server: Server = Server()
    apps: tuple[App, ...] = ()
    janus: Janus = Janus()
    temporal: Temporal = Temporal()
    recorder: Recorder = Recorder()
    stores: tuple[Store, ...] = (Store(), Store(vendor=1, endpoint="https://{bucket}.s3.{region}.amazonaws.com"))
    internal_store: ObjectStore = ObjectStore()
    backup_store: ObjectStore = ObjectStore()

    def app(self, sdk_app_id: int) -> App | None:
        """The app of that SdkAppId."""
        return next((a for a in self.apps if a.sdk_app_id == sdk_app_id), None)
