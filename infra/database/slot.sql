-- One slot's login role, run once per slot. It cannot log in until a rotation activates it.
-- Variables: role, group.

CREATE ROLE :"role" NOLOGIN IN ROLE :"group";

-- A session of this login acts as the group from its first statement, so whatever the application
-- creates belongs to the group, and the other slot may read, alter and drop it. Without this, a
-- table made by one login is closed to the other. The server still tells the logins apart:
-- session_user, pg_stat_activity.usename and the log's %u stay the login role.
ALTER ROLE :"role" SET role = :'group';
