-- Gives a live login's objects to the group. May be run again, and should be once the sessions that
-- were open at the first time are gone: what they created since is still theirs.
-- Run in one transaction (psql --single-transaction). Variables: role, group.

-- A change of owner waits for whoever uses the table, and everybody else waits behind it: better
-- to give up soon and try again.
SET LOCAL lock_timeout = '3s';

-- First of all, so that the login loses no right at any moment: it has them through the group.
GRANT :"group" TO :"role";

SET LOCAL adopt.owner = :'role';
SET LOCAL adopt.heir = :'group';

-- An administrator who is no superuser may do the rest only as a member of both. What they lack of
-- that they get for the moment, and have afterwards the memberships that they had before, with the
-- options that these had.
DO $$
DECLARE
    owner constant text := current_setting('adopt.owner');
    heir constant text := current_setting('adopt.heir');
    has_options constant boolean := current_setting('server_version_num')::int >= 160000;
    own constant oid := (SELECT oid FROM pg_roles WHERE rolname = current_user);
    before constant jsonb := (
        SELECT coalesce(jsonb_agg(to_jsonb(m)), '[]') FROM pg_auth_members m WHERE m.member = own
    );
    needed text;
    membership record;
BEGIN
    FOREACH needed IN ARRAY ARRAY[heir, owner] LOOP
        CONTINUE WHEN pg_has_role(needed, 'USAGE')
            AND pg_has_role(needed, CASE WHEN has_options THEN 'SET' ELSE 'MEMBER' END);
        EXECUTE format(
            'GRANT %I TO CURRENT_USER%s', needed,
            CASE WHEN has_options THEN ' WITH INHERIT TRUE, SET TRUE' ELSE '' END
        );
    END LOOP;

    EXECUTE format('REASSIGN OWNED BY %I TO %I', owner, heir);

    FOR membership IN
        SELECT pg_get_userbyid(m.roleid) AS role, pg_get_userbyid(m.grantor) AS grantor, b.was
        FROM pg_auth_members m LEFT JOIN jsonb_array_elements(before) b (was)
            ON b.was ->> 'roleid' = m.roleid::text AND b.was ->> 'grantor' = m.grantor::text
        WHERE m.member = own AND b.was IS DISTINCT FROM to_jsonb(m)
    LOOP
        IF membership.was IS NULL THEN
            EXECUTE format(
                'REVOKE %I FROM CURRENT_USER GRANTED BY %I', membership.role, membership.grantor
            );
        ELSE
            EXECUTE format(
                'GRANT %I TO CURRENT_USER WITH INHERIT %s, SET %s GRANTED BY %I',
                membership.role, membership.was ->> 'inherit_option',
                membership.was ->> 'set_option', membership.grantor
            );
        END IF;
    END LOOP;
END
$$;
