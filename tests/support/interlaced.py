"""Writes ten interlaced H.264 pictures, for the system's Python with GStreamer's bindings.

Usage: interlaced.py PATH
"""

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402  (the version comes first)

LAUNCH = (
    "videotestsrc num-buffers=20 ! video/x-raw,width=320,height=240,framerate=25/1 "
    "! interlace field-pattern=1:1 ! x264enc interlaced=true speed-preset=ultrafast "
    "! h264parse ! matroskamux ! filesink name=file"
)

Gst.init(None)
pipeline = Gst.parse_launch(LAUNCH)
pipeline.get_by_name("file").set_property("location", sys.argv[1])
pipeline.set_state(Gst.State.PLAYING)
ends = Gst.MessageType.EOS | Gst.MessageType.ERROR
message = pipeline.get_bus().timed_pop_filtered(20 * Gst.SECOND, ends)
pipeline.set_state(Gst.State.NULL)
if message is None or message.type != Gst.MessageType.EOS:
    sys.exit("the pictures were not written")
