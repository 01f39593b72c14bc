-- The content of tables: trials that the newest run requested as a configuration, under one recipe and one code.
-- Excluded: points of a sweep (ARM#NUMBER, not an arm of the suite), dependencies and imported results. Arms that the tuned protocol
-- changes have their own protocol: `tuned` as each chose, `rates` for the learning-rate sensitivity.
-- Columns are named one by one, so that a column that a table gets later does not alter a view.

CREATE VIEW cell_trials AS
WITH known AS (
    SELECT run_id, suite, scale, started_at, environment_id,
        json_keys(spec, '$.arms') AS arms,
        regexp_extract(spec ->> '$.tuned.rates.key', '[^.]+$') AS rate
    FROM runs
    WHERE suite IS NOT NULL
)
SELECT
    known.suite, known.scale, asked.benchmark, asked.arm,
    CASE
        WHEN known.rate IS NULL OR list_contains(known.arms, asked.arm) THEN 'published'
        WHEN list_contains(known.arms, regexp_extract(asked.arm, '^(.*)-tuned$', 1)) THEN 'tuned'
        WHEN list_contains(known.arms, regexp_extract(asked.arm, '^(.*)-' || known.rate || '-[0-9.e+-]+$', 1))
            THEN 'rates'
        ELSE 'published'
    END AS protocol,
    trials.seed, trials.status, asked.trial_id, asked.run_id, known.started_at AS run_started_at,
    asked.reused, trials.spec_id, trials.fingerprint, trials.environment_id,
    asked.run_id = first_value(asked.run_id) OVER (
        PARTITION BY known.suite, known.scale, asked.benchmark, asked.arm
        ORDER BY known.started_at DESC NULLS LAST, asked.run_id DESC
    ) AS newest
FROM run_trials AS asked
JOIN known ON known.run_id = asked.run_id
JOIN trials ON trials.trial_id = asked.trial_id
WHERE (list_contains(known.arms, asked.arm) OR NOT regexp_matches(asked.arm, '#[0-9]+$'))
    AND NOT starts_with(asked.arm, 'prerequisite:')
    AND trials.fingerprint <> 'imported';

-- The documented way to results in SQL: final numbers of finished trials of the newest run of each configuration.

CREATE VIEW current_results AS
SELECT
    cell.suite, cell.scale, cell.benchmark, cell.arm, cell.protocol, cell.seed, results.split, results.metric,
    results.value, cell.trial_id, cell.run_id
FROM cell_trials AS cell
JOIN results ON results.trial_id = cell.trial_id
WHERE cell.newest AND cell.status = 'done';
