"""Janus as a child process with a configuration folder of our own: VideoRoom over WebSocket, Admin API, nothing else."""

import secrets
from pathlib import Path
from types import TracebackType
from typing import Self

from pydantic import SecretStr

from rokuga.config import Janus
from rokuga.embedded.process import Child, answers, free_port, program

# 1000 ms is the most that Janus keeps for retransmission; the default floor of 200 ms is less than one retry round.
_CORE = """general: {{
	configs_folder = "{folder}"
	debug_level = 3
	debug_timestamps = true
	server_name = "rokuga"
	session_timeout = 60
	admin_secret = "{admin_secret}"
	{api_secret}
	hide_dependencies = true
}}
certificates: {{}}
media: {{
	min_nack_queue = 1000
	rtp_port_range = "20000-60000"
}}
nat: {{
	ignore_mdns = true
	{interfaces}
}}
plugins: {{
	disable = "{plugins}"
}}
transports: {{
	disable = "{transports}"
}}
events: {{}}
"""
_WEBSOCKETS = """general: {{
	json = "compact"
	ws = true
	ws_port = {port}
	ws_ip = "{host}"
	wss = false
	ws_logging = "err"
}}
admin: {{
	admin_ws = true
	admin_ws_port = {admin_port}
	admin_ws_ip = "127.0.0.1"
	admin_wss = false
}}
"""
_VIDEOROOM = """general: {{
	string_ids = {string_ids}
	{admin_key}
}}
"""
_PLUGINS = ["audiobridge", "duktape", "echotest", "lua", "nosip", "recordplay", "sip", "streaming", "textroom", "videocall", "voicemail"]
_TRANSPORTS = ["http", "mqtt", "nanomsg", "pfunix", "rabbitmq"]


class EmbeddedJanus:
    """``async with``: a running Janus. ``config`` is what a client needs to reach it.

    Raises ChildError if it does not come up. Ports given as 0 are chosen once and kept over ``restart``.
    """

    def __init__(self, folder: Path, config: Janus | None = None) -> None:
        given = config or Janus()
        self._folder = folder
        port = given.port or free_port(given.host)
        admin_port = free_port()
        reach = "127.0.0.1" if given.host in ("0.0.0.0", "::") else given.host
        self.config = given.model_copy(
            update={
                "port": port,
                "url": f"ws://{reach}:{port}",
                "admin_url": f"ws://127.0.0.1:{admin_port}",
                "admin_secret": SecretStr(given.admin_secret.get_secret_value() or secrets.token_urlsafe(24)),
            }
        )
        self._reach = (reach, port)
        self._admin_port = admin_port
        self.child = Child("janus", [program("janus"), "-F", str(folder)], folder / "janus.log")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.child.stop()

    async def start(self) -> None:
        """Write the configuration and start; also after ``child.kill()``."""
        self._write()

        async def ready() -> bool:
            return await answers(*self._reach) and await answers("127.0.0.1", self._admin_port)

        await self.child.start(ready)

    def _write(self) -> None:
        config = self.config
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        api_secret = config.api_secret.get_secret_value()
        admin_key = config.admin_key.get_secret_value()
        texts = {
            "janus.jcfg": _CORE.format(
                folder=self._folder,
                admin_secret=config.admin_secret.get_secret_value(),
                api_secret=f'api_secret = "{api_secret}"' if api_secret else "",
                interfaces=f'ice_enforce_list = "{config.media_address}"' if config.media_address else "",
                plugins=",".join(f"libjanus_{name}.so" for name in _PLUGINS),
                transports=",".join(f"libjanus_{name}.so" for name in _TRANSPORTS),
            ),
            "janus.transport.websockets.jcfg": _WEBSOCKETS.format(port=config.port, host=config.host, admin_port=self._admin_port),
            "janus.plugin.videoroom.jcfg": _VIDEOROOM.format(
                string_ids="true" if config.room_ids == "string" else "false",
                admin_key=f'admin_key = "{admin_key}"' if admin_key else "",
            ),
        }
        for name, text in texts.items():
            path = self._folder / name
            path.touch(mode=0o600)
            path.write_text(text)
