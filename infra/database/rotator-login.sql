-- The login that rotates, where it has a password (rotator-entra.sql is the other way).
-- Variables: rotator, verifier (a SCRAM verifier, not a password).

CREATE ROLE :"rotator" LOGIN PASSWORD :'verifier';
