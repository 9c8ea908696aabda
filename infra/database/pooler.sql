-- What PgBouncer's auth_query asks: the verifiers of one application's logins. Run once in the application's
-- database by a superuser: nobody else may read verifiers. Variables: database, group, pooler (PgBouncer's login).

-- PgBouncer asks with the rights of this login alone, and needs its password in clear text (userlist.txt).
-- So the login may ask, and for nobody but the group's members: neither for the rotator nor for the superuser.
CREATE SCHEMA pooler;
GRANT CONNECT ON DATABASE :"database" TO :"pooler";
GRANT USAGE ON SCHEMA pooler TO :"pooler";

-- A table, so that there is no row for others: PgBouncer takes a row of nulls for a fault of its own settings.
CREATE FUNCTION pooler.verifier(login text) RETURNS TABLE (name text, verifier text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog
BEGIN ATOMIC
    SELECT a.rolname, a.rolpassword
    FROM pg_catalog.pg_authid a
    JOIN pg_catalog.pg_auth_members m ON m.member = a.oid
    JOIN pg_catalog.pg_roles g ON g.oid = m.roleid AND g.rolname = :'group'
    WHERE a.rolname = login AND a.rolcanlogin;
END;
REVOKE ALL ON FUNCTION pooler.verifier(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pooler.verifier(text) TO :"pooler";
