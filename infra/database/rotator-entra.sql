-- The login that rotates, where it signs in with an Entra token; run in the database `postgres` by
-- the server's Entra administrator. Variables: rotator (the identity's name), object (its object id).

-- By object id: display names are not unique, and pgaadauth_create_principal looks one up. And by
-- CREATE ROLE, since whoever creates a role keeps ADMIN OPTION on it (PostgreSQL 16 and newer),
-- which rotator.sql needs; the roles that the function makes belong to the server.
SELECT 'aadauth,oid=' || :'object'::uuid || ',type=service' AS label \gset
CREATE ROLE :"rotator" LOGIN;
SECURITY LABEL FOR pgaadauth ON ROLE :"rotator" IS :'label';
