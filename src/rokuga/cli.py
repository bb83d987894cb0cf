"""The command line. Each command imports what it needs when it runs, so that ``rokuga --help`` is quick."""

import os
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

if TYPE_CHECKING:
    from rokuga.config import Config
    from rokuga.settings import Role

app = typer.Typer(
    name="rokuga",
    help="Rokuga (録画) records WebRTC rooms of a Janus: TRTC's on-cloud recording API on your own machines.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="TOML file. Without it <data>/rokuga.toml, which the first start writes with fresh secrets.")
]
DataOption = Annotated[Path, typer.Option("--data", help="Folder of all state: recordings under way, databases, logs, local store.")]
Effective = Annotated[int | None, typer.Option("--effective-config", hidden=True, help="Descriptor of the supervisor's configuration.")]
DATA = Path("data")
WRONG_CONFIGURATION = 2


def _refuse(problems: list[str]) -> NoReturn:
    for problem in problems:
        print(f"rokuga: {problem}", file=sys.stderr)
    raise typer.Exit(WRONG_CONFIGURATION)


def _load(config: Path | None, data: Path, role: str) -> "Config":
    """The configuration for a role; a wrong one is named key by key and nothing starts."""
    from rokuga import settings
    from rokuga.errors import ConfigError

    try:
        path = config or settings.first_start(data)
        return settings.load(path, cast("Role", role), os.environ)
    except ConfigError as error:
        _refuse(error.problems)
    except OSError as error:
        _refuse([f"--data: {error}"])


def _leave(code: int) -> NoReturn:
    """End now. Temporal's client leaves threads that may call into an interpreter that is taken down, which aborts it."""
    import logging

    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@app.command()
def up(config: ConfigOption = None, data: DataOption = DATA) -> None:
    """Run everything on this machine in the foreground; prints "ready URL" when the API answers."""
    import asyncio

    from rokuga import logs
    from rokuga.embedded.process import ChildError
    from rokuga.errors import ConfigError
    from rokuga.folders import DataFolder
    from rokuga.up import lock
    from rokuga.up import up as supervise

    data = data.absolute()
    try:
        held = lock(data)
    except ConfigError as error:
        _refuse(error.problems)
    except OSError as error:
        _refuse([f"--data: {error}"])
    effective = _load(config, data, "up")
    logs.configure("up", DataFolder(data).logs)
    try:
        code = asyncio.run(supervise(effective, data))
    except ConfigError as error:
        _refuse(error.problems)
    except ChildError as error:
        print(f"rokuga: {error}", file=sys.stderr)
        code = 1
    finally:
        os.close(held)
    _leave(code)


def _role(name: str, config: Path | None, data: Path, effective: int | None) -> None:
    import asyncio
    import json

    import structlog

    from rokuga import logs, settings
    from rokuga.errors import ConfigError
    from rokuga.folders import DataFolder
    from rokuga.roles import ROLES, until_signal

    data = data.absolute()
    if effective is None:
        loaded = _load(config, data, name)
    else:
        with open(f"/proc/self/fd/{effective}", encoding="utf-8") as file:  # noqa: PTH123
            values: dict[str, Any] = json.load(file)
        os.close(effective)
        loaded = settings.parse(values)
    logs.configure(name, DataFolder(data).logs)
    logger = structlog.get_logger(__name__)
    try:
        asyncio.run(until_signal(ROLES[name](loaded, data)))
        _leave(0)
    except ConfigError as error:
        _refuse(error.problems)
    except Exception:
        # The supervisor, or whoever runs the roles, starts it again; this is the last chance to say why.
        logger.exception("the role ended by an error")
        raise typer.Exit(1) from None


@app.command()
def api(config: ConfigOption = None, data: DataOption = DATA, effective_config: Effective = None) -> None:
    """Run the HTTP API alone (several machines; needs temporal.address)."""
    _role("api", config, data, effective_config)


@app.command()
def control(config: ConfigOption = None, data: DataOption = DATA, effective_config: Effective = None) -> None:
    """Run the workflows and callbacks alone (several machines; needs temporal.address)."""
    _role("control", config, data, effective_config)


@app.command()
def node(config: ConfigOption = None, data: DataOption = DATA, effective_config: Effective = None) -> None:
    """Run a recording node alone (several machines; needs temporal.address and janus.url)."""
    _role("node", config, data, effective_config)


