"""The peer: GStreamer's ``webrtcbin`` records users of a room to MPEG-TS segments, H.264 as it came and AAC. One process for all.

It runs under Debian's own Python, which has GStreamer's bindings, and imports nothing of Rokuga. JSON, one object a line::

    in    {"user": "user 1", "offer": SDP}            out   {"user": "user 1", "answer": SDP}
    in    end of file: everything stops

Arguments: folder for the files, seconds of a segment, channels of the sound ("native": what GStreamer makes of it).
"""

import json
import sys
import threading
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

FILES = " ! mpegtsmux ! multifilesink next-file=max-duration max-file-duration={ns} location={place}-%05d.ts"
"""The cheapest that there is: segments end anywhere. ``splitmuxsink`` would end them at keyframes, but it fails or spins now and
then when ``webrtcbin`` aligns a user's streams after their first buffers."""
VIDEO = "rtph264depay name=in ! h264parse config-interval=-1" + FILES
AAC = "avenc_aac bitrate=59000 aac-coder=fast aac-tns=false threads=1 ! aacparse"
AUDIO = "rtpopusdepay name=in ! opusdec ! audioconvert ! audio/x-raw{channels} ! " + AAC + FILES
"""What the coder makes of a rate depends on FFmpeg's version: asked for 59 kb/s, Debian's makes about what ours makes of 64."""

LATENCY_MS = 1000
"""Of the jitter buffer: a recorder can wait for what is late."""

_out = threading.Lock()


def tell(message: dict[str, str]) -> None:
    with _out:
        print(json.dumps(message), flush=True)


class User:
    """One user's pipeline: a connection to Janus and a file sink for each track."""

    def __init__(self, name: str, folder: Path, seconds: float, channels: str) -> None:
        self._name = name
        place = str(folder / name.replace(" ", "_"))
        limit = "" if channels == "native" else f",channels={channels}"
        self._branches = {
            "H264": VIDEO.format(ns=int(seconds * 1e9), place=f"{place}-video"),
            "OPUS": AUDIO.format(ns=int(seconds * 1e9), place=f"{place}-audio", channels=limit),
        }
        self._pipeline = Gst.Pipeline.new(None)
        self._webrtc = Gst.ElementFactory.make("webrtcbin")
        self._webrtc.set_property("latency", LATENCY_MS)
        self._webrtc.set_property("bundle-policy", GstWebRTC.WebRTCBundlePolicy.MAX_BUNDLE)
        self._webrtc.connect("on-new-transceiver", self._transceiver)
        self._webrtc.connect("pad-added", self._pad)
        self._webrtc.connect("notify::ice-gathering-state", self._gathered)
        self._pipeline.add(self._webrtc)
        bus = self._pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", self._failed)

    def offer(self, text: str) -> None:
        self._pipeline.set_state(Gst.State.PLAYING)
        _, sdp = GstSdp.SDPMessage.new_from_text(text)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.OFFER, sdp)
        self._webrtc.emit("set-remote-description", description, Gst.Promise.new_with_change_func(self._offered))

    def stop(self) -> None:
        self._pipeline.set_state(Gst.State.NULL)

    def _offered(self, _: Any) -> None:
        self._webrtc.emit("create-answer", None, Gst.Promise.new_with_change_func(self._answered))

    def _answered(self, promise: Any) -> None:
        reply = promise.get_reply()  # owns the answer
        answer = reply.get_value("answer")
        self._webrtc.emit("set-local-description", answer, Gst.Promise.new())

    def _gathered(self, *_: Any) -> None:
        if self._webrtc.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            tell({"user": self._name, "answer": self._webrtc.get_property("local-description").sdp.as_text()})

    def _transceiver(self, _: Any, transceiver: Any) -> None:
        transceiver.set_property("do-nack", True)

    def _pad(self, _: Any, pad: Any) -> None:
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        codec = pad.get_current_caps().get_structure(0).get_string("encoding-name")
        branch = Gst.parse_bin_from_description(self._branches[codec], False)
        branch.add_pad(Gst.GhostPad.new("sink", branch.get_by_name("in").get_static_pad("sink")))
        self._pipeline.add(branch)
        branch.sync_state_with_parent()
        pad.link(branch.get_static_pad("sink"))

    def _failed(self, _: Any, message: Any) -> None:
        error, detail = message.parse_error()
        tell({"user": self._name, "error": f"{error.message} ({detail})"})


def main() -> None:
    folder, seconds, channels = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    Gst.init(None)
    loop = GLib.MainLoop()
    users: list[User] = []

    def take(order: dict[str, str]) -> None:
        user = User(order["user"], folder, seconds, channels)
        users.append(user)
        user.offer(order["offer"])

    def listen() -> None:
        for line in sys.stdin:
            GLib.idle_add(take, json.loads(line))
        GLib.idle_add(loop.quit)

    tell({"version": Gst.version_string()})
    threading.Thread(target=listen, daemon=True).start()
    loop.run()
    for user in users:
        user.stop()


if __name__ == "__main__":
    main()
