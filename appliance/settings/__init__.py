"""Settings: read from the environment, checked all at once, frozen.

`load(environment())` gives them, or raises `SettingsProblems` with every problem.
"""

from appliance.settings.auth import Auth
from appliance.settings.camera import Camera
from appliance.settings.kiosk import Kiosk
from appliance.settings.loading import Loaded, Row, effective, load, load_paths
from appliance.settings.model import (
    Detection,
    Engine,
    Live,
    Log,
    Paths,
    Settings,
    Station,
    Web,
)
from appliance.settings.old_names import notices as old_name_notices
from appliance.settings.problems import Problem, SettingsProblems
from appliance.settings.process import (
    begin_temporary,
    environment,
    forget_foreign_variables,
    keep_files_private,
    prepare_process,
)
from appliance.settings.users import Role, User

__all__ = [
    "Auth",
    "Camera",
    "Detection",
    "Engine",
    "Kiosk",
    "Live",
    "Loaded",
    "Log",
    "Paths",
    "Problem",
    "Role",
    "Row",
    "Settings",
    "SettingsProblems",
    "Station",
    "User",
    "Web",
    "begin_temporary",
    "effective",
    "environment",
    "forget_foreign_variables",
    "keep_files_private",
    "load",
    "load_paths",
    "old_name_notices",
    "prepare_process",
]
