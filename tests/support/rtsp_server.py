"""A real RTSP server on loopback, for the system's Python with GStreamer's bindings.

Usage: rtsp_server.py PORT [PASSWORD [basic|digest [WIDTH HEIGHT]]] | --check. Prints the port it
listens on (0 asks for any). With a password, user `operator` has to give it, in that form.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402  (versions come first)

LAUNCH = (
    "( videotestsrc is-live=true pattern=ball "
    "! video/x-raw,width={},height={},framerate=15/1 "
    "! x264enc tune=zerolatency key-int-max=15 speed-preset=ultrafast "
    "! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


def protect(server, factory, password, form):
    """Let only `operator` with this password see the stream."""
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "operator")
    if form == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest("operator", password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic("operator", password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("operator", "media.factory.access", True)
    permissions.add_permission_for_role("operator", "media.factory.construct", True)
    factory.set_permissions(permissions)


def main():
    """Serve until killed."""
    Gst.init(None)
    for element in ("x264enc", "rtph264pay"):
        if Gst.ElementFactory.find(element) is None:
            sys.exit(f"GStreamer lacks {element}")
    if sys.argv[1] == "--check":
        return
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(LAUNCH.format(*(sys.argv[4:6] or (320, 240))))
    factory.set_shared(True)
    if sys.argv[2:] and sys.argv[2]:
        protect(server, factory, *sys.argv[2:4])
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


main()
