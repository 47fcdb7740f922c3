"""Where a model's files come from, and how they are brought here and proven."""

from appliance.catalog.origins.kinds import (
    FileOrigin,
    HttpsOrigin,
    Member,
    NpmOrigin,
    Origin,
    WheelOrigin,
)
from appliance.catalog.origins.obtain import obtain

__all__ = [
    "FileOrigin",
    "HttpsOrigin",
    "Member",
    "NpmOrigin",
    "Origin",
    "WheelOrigin",
    "obtain",
]
