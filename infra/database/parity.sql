-- What one role may do in this database and another may not: an empty answer is a pass.
-- Variables: having, lacking.

WITH objects (kind, object, privilege, one_may, other_may) AS (
    SELECT 'schema', quote_ident(n.nspname), p,
           has_schema_privilege(:'having', n.oid, p), has_schema_privilege(:'lacking', n.oid, p)
    FROM pg_namespace n, unnest(ARRAY['USAGE', 'CREATE']) p
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT 'table', c.oid::regclass::text, p,
           has_table_privilege(:'having', c.oid, p), has_table_privilege(:'lacking', c.oid, p)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) p
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT 'column', c.oid::regclass::text || '.' || quote_ident(a.attname), p,
           has_column_privilege(:'having', c.oid, a.attnum, p),
           has_column_privilege(:'lacking', c.oid, a.attnum, p)
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid,
         unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) p
    WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
    UNION ALL
    SELECT 'sequence', c.oid::regclass::text, p,
           has_sequence_privilege(:'having', c.oid, p), has_sequence_privilege(:'lacking', c.oid, p)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
         unnest(ARRAY['USAGE', 'SELECT', 'UPDATE']) p
    WHERE c.relkind = 'S' AND n.nspname !~ '^pg_'
    UNION ALL
    SELECT 'routine', r.oid::regprocedure::text, p,
           has_function_privilege(:'having', r.oid, p), has_function_privilege(:'lacking', r.oid, p)
    FROM pg_proc r JOIN pg_namespace n ON n.oid = r.pronamespace, unnest(ARRAY['EXECUTE']) p
    WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
    UNION ALL
    SELECT 'database', quote_ident(d.datname), p,
           has_database_privilege(:'having', d.oid, p), has_database_privilege(:'lacking', d.oid, p)
    FROM pg_database d, unnest(ARRAY['CONNECT', 'CREATE', 'TEMPORARY']) p
    WHERE d.datname = current_database()
    UNION ALL
    SELECT 'membership', quote_ident(m.rolname), 'MEMBER',
           pg_has_role(:'having', m.oid, 'MEMBER'), pg_has_role(:'lacking', m.oid, 'MEMBER')
    FROM pg_roles m
    WHERE NOT m.rolsuper AND m.rolname NOT IN (:'having', :'lacking')
    UNION ALL
    SELECT 'owner', coalesce(c.oid::regclass::text, s.classid::regclass::text), 'OWNER',
           true, false
    FROM pg_shdepend s LEFT JOIN pg_class c ON s.classid = 'pg_class'::regclass AND c.oid = s.objid
    WHERE s.deptype = 'o' AND s.refobjid = (SELECT oid FROM pg_roles WHERE rolname = :'having')
      AND s.dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
      AND NOT pg_has_role(:'lacking', s.refobjid, 'MEMBER')
    UNION ALL
    SELECT 'setting', split_part(v, '=', 1), v, true, false
    FROM pg_db_role_setting g, unnest(g.setconfig) v
    WHERE g.setrole = (SELECT oid FROM pg_roles WHERE rolname = :'having')
      AND split_part(v, '=', 1) <> 'role'
      AND NOT EXISTS (
          SELECT FROM pg_db_role_setting o
          WHERE o.setrole = (SELECT oid FROM pg_roles WHERE rolname = :'lacking')
            AND v = ANY (o.setconfig)
      )
)
SELECT kind, object, privilege FROM objects WHERE one_may AND NOT other_may ORDER BY 1, 2, 3;
