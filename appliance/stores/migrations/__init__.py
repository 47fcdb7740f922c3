"""The steps from one form of the database to the next, run by Alembic.

One file in `versions` for each; its revision is the number of the form that it leads to.
"""

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

HERE = "appliance.stores:migrations"  # as a package: a wheel's folder may have any name


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the database to a form, within the transaction that is under way."""
    config = Config()
    config.set_main_option("script_location", HERE)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
