"""Settings of who may open the page, and how they say so."""

from typing import Annotated, Literal

from pydantic import AfterValidator, SecretStr

from appliance.settings.fields import Note, Section, setting
from appliance.settings.forms import HeaderName, check_token
from appliance.settings.secrets import HASH_COMMAND
from appliance.settings.tokens import TOKEN_COMMAND, Tokens
from appliance.settings.users import Role, Users

EXAMPLE_HASH = (
    "argon2id.v=19.m=65536~t=3~p=4.c2FsdHNhbHRzYWx0.aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNoaGFzaGhhc2g"
)


def _check_secret_token(token: SecretStr) -> SecretStr:
    check_token(token.get_secret_value())
    return token


class Auth(Section):
    """Who may open the page."""

    users: Users = setting(
        (),
        f"People who may log in. `{HASH_COMMAND}` makes the hash.",
        example=f"alice:admin:{EXAMPLE_HASH}",
        note=Note(
            form="list of name:role:hash, one a line or parted by commas; the role is viewer, "
            "operator or admin",
        ),
    )
    metrics_token: Annotated[SecretStr, AfterValidator(_check_secret_token)] | None = setting(
        None,
        "Bearer token with which metrics and readiness may be read; it never expires.",
        example="16 random characters or more",
        note=Note(form="at least 16 visible ASCII characters"),
    )
    tokens: Tokens = setting(
        (),
        f"Bearer tokens of machines, each for what it needs and for a time. `{TOKEN_COMMAND}` "
        "makes them.",
        example=f"prometheus:metrics:2027-01-31:{'0123456789abcdef' * 4}",
        note=Note(
            form="list of name:scopes:expiry:hash; scopes are metrics, pictures and ready, joined "
            "by +; the expiry is a date",
        ),
    )
    proxy_header: HeaderName = setting(
        "",
        "Header in which a trusted proxy names the person whom it has signed in.",
        example="X-Remote-User",
        note=Note(form="name of a header; APPLIANCE_WEB__TRUSTED_PROXIES must be set as well"),
    )
    proxy_role_header: HeaderName = setting(
        "",
        "Header in which that proxy names the person's role.",
        example="X-Remote-Role",
        note=Note(form="name of a header, which says viewer, operator or admin"),
    )
    proxy_role: Literal[Role.VIEWER, Role.OPERATOR, Role.ADMIN] = setting(
        Role.VIEWER,
        "Role of people whom a proxy signs in without a role, and who are not among the users.",
        example="operator",
    )
    idle_minutes: int = setting(
        60, "Minutes without a request after which a login ends.", example="30", ge=1, le=10080
    )
    max_hours: int = setting(
        12, "Hours after which a login ends in any case.", example="8", ge=1, le=720
    )
