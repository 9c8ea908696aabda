-- The rights of the login that rotates: it gives and takes logins, sees sessions and ends them.
-- Variable: rotator.

-- It works in the maintenance database (`database.maintenance`, postgres unless configured), where
-- PUBLIC has CONNECT unless somebody took it away, and is granted nothing in an application's.
-- What these rights amount to all the same: before PostgreSQL 16, CREATEROLE makes its holder a member
-- of any role that is no superuser, by one GRANT; from 16 on, ADMIN over the slots' roles
-- (rotator-slot.sql) does so for those. Whoever has this login can thus have their data.

-- CREATEROLE is what ALTER ROLE ... LOGIN, NOLOGIN and PASSWORD ask for. Before PostgreSQL 16 it
-- covers every role that is no superuser; from 16 on, only the roles of rotator-slot.sql.
ALTER ROLE :"rotator" CREATEROLE;

-- Ending sessions and seeing where they come from. Membership in the slots' roles would allow both too,
-- and would open the application's data without a trace of a GRANT.
GRANT pg_signal_backend, pg_read_all_stats TO :"rotator";
