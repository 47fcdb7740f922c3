"""The look of the Gradio page: its theme variables point at our design tokens.

Light and dark are switched by the class `dark`, which redefines the tokens; Gradio's own pairs of
light and dark variables therefore hold one and the same reference. Our own rules are linked by
pages/head.html: text given to Gradio as `css=` is rewritten under its container class, which breaks
selector lists, and arrives only after the first paint.
"""

import gradio as gr

_FILLS = {
    "body_background_fill": "var(--s0)",
    "body_text_color": "var(--t1)",
    "body_text_color_subdued": "var(--t3)",
    "background_fill_primary": "var(--s1)",
    "background_fill_secondary": "var(--s2)",
    "border_color_primary": "var(--line)",
    "border_color_accent": "var(--control)",
    "color_accent_soft": "var(--accent-wash)",
    "link_text_color": "var(--accent)",
    "link_text_color_hover": "var(--accent)",
    "link_text_color_visited": "var(--accent)",
    "link_text_color_active": "var(--accent)",
    "code_background_fill": "transparent",
    "block_background_fill": "var(--s1)",
    "block_border_color": "var(--line)",
    "block_label_text_color": "var(--t2)",
    "block_title_text_color": "var(--t2)",
    "input_background_fill": "var(--s2)",
    "input_border_color": "var(--control)",
    "input_border_color_focus": "var(--accent)",
    "input_placeholder_color": "var(--t3)",
    "error_background_fill": "var(--fault-wash)",
    "error_border_color": "var(--fault-fill)",
    "error_text_color": "var(--fault)",
    "error_icon_color": "var(--fault)",
    "loader_color": "var(--accent)",
    "button_primary_background_fill": "var(--t1)",
    "button_primary_background_fill_hover": "var(--t2)",
    "button_primary_border_color": "var(--t1)",
    "button_primary_text_color": "var(--on-primary)",
    "button_secondary_background_fill": "var(--s1)",
    "button_secondary_background_fill_hover": "var(--s3)",
    "button_secondary_border_color": "var(--control)",
    "button_secondary_text_color": "var(--t1)",
}
_PLAIN = {
    "color_accent": "var(--accent)",
    "layout_gap": "0",
    "block_radius": "var(--r2)",
    "input_radius": "var(--r2)",
    "button_medium_radius": "var(--r2)",
}


def theme() -> gr.themes.Base:
    """Gradio's plainest theme with every color taken from tokens.css and installed fonts only."""
    values = {**_PLAIN, **_FILLS, **{f"{name}_dark": value for name, value in _FILLS.items()}}
    return gr.themes.Base(font="var(--face)", font_mono="var(--mono)").set(**values)
