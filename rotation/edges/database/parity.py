"""What one role may do in a database and another may not, by one query on the catalogue.

Everybody may read the catalogue, so it is asked as the slot's own role, in the application's
database, where the login that rotates never goes. infra/database/parity.sql is the same query, for
`psql`.

A role has what was granted to it, and what it has by its memberships. So it is enough to compare
what `having` was granted by name, and the roles that it was made a member of, with all that
`lacking` has by whatever way.
"""

from __future__ import annotations

# Server versions, as `server_version_num` has them.
PARAMETERS_SINCE = 150000  # pg_parameter_acl
MOST = 1000  # differences that are read

ROLES = """
WITH roles (h, hname, l, lname) AS (
    SELECT h.oid, h.rolname, l.oid, l.rolname
    FROM pg_catalog.pg_roles h, pg_catalog.pg_roles l
    WHERE h.rolname = {having} AND l.rolname = {lacking}
),
version (num) AS (SELECT pg_catalog.current_setting('server_version_num')::int),
-- Whatever can be granted: its kind, its name, how GRANT calls it, its owner and what was granted.
-- A column has its table's as well.
granted (kind, object, called, columns, owner, acl, above) AS (
    SELECT 'schema', pg_catalog.quote_ident(nspname), 'SCHEMA ' || pg_catalog.quote_ident(nspname),
           '', nspowner, nspacl, NULL::aclitem[]
    FROM pg_catalog.pg_namespace WHERE nspacl IS NOT NULL AND nspname !~ '^pg_(toast_)?temp_'
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END,
           pg_catalog.format('%I.%I', n.nspname, c.relname),
           pg_catalog.format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                             n.nspname, c.relname),
           '', c.relowner, c.relacl, NULL
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relacl IS NOT NULL AND n.nspname !~ '^pg_(toast_)?temp_'
    UNION ALL
    SELECT 'column', pg_catalog.format('%I.%I.%I', n.nspname, c.relname, a.attname),
           pg_catalog.format('TABLE %I.%I', n.nspname, c.relname),
           pg_catalog.format(' (%I)', a.attname), c.relowner, a.attacl,
           coalesce(c.relacl, pg_catalog.acldefault('r', c.relowner))
    FROM pg_catalog.pg_attribute a
         JOIN pg_catalog.pg_class c ON c.oid = a.attrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL
    SELECT 'routine', r.signature, 'ROUTINE ' || r.signature, '', r.proowner, r.proacl, NULL
    FROM (
        SELECT p.proowner, p.proacl,
               pg_catalog.format('%I.%I(%s)', n.nspname, p.proname,
                                 pg_catalog.pg_get_function_identity_arguments(p.oid)) AS signature
        FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
        WHERE p.proacl IS NOT NULL
    ) r
    UNION ALL
    SELECT 'type', pg_catalog.format('%I.%I', n.nspname, t.typname),
           pg_catalog.format('TYPE %I.%I', n.nspname, t.typname), '', t.typowner, t.typacl, NULL
    FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
    WHERE t.typacl IS NOT NULL
    UNION ALL
    SELECT 'language', pg_catalog.quote_ident(lanname),
           'LANGUAGE ' || pg_catalog.quote_ident(lanname), '', lanowner, lanacl, NULL
    FROM pg_catalog.pg_language WHERE lanacl IS NOT NULL
    UNION ALL
    SELECT 'foreign data wrapper', pg_catalog.quote_ident(fdwname),
           'FOREIGN DATA WRAPPER ' || pg_catalog.quote_ident(fdwname), '', fdwowner, fdwacl, NULL
    FROM pg_catalog.pg_foreign_data_wrapper WHERE fdwacl IS NOT NULL
    UNION ALL
    SELECT 'foreign server', pg_catalog.quote_ident(srvname),
           'FOREIGN SERVER ' || pg_catalog.quote_ident(srvname), '', srvowner, srvacl, NULL
    FROM pg_catalog.pg_foreign_server WHERE srvacl IS NOT NULL
    UNION ALL
    SELECT 'large object', oid::text, 'LARGE OBJECT ' || oid::text, '', lomowner, lomacl, NULL
    FROM pg_catalog.pg_largeobject_metadata WHERE lomacl IS NOT NULL
    UNION ALL
    SELECT 'tablespace', pg_catalog.quote_ident(spcname),
           'TABLESPACE ' || pg_catalog.quote_ident(spcname), '', spcowner, spcacl, NULL
    FROM pg_catalog.pg_tablespace WHERE spcacl IS NOT NULL
    UNION ALL
    SELECT 'database', pg_catalog.quote_ident(datname),
           'DATABASE ' || pg_catalog.quote_ident(datname), '', datdba, datacl, NULL
    FROM pg_catalog.pg_database
    WHERE datacl IS NOT NULL AND datname = pg_catalog.current_database()
"""

