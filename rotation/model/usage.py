"""The usage ledger: who had sessions of a credential's roles on a day, as it is stored.

Old days stay readable: no field is ever taken away, and a new one has a default.
"""

from __future__ import annotations

from msgspec import Struct, field

from rotation.model.wire import Moment


class Row(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Sessions of one role that samples saw on a day: of a workload, whatever its pods' addresses
    and names; or of an application at an address that is in no workload.

    `first` and `last` are the times of the samples that saw them first and last, of which there are
    `samples`. `others` is in the place of those that a day had no room for.
    """

    role: str
    first: Moment
    last: Moment
    samples: int
    application: str = ""
    client: str = ""  # address, or "local"
    workload: str | None = None
    others: bool = False


class Day(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A credential's sessions on a day, `YYYY-MM-DD` in UTC, and the number of looks at them.

    `gaps` are looks that something was missing of: a server did not answer, or it could not be told
    whose a session was.
    """

    day: str
    samples: int = 0
    gaps: int = 0
    rows: list[Row] = field(default_factory=list)
