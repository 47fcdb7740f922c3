"""Writes a few H.264 pictures, for the system's Python with GStreamer's bindings.

Usage: encoding.py interlaced|squeezed PATH
"""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402  (the version comes first)

RAW = "video/x-raw,width=320,height=240,framerate=25/1"
KINDS = {
    "interlaced": f"{RAW} ! interlace field-pattern=1:1 ! x264enc interlaced=true",
    "squeezed": f"{RAW},pixel-aspect-ratio=2/1 ! x264enc",
}
LAUNCH = (
    f"videotestsrc num-buffers=20 ! {KINDS[sys.argv[1]]} speed-preset=ultrafast "
    "! h264parse ! matroskamux ! filesink name=file"
)

Gst.init(None)
pipeline = Gst.parse_launch(LAUNCH)
pipeline.get_by_name("file").set_property("location", sys.argv[2])
pipeline.set_state(Gst.State.PLAYING)
ends = Gst.MessageType.EOS | Gst.MessageType.ERROR
message = pipeline.get_bus().timed_pop_filtered(20 * Gst.SECOND, ends)
pipeline.set_state(Gst.State.NULL)
if message is None or message.type != Gst.MessageType.EOS:
    sys.exit("the pictures were not written")
