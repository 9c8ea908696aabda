-- The rights of the login that rotates: it gives and takes logins, sees sessions and ends them. It
-- reads no data. Variables: rotator, database.

-- CREATEROLE is what ALTER ROLE ... LOGIN, NOLOGIN and PASSWORD ask for. Before PostgreSQL 16 it
-- covers every role that is no superuser; from 16 on, only the roles of rotator-slot.sql.
ALTER ROLE :"rotator" CREATEROLE;
GRANT CONNECT ON DATABASE :"database" TO :"rotator";

-- Ending sessions and seeing where they come from. Membership in the slots' roles would allow both too,
-- but would open the application's data.
GRANT pg_signal_backend, pg_read_all_stats TO :"rotator";
