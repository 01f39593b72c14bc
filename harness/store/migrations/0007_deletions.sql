-- Deletion is a mark. A table that has rows about trials is kept under NAME_with_deleted, with the time at which a row
-- was deleted (NULL: it was not); the view of the public name leaves deleted rows out. The stored tables have no primary
-- key, since a deleted trial may run again: the ingest replaces the row of a key that is not deleted.
-- A later migration that adds a column to one of them alters the stored table and creates its view again.

CREATE TABLE deletions (
    deletion_id VARCHAR NOT NULL,
    deleted_at TIMESTAMP,
    restored_at TIMESTAMP,
    reason VARCHAR,
    command VARCHAR,
    PRIMARY KEY (deletion_id)
);
INSERT INTO deletions SELECT forget_id, forgotten_at, restored_at, reason, command FROM forgettings;
DROP TABLE forgettings;

CREATE TABLE trials_with_deleted AS
SELECT *, CAST(NULL AS TIMESTAMP) AS deleted_at FROM trials UNION ALL BY NAME
SELECT f.* EXCLUDE (forget_id), d.deleted_at FROM forgotten.trials f JOIN deletions d ON f.forget_id = d.deletion_id;
DROP TABLE trials;
CREATE VIEW trials AS SELECT * EXCLUDE (deleted_at) FROM trials_with_deleted WHERE deleted_at IS NULL;

CREATE TABLE results_with_deleted AS
SELECT *, CAST(NULL AS TIMESTAMP) AS deleted_at FROM results UNION ALL BY NAME
SELECT f.* EXCLUDE (forget_id), d.deleted_at FROM forgotten.results f JOIN deletions d ON f.forget_id = d.deletion_id;
DROP TABLE results;
CREATE VIEW results AS SELECT * EXCLUDE (deleted_at) FROM results_with_deleted WHERE deleted_at IS NULL;

CREATE TABLE metrics_with_deleted AS
SELECT *, CAST(NULL AS TIMESTAMP) AS deleted_at FROM metrics UNION ALL BY NAME
SELECT f.* EXCLUDE (forget_id), d.deleted_at FROM forgotten.metrics f JOIN deletions d ON f.forget_id = d.deletion_id;
DROP TABLE metrics;
CREATE VIEW metrics AS SELECT * EXCLUDE (deleted_at) FROM metrics_with_deleted WHERE deleted_at IS NULL;

CREATE TABLE artifacts_with_deleted AS
SELECT *, CAST(NULL AS TIMESTAMP) AS deleted_at FROM artifacts UNION ALL BY NAME
SELECT f.* EXCLUDE (forget_id), d.deleted_at FROM forgotten.artifacts f JOIN deletions d ON f.forget_id = d.deletion_id;
DROP TABLE artifacts;
CREATE VIEW artifacts AS SELECT * EXCLUDE (deleted_at) FROM artifacts_with_deleted WHERE deleted_at IS NULL;

CREATE TABLE adoptions_with_deleted AS
SELECT *, CAST(NULL AS TIMESTAMP) AS deleted_at FROM adoptions UNION ALL BY NAME
SELECT f.* EXCLUDE (forget_id), d.deleted_at FROM forgotten.adoptions f JOIN deletions d ON f.forget_id = d.deletion_id;
DROP TABLE adoptions;
CREATE VIEW adoptions AS SELECT * EXCLUDE (deleted_at) FROM adoptions_with_deleted WHERE deleted_at IS NULL;

CREATE TABLE sweep_points_with_deleted AS
SELECT *, CAST(NULL AS TIMESTAMP) AS deleted_at FROM sweep_points UNION ALL BY NAME
SELECT f.* EXCLUDE (forget_id), d.deleted_at FROM forgotten.sweep_points f JOIN deletions d ON f.forget_id = d.deletion_id;
DROP TABLE sweep_points;
CREATE VIEW sweep_points AS SELECT * EXCLUDE (deleted_at) FROM sweep_points_with_deleted WHERE deleted_at IS NULL;

CREATE TABLE events_with_deleted AS
SELECT *, CAST(NULL AS TIMESTAMP) AS deleted_at FROM events UNION ALL BY NAME
SELECT f.* EXCLUDE (forget_id), d.deleted_at FROM forgotten.events f JOIN deletions d ON f.forget_id = d.deletion_id;
DROP TABLE events;
CREATE VIEW events AS SELECT * EXCLUDE (deleted_at) FROM events_with_deleted WHERE deleted_at IS NULL;

CREATE TABLE gates_with_deleted AS
SELECT *, CAST(NULL AS TIMESTAMP) AS deleted_at FROM gates UNION ALL BY NAME
SELECT f.* EXCLUDE (forget_id), d.deleted_at FROM forgotten.gates f JOIN deletions d ON f.forget_id = d.deletion_id;
DROP TABLE gates;
CREATE VIEW gates AS SELECT * EXCLUDE (deleted_at) FROM gates_with_deleted WHERE deleted_at IS NULL;

-- Trials of a run stay linked, whatever became of the trials.
INSERT INTO run_trials BY NAME SELECT DISTINCT * EXCLUDE (forget_id) FROM forgotten.run_trials ON CONFLICT DO NOTHING;
DROP SCHEMA forgotten CASCADE;
