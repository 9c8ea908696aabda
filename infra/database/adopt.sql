-- Gives a live login's objects to the group. May be run again, and should be once the sessions that
-- were open at the first time are gone: what they created since is still theirs.
-- Run in one transaction (psql --single-transaction). Variables: role, group.

-- A change of owner waits for whoever uses the table, and everybody else waits behind it: better
-- to give up soon and try again.
SET LOCAL lock_timeout = '3s';

-- First of all, so that the login loses no right at any moment: it has them through the group.
GRANT :"group" TO :"role";

-- An administrator who is no superuser may do the rest only as a member of both.
GRANT :"group", :"role" TO CURRENT_USER;
REASSIGN OWNED BY :"role" TO :"group";
REVOKE :"group", :"role" FROM CURRENT_USER;
