"""Detection: a box with its label around each."""

from appliance.render import Painter
from appliance.render.boxes import draw_boxes

PAINTER = Painter("detection", draw_boxes)
