-- Tags of runs, deleted trials, and the suite of each verdict.

CREATE TABLE tags (
    run_id VARCHAR NOT NULL,
    tag VARCHAR NOT NULL,
    tagged_at TIMESTAMP,
    PRIMARY KEY (run_id, tag)
);

CREATE TABLE forgettings (
    forget_id VARCHAR NOT NULL,
    forgotten_at TIMESTAMP,
    restored_at TIMESTAMP,
    reason VARCHAR,
    command VARCHAR,
    PRIMARY KEY (forget_id)
);

-- Two suites may call a claim alike. Verdicts that were stored without their suite get it where only one has the claim.
ALTER TABLE verdicts ADD COLUMN suite VARCHAR;
ALTER TABLE verdict_trials ADD COLUMN suite VARCHAR;
ALTER TABLE gates ADD COLUMN suite VARCHAR;
UPDATE verdicts SET suite = c.suite
FROM (SELECT claim_id, any_value(suite) AS suite FROM claims GROUP BY claim_id HAVING count(*) = 1) c
WHERE c.claim_id = verdicts.claim_id;
UPDATE verdict_trials SET suite = c.suite
FROM (SELECT claim_id, any_value(suite) AS suite FROM claims GROUP BY claim_id HAVING count(*) = 1) c
WHERE c.claim_id = verdict_trials.claim_id;
UPDATE gates SET suite = c.suite
FROM (SELECT claim_id, any_value(suite) AS suite FROM claims GROUP BY claim_id HAVING count(*) = 1) c
WHERE c.claim_id = gates.claim_id;

-- The rows of deleted trials as they were; `forgotten.trials` has the columns of `trials`, and so on.
CREATE SCHEMA forgotten;
CREATE TABLE forgotten.trials AS SELECT CAST(NULL AS VARCHAR) AS forget_id, * FROM trials LIMIT 0;
CREATE TABLE forgotten.results AS SELECT CAST(NULL AS VARCHAR) AS forget_id, * FROM results LIMIT 0;
CREATE TABLE forgotten.metrics AS SELECT CAST(NULL AS VARCHAR) AS forget_id, * FROM metrics LIMIT 0;
CREATE TABLE forgotten.artifacts AS SELECT CAST(NULL AS VARCHAR) AS forget_id, * FROM artifacts LIMIT 0;
CREATE TABLE forgotten.run_trials AS SELECT CAST(NULL AS VARCHAR) AS forget_id, * FROM run_trials LIMIT 0;
CREATE TABLE forgotten.adoptions AS SELECT CAST(NULL AS VARCHAR) AS forget_id, * FROM adoptions LIMIT 0;
CREATE TABLE forgotten.events AS SELECT CAST(NULL AS VARCHAR) AS forget_id, * FROM events LIMIT 0;
CREATE TABLE forgotten.sweep_points AS SELECT CAST(NULL AS VARCHAR) AS forget_id, * FROM sweep_points LIMIT 0;
CREATE TABLE forgotten.gates AS SELECT CAST(NULL AS VARCHAR) AS forget_id, * FROM gates LIMIT 0;
