-- The login that rotates, where it has a password (docs/onboarding.md tells of the other way).
-- Variables: rotator, verifier (a SCRAM verifier, not a password).

CREATE ROLE :"rotator" LOGIN PASSWORD :'verifier';
