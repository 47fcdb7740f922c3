"""System: what a person without a shell needs to know of the station.

Three documents, for what changes at its own pace: the overview every few seconds, the log with
its filter, and what stays as it is until a restart. The page asks for them while somebody looks.
A document that comes anew replaces its nodes, so whatever a person types into, opens or scrolls
lies outside of the ones that do.
"""

import gradio as gr

from appliance.settings import Role
from appliance.texts import marked
from appliance.web.components import asking_button, constant, document, document_place
from appliance.web.context import TabContext
from appliance.web.tabs.system.machine import measures
from appliance.web.tabs.system.overview import Overview, reach, update_line
from appliance.web.tabs.system.plots import time_of_day

LOG_LINES = 200
LONGEST_FILTER = 200
ORIGINS = (marked("environment"), marked("default"))  # of a setting; the others are sentences
LEVELS = {"": marked("All"), "warning": marked("Warnings"), "error": marked("Errors")}
_LOG_TONES = {"warning": "warn", "error": "fault", "critical": "fault"}


def build(context: TabContext) -> None:
    """Three documents and the filter, filled for those who may see them."""
    texts = context.texts
    overview = document_place()
    constant(context, "system/rules.html", usual=context.usual)
    with gr.Column(elem_classes="log-panel"):
        with gr.Row(elem_classes="log-head"):
            constant(context, "system/log_head.html")
            level = gr.Radio(
                [(texts(title), level) for level, title in LEVELS.items()],
                value="",
                label=texts("Lines"),
                container=False,
                elem_classes="segmented",
            )
            text = gr.Textbox(
                label=texts("Text in the log"),
                placeholder=texts("Filter, as a camera's name"),
                max_lines=1,
                max_length=LONGEST_FILTER,
                container=False,
            )
        log = document_place("log-lines")
    fixed = document_place()
    ask, known = asking_button(), gr.State("")

    def show_log(level: str | None, text: str | None) -> str:
        return render_log(context, level, text)

    def refresh(
        request: gr.Request, level: str | None, text: str | None, known: str
    ) -> tuple[str, str, object, str]:
        """What stays is sent once: somebody may have opened a part of it."""
        is_admin = context.may(request.username, Role.ADMIN)
        fixed = gr.skip() if known else render_fixed(context, is_admin=is_admin)
        return render_overview(context), render_log(context, level, text), fixed, "known"

    filters = [level, text]
    shown = [overview, log, fixed, known]
    ask.click(refresh, [*filters, known], shown, show_progress="hidden")
    gr.on(
        [level.change, text.change],  # `input` would not hear what is pasted
        show_log,
        filters,
        log,
        show_progress="hidden",
        trigger_mode="always_last",
    )


def render_overview(context: TabContext) -> str:
    """What changes by itself: health, engines, plots, cameras, the machine."""
    reading, overview = context.reading(), Overview(context.texts)
    return document(
        context,
        "system/overview.html",
        health=overview.summary(reading),
        lines=overview.health_lines(reading),
        engines=[
            {
                **overview.engine_row(engine, reading),
                "has_report": context.report(engine.model) is not None,
            }
            for engine in reading.engines
        ],
        plots=overview.plots(reading, context.history()),
        zone=time_of_day(reading.now_s, "%Z"),
        cameras=[overview.camera_row(camera) for camera in reading.cameras],
        measures=measures(context.hardware(), reading, context.state_folder, context.texts),
    )


def render_log(context: TabContext, level: str | None, text: str | None) -> str:
    """The newest lines that the filter lets through, the newest first.

    Args:
        context: holds the log.
        level: one of LEVELS; another one takes all.
        text: what they must contain, in upper or lower case; None, as an input that nobody has
            touched says it, is nothing.
    """
    known = level if level in LEVELS else ""
    found = context.ring.lines(known or "", (text or "")[:LONGEST_FILTER].strip())
    shown = [
        {
            "time": context.texts.moment(line.time_s, exact=True),
            "level": line.level,
            "tone": _LOG_TONES.get(line.level, ""),
            "message": line.message,
            "context": line.context,
            "trace": line.exception.splitlines(),
        }
        for line in reversed(found[-LOG_LINES:])
    ]
    return document(context, "system/log.html", lines=shown, found=len(found))


def render_fixed(context: TabContext, *, is_admin: bool) -> str:
    """What stays until the page is opened anew: addresses, versions, settings, the bundle."""
    return document(
        context,
        "system/fixed.html",
        is_admin=is_admin,
        reach=reach(context.reach, context.texts),
        update=update_line(context.last_update(), context.texts),
        versions=context.versions(),
        settings=context.settings,
        set_count=sum(not row.is_default for row in context.settings),
    )
