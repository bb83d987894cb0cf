"""What ``rokuga compose`` is asked for: parts of a CreateCloudRecording request, checked as the API checks them. Pure."""

from typing import Any

from rokuga.api import rules
from rokuga.api.problems import parse, parse_json
from rokuga.api.schema import Layout, Part, Recording, Transcode, plain


class Recompose(Part):
    """The members of a CreateCloudRecording request that change how a kept journal is rendered."""

    RecordParams: Recording | None = None
    MixTranscodeParams: Transcode | None = None
    MixLayoutParams: Layout | None = None


def changes(text: bytes) -> dict[str, Any]:
    """Members of `rokuga.control.model.Params` to replace. Without RecordParams it is a mix of sound and picture. Raises ApiError."""
    asked = parse(Recompose, parse_json(text), False)
    rules.check_canvas(asked.MixLayoutParams, asked.MixTranscodeParams)
    record = asked.RecordParams
    found: dict[str, Any] = {"record_mode": record.RecordMode if record else rules.MIXED}
    if record:
        found |= {"stream_type": record.StreamType, "fill_type": record.FillType, "av_merge": record.AvMerge}
    if asked.MixTranscodeParams:
        found["transcode"] = plain(asked.MixTranscodeParams)
    if asked.MixLayoutParams:
        found["layout"] = rules.layout_of(asked.MixLayoutParams)
    return found