PARAMETERS = """    UNION ALL
    SELECT 'parameter', parname, 'PARAMETER ' || parname, '', NULL, paracl, NULL
    FROM pg_catalog.pg_parameter_acl
"""

DIFFERENCES = """
),
-- Each entry that a role of ours may be in; an owner's are with what it owns, below.
entries (kind, object, called, columns, acl, above, grantee, privilege, grantable) AS (
    SELECT g.kind, g.object, g.called, g.columns, g.acl, g.above, e.grantee, e.privilege_type,
           e.is_grantable
    FROM granted g, roles, LATERAL pg_catalog.aclexplode(g.acl) e
    WHERE e.grantee = roles.h AND g.owner IS DISTINCT FROM roles.h
),
defaults (owner, role, schema, class, privilege, grantee, grantable) AS (
    SELECT d.defaclrole, pg_catalog.pg_get_userbyid(d.defaclrole),
           (SELECT nspname FROM pg_catalog.pg_namespace WHERE oid = d.defaclnamespace),
           CASE d.defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES'
                WHEN 'f' THEN 'ROUTINES' WHEN 'T' THEN 'TYPES' WHEN 'n' THEN 'SCHEMAS'
                WHEN 'L' THEN 'LARGE OBJECTS' END,
           e.privilege_type, e.grantee, e.is_grantable
    FROM pg_catalog.pg_default_acl d, LATERAL pg_catalog.aclexplode(d.defaclacl) e
),
memberships (role, name, h_inherits, l_inherits, h_sets, l_sets, h_admin, l_admin) AS (
    SELECT m.oid, m.rolname,
           pg_catalog.pg_has_role(roles.h, m.oid, 'USAGE'),
           pg_catalog.pg_has_role(roles.l, m.oid, 'USAGE'),
           pg_catalog.pg_has_role(roles.h, m.oid, become.word),
           pg_catalog.pg_has_role(roles.l, m.oid, become.word),
           pg_catalog.pg_has_role(roles.h, m.oid, 'MEMBER WITH ADMIN OPTION'),
           pg_catalog.pg_has_role(roles.l, m.oid, 'MEMBER WITH ADMIN OPTION')
    FROM roles, version,
         LATERAL (SELECT CASE WHEN num >= 160000 THEN 'SET' ELSE 'MEMBER' END) become (word),
         pg_catalog.pg_roles m
    WHERE m.oid <> roles.l
      AND EXISTS (SELECT FROM pg_catalog.pg_auth_members a
                  WHERE a.member = roles.h AND a.roleid = m.oid)
),
-- What is set for a role, for the database or for all; the value, as SET takes it. A list is kept
-- as SET takes it, but for what a role has set for itself FROM CURRENT: that may be any text.
settings (role, place, name, value, set_to) AS (
    SELECT s.setrole,
           CASE s.setdatabase WHEN 0 THEN ''
                ELSE pg_catalog.format(' IN DATABASE %I', pg_catalog.current_database()) END,
           p.name, p.value,
           CASE WHEN p.name IN ('search_path', 'temp_tablespaces', 'local_preload_libraries',
                                'session_preload_libraries')
                     AND p.value ~ ('^' || names.one || '(, *' || names.one || ')*$')
                THEN p.value
                WHEN p.value = '""' THEN '''''' ELSE pg_catalog.quote_literal(p.value) END
    FROM pg_catalog.pg_db_role_setting s, LATERAL pg_catalog.unnest(s.setconfig) c (whole),
         LATERAL (SELECT pg_catalog.split_part(c.whole, '=', 1),
                         pg_catalog.substr(c.whole,
                                           pg_catalog.strpos(c.whole, '=') + 1)) p (name, value),
         (VALUES ('("([^"]|"")+"|[[:alpha:]_][[:alnum:]_$]*)')) names (one)
    WHERE s.setdatabase IN (0, (SELECT oid FROM pg_catalog.pg_database
                                WHERE datname = pg_catalog.current_database()))
),
policies (policy, relation, permissive, listed, h_falls_under, l_falls_under) AS (
    SELECT p.polname, pg_catalog.format('%I.%I', n.nspname, c.relname), p.polpermissive,
           (SELECT pg_catalog.string_agg(pg_catalog.quote_ident(r.rolname), ', ' ORDER BY r.rolname)
            FROM pg_catalog.pg_roles r WHERE r.oid = ANY (p.polroles)),
           EXISTS (SELECT FROM pg_catalog.unnest(p.polroles) o (oid)
                   WHERE o.oid = 0 OR pg_catalog.pg_has_role(roles.h, o.oid, 'USAGE')),
           EXISTS (SELECT FROM pg_catalog.unnest(p.polroles) o (oid)
                   WHERE o.oid = 0 OR pg_catalog.pg_has_role(roles.l, o.oid, 'USAGE'))
    FROM roles, pg_catalog.pg_policy p
         JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
),
differences (kind, object, privilege, level) AS (
    SELECT e.kind, e.object,
           e.privilege || CASE WHEN e.grantable THEN ' WITH GRANT OPTION' ELSE '' END,
           pg_catalog.format('GRANT %s%s ON %s TO %I%s;', e.privilege, e.columns, e.called, lname,
                             CASE WHEN e.grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM entries e, roles
    WHERE NOT EXISTS (
        SELECT FROM pg_catalog.aclexplode(e.acl || coalesce(e.above, ARRAY[]::aclitem[])) o
        WHERE o.privilege_type = e.privilege AND (o.is_grantable OR NOT e.grantable)
          AND (o.grantee = 0 OR pg_catalog.pg_has_role(roles.l, o.grantee, 'USAGE'))
    )
    UNION ALL
    SELECT 'default privilege',
           pg_catalog.format('%s of %I%s', pg_catalog.lower(d.class), d.role,
                             ' in ' || pg_catalog.quote_ident(d.schema)),
           d.privilege || CASE WHEN d.grantable THEN ' WITH GRANT OPTION' ELSE '' END,
           pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s GRANT %s ON %s TO %I%s;',
                             d.role, ' IN SCHEMA ' || pg_catalog.quote_ident(d.schema),
                             d.privilege, d.class, lname,
                             CASE WHEN d.grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM defaults d, roles
    WHERE d.grantee = roles.h AND d.owner <> roles.h AND NOT EXISTS (
        SELECT FROM defaults o
        WHERE o.owner = d.owner AND o.class = d.class AND o.privilege = d.privilege
          AND o.schema IS NOT DISTINCT FROM d.schema AND (o.grantable OR NOT d.grantable)
          AND (o.grantee = 0 OR pg_catalog.pg_has_role(roles.l, o.grantee, 'USAGE'))
    )
    UNION ALL
    -- What is granted on that which the role itself makes.
    SELECT 'default privilege',
           pg_catalog.format('%s of %I%s', pg_catalog.lower(d.class), d.role,
                             ' in ' || pg_catalog.quote_ident(d.schema)),
           d.privilege || CASE WHEN d.grantable THEN ' WITH GRANT OPTION' ELSE '' END,
           pg_catalog.format('ALTER DEFAULT PRIVILEGES FOR ROLE %I%s GRANT %s ON %s TO %s%s;',
                             lname, ' IN SCHEMA ' || pg_catalog.quote_ident(d.schema),
                             d.privilege, d.class, grantee.name,
                             CASE WHEN d.grantable THEN ' WITH GRANT OPTION' ELSE '' END)
    FROM defaults d, roles,
         LATERAL (SELECT CASE d.grantee WHEN 0 THEN 'PUBLIC'
                         ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(d.grantee)) END
                 ) grantee (name)
    WHERE d.owner = roles.h AND d.grantee NOT IN (roles.h, roles.l)
      -- To all, without a schema: what is there anyhow is written down too.
      AND NOT (d.grantee = 0 AND d.schema IS NULL AND d.class IN ('ROUTINES', 'TYPES'))
      AND NOT EXISTS (
        SELECT FROM defaults o
        WHERE o.owner = roles.l AND o.class = d.class AND o.privilege = d.privilege
          AND o.schema IS NOT DISTINCT FROM d.schema AND o.grantee = d.grantee
          AND (o.grantable OR NOT d.grantable)
    )
    UNION ALL
    SELECT 'membership', pg_catalog.quote_ident(m.name),
           pg_catalog.concat_ws(', ',
               CASE WHEN m.h_sets AND NOT m.l_sets THEN 'SET' END,
               CASE WHEN m.h_inherits AND NOT m.l_inherits THEN 'INHERIT' END,
               CASE WHEN m.h_admin AND NOT m.l_admin THEN 'ADMIN' END),
           CASE WHEN num >= 160000
                THEN pg_catalog.format('GRANT %I TO %I WITH INHERIT %s, SET %s, ADMIN %s;', m.name,
                                       lname, (m.h_inherits OR m.l_inherits)::text,
                                       (m.h_sets OR m.l_sets)::text,
                                       (m.h_admin OR m.l_admin)::text)
                WHEN m.l_sets AND NOT (m.h_admin AND NOT m.l_admin)
                THEN pg_catalog.format('ALTER ROLE %I INHERIT;', lname)
                ELSE pg_catalog.format('GRANT %I TO %I%s;', m.name, lname,
                                       CASE WHEN m.h_admin THEN ' WITH ADMIN OPTION' ELSE '' END)
           END
    FROM memberships m, roles, version
    WHERE (m.h_inherits AND NOT m.l_inherits) OR (m.h_sets AND NOT m.l_sets)
       OR (m.h_admin AND NOT m.l_admin)
    UNION ALL
    SELECT 'attribute', hname, a.word,
           pg_catalog.format('ALTER ROLE %I %s;', lname, a.word)
    FROM roles, pg_catalog.pg_roles h, pg_catalog.pg_roles l,
         LATERAL (VALUES ('SUPERUSER', h.rolsuper, l.rolsuper),
                         ('CREATEROLE', h.rolcreaterole, l.rolcreaterole),
                         ('CREATEDB', h.rolcreatedb, l.rolcreatedb),
                         ('REPLICATION', h.rolreplication, l.rolreplication),
                         ('BYPASSRLS', h.rolbypassrls, l.rolbypassrls),
                         ('INHERIT', h.rolinherit, l.rolinherit)) a (word, h_has, l_has)
    WHERE h.oid = roles.h AND l.oid = roles.l AND a.h_has AND NOT a.l_has
    UNION ALL
    SELECT 'connection limit', hname, coalesce(nullif(h.rolconnlimit, -1)::text, 'none'),
           pg_catalog.format('ALTER ROLE %I CONNECTION LIMIT %s;', lname, h.rolconnlimit)
    FROM roles, pg_catalog.pg_roles h, pg_catalog.pg_roles l
    WHERE h.oid = roles.h AND l.oid = roles.l AND l.rolconnlimit <> -1
      AND (h.rolconnlimit = -1 OR h.rolconnlimit > l.rolconnlimit)
    UNION ALL
    SELECT 'expiry', hname, coalesce(h.rolvaliduntil::text, 'never'),
           pg_catalog.format('ALTER ROLE %I VALID UNTIL %L;', lname,
                             coalesce(h.rolvaliduntil, 'infinity'))
    FROM roles, pg_catalog.pg_roles h, pg_catalog.pg_roles l
    WHERE h.oid = roles.h AND l.oid = roles.l
      AND coalesce(l.rolvaliduntil, 'infinity') < coalesce(h.rolvaliduntil, 'infinity')
    UNION ALL
    SELECT 'setting', s.name || s.place, s.name,
           pg_catalog.format('ALTER ROLE %I%s SET %s TO %s;', lname, s.place, s.name, s.set_to)
    FROM settings s, roles
    WHERE s.role = roles.h AND NOT (s.name = 'role' AND s.value = lname)
      AND NOT EXISTS (SELECT FROM settings o
                      WHERE o.role = roles.l AND (o.place, o.name, o.value)
                                               = (s.place, s.name, s.value))
    UNION ALL
    SELECT CASE WHEN p.permissive THEN 'policy' ELSE 'restrictive policy' END,
           p.relation, pg_catalog.quote_ident(p.policy),
           pg_catalog.format('ALTER POLICY %I ON %s TO %s, %I;', p.policy, p.relation, p.listed,
                             lname)
    FROM policies p, roles
    WHERE p.h_falls_under AND NOT p.l_falls_under
    UNION ALL
    SELECT 'owner', o.type || ' ' || o.identity, 'OWNER',
           coalesce('REASSIGN OWNED BY ' || pg_catalog.quote_ident(hname)
                    || ' TO ' || pg_catalog.quote_ident(g.name) || ';',
                    '-- give it to a group of both: infra/database/adopt.sql')
    FROM roles, pg_catalog.pg_shdepend s,
         LATERAL pg_catalog.pg_identify_object(s.classid, s.objid, s.objsubid) o,
         LATERAL (
             SELECT pg_catalog.min(m.rolname) FROM pg_catalog.pg_roles m
             WHERE m.oid <> roles.h AND NOT m.rolsuper AND NOT m.rolcanlogin
               AND pg_catalog.pg_has_role(roles.h, m.oid, 'MEMBER')
               AND pg_catalog.pg_has_role(roles.l, m.oid, 'MEMBER')
         ) g (name)
    WHERE s.deptype = 'o' AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
      AND s.refobjid = roles.h
      AND s.dbid IN (0, (SELECT oid FROM pg_catalog.pg_database
                         WHERE datname = pg_catalog.current_database()))
      AND s.classid <> 'pg_catalog.pg_default_acl'::pg_catalog.regclass
      AND NOT pg_catalog.pg_has_role(roles.l, roles.h, 'USAGE')
)
SELECT kind, object, privilege, level FROM differences ORDER BY 1, 2, 3;
"""


def statement(version: int) -> str:
    """The query for a server of this version, with the parameters `having` and `lacking`."""
    parameters = PARAMETERS if version >= PARAMETERS_SINCE else ""
    text = f"{ROLES}{parameters}{DIFFERENCES}".replace("%", "%%")
    return text.replace("{having}", "%(having)s").replace("{lacking}", "%(lacking)s")
