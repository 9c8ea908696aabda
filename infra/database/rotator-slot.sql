-- PostgreSQL 16 and newer, once per slot: CREATEROLE alone no longer manages a role that somebody
-- else created. Neither inherits nor may become the role, so no data comes with it.
-- Variables: rotator, role.

GRANT :"role" TO :"rotator" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
