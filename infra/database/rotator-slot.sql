-- PostgreSQL 16 and newer, once per slot: CREATEROLE alone no longer manages a role that somebody
-- else created. It neither inherits the role's rights nor may become it as it
-- stands; with ADMIN it could grant itself either, which the server's log would show.
-- Variables: rotator, role.

GRANT :"role" TO :"rotator" WITH ADMIN TRUE, INHERIT FALSE, SET FALSE;
