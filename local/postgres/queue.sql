-- The queue of the sample worker (`local.workload.worker`), in the application's database.

CREATE TABLE jobs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    done_as text, -- the role that has done it, and the pod
    done_by text
);
CREATE TABLE begun (job bigint NOT NULL, pod text NOT NULL); -- a row for each time that one was begun

GRANT SELECT, INSERT, UPDATE ON jobs, begun TO :"group";
