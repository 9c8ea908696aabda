"""infra/database/parity.sql: the query by which the app compares two roles, for `psql`."""

from __future__ import annotations

from rotation.edges.database import parity

HEAD = """\
-- What one role may do in this database and another may not: an empty answer is a pass. The column
-- `level` has the statement that gives it to the other. Run it once in each direction.
-- Variables: having, lacking. It is the query of rotation/edges/database/parity.py.

SELECT pg_catalog.current_setting('server_version_num')::int >= {since} AS has_parameters \\gset
"""


def made(_: str) -> str:
    """The text of infra/database/parity.sql, which is the same for all versions of the server."""
    head = HEAD.format(since=parity.PARAMETERS_SINCE)
    parameters = f"\\if :has_parameters\n{parity.PARAMETERS}\\endif"
    text = f"{head}{parity.ROLES}{parameters}{parity.DIFFERENCES}"
    return text.replace("{having}", ":'having'").replace("{lacking}", ":'lacking'")
