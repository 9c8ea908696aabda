-- What both slots of an application share, run once in its database by the server administrator.
-- Variables: database, group.

-- The group owns the objects and holds the grants; nobody logs in as it.
CREATE ROLE :"group" NOLOGIN;

GRANT CONNECT ON DATABASE :"database" TO :"group";
GRANT USAGE, CREATE ON SCHEMA public TO :"group";

-- What the administrator creates later (a migration) must reach both slots as well.
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON TABLES TO :"group";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON SEQUENCES TO :"group";
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT ALL ON ROUTINES TO :"group";