@app.command()
def usersig(
    user_id: Annotated[str, typer.Argument(help="Whose signature, for instance the recording bot's UserId.")],
    sdk_app_id: Annotated[int | None, typer.Option(help="Which app; without it the first one.")] = None,
    expire: Annotated[int, typer.Option(help="Seconds that it is valid.", min=1)] = 180 * 86400,
    config: ConfigOption = None,
    data: DataOption = DATA,
) -> None:
    """Print a UserSig."""
    from rokuga.api.usersig import make
    from rokuga.clock import utc_ms

    effective = _load(config, data.absolute(), "up")
    found = effective.app(sdk_app_id) if sdk_app_id is not None else effective.apps[0]
    if found is None:
        _refuse([f"--sdk-app-id: there is no [[apps]] with sdk_app_id = {sdk_app_id}"])
    print(make(found.sdk_app_id, user_id, found.user_sig_key.get_secret_value(), utc_ms() // 1000, expire))


@app.command()
def link(
    folder: Annotated[str, typer.Argument(help="<Bucket>/<FileNamePrefix…>/<TaskId> in the local disk store.")],
    base: Annotated[
        str, typer.Option(help="How the API is reached; without it the running `rokuga up` of --data, or server.public_url.")
    ] = "",
    expire: Annotated[int, typer.Option(help="Seconds that it is valid.", min=1)] = 86400,
    config: ConfigOption = None,
    data: DataOption = DATA,
) -> None:
    """Print the URL below which the files of a recording on local disk can be fetched."""
    from rokuga import running
    from rokuga.api.media import media_key, media_url
    from rokuga.clock import utc_ms

    effective = _load(config, data.absolute(), "up")
    bucket, _, prefix = folder.strip("/").partition("/")
    url = base or effective.server.public_url or running.read(data).get("api", "")
    if not url:
        _refuse(["--base: no `rokuga up` runs on --data: say how the API is reached"])
    print(media_url(url, media_key(effective), bucket, prefix, utc_ms() // 1000 + expire))


@app.command()
def publish(
    room: Annotated[str, typer.Argument(help="The room; created if missing.")],
    user: Annotated[str, typer.Argument(help="The UserId to be.")],
    file: Annotated[
        Path | None, typer.Option(help="A file with H.264 video or any sound, in a loop. Without it a generated picture with sound.")
    ] = None,
    aux: Annotated[bool, typer.Option("--aux", help="Share a (generated) screen, too.")] = False,
    audio: Annotated[bool, typer.Option(help="With a microphone.")] = True,
    video: Annotated[bool, typer.Option(help="With a camera.")] = True,
    seconds: Annotated[float | None, typer.Option(help="Leave after so long; without it at Ctrl-C.")] = None,
    janus: Annotated[
        str, typer.Option(help="WebSocket of the Janus; without it the configured one, or that of the running `rokuga up`.")
    ] = "",
    config: ConfigOption = None,
    data: DataOption = DATA,
) -> None:
    """Be a user in a room."""
    import asyncio

    from rokuga import running
    from rokuga.errors import RokugaError
    from rokuga.publish import run
    from rokuga.roles import until_signal

    section = _load(config, data.absolute(), "up").janus
    url = janus or section.url or running.read(data).get("janus", "")
    if not url:
        _refuse(["--janus: no `rokuga up` runs on --data, and janus.url is empty"])
    section = section.model_copy(update={"url": url})
    try:
        asyncio.run(until_signal(run(section, room, user, file=file, aux=aux, audio=audio, video=video, seconds=seconds)))
    except (RokugaError, OSError) as error:
        print(f"rokuga: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


@app.command()
def compose(
    journal: Annotated[Path, typer.Option(help="A kept journal: <data>/tasks/<TaskId>/g<n>/journal.")],
    params: Annotated[
        Path, typer.Option(help="JSON with any of MixLayoutParams, MixTranscodeParams, RecordParams, as in CreateCloudRecording.")
    ],
    out: Annotated[Path, typer.Option(help="Empty or new folder for the files.")],
) -> None:
    """Render a kept journal again as one picture and one sound, with any layout and size."""
    from rokuga.api.recompose import changes
    from rokuga.errors import ApiError, RokugaError
    from rokuga.render.compose import compose as render

    try:
        asked = changes(params.read_bytes())
    except OSError as error:
        _refuse([f"--params: {error}"])
    except ApiError as error:
        _refuse([f"--params: {error.message}"])
    try:
        for index in render(journal, asked, out):
            print(index)
    except (RokugaError, OSError) as error:
        print(f"rokuga: {error}", file=sys.stderr)
        raise typer.Exit(1) from None


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(help="How long to record.", min=15)] = 30,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards, users included, until Ctrl-C.")] = False,
    data: Annotated[Path | None, typer.Option("--data", help="Folder for everything; without it a fresh temporary one.")] = None,
) -> None:
    """Record a real room of three users with the official SDK and check every file."""
    import asyncio

    from rokuga.demo.run import demo as show

    _leave(asyncio.run(show(data, seconds, keep)))


@app.command()
def version() -> None:
    """Print the version."""
    print(installed("rokuga"))
