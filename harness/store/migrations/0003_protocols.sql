-- A claim is judged under two protocols: the paper's hyper-parameters, and each arm's own, tuned at equal budgets.
-- Verdicts that were stored before there were two are published.

ALTER TABLE verdicts RENAME TO verdicts_before;

CREATE TABLE verdicts (
    claim_id VARCHAR NOT NULL,
    scale VARCHAR NOT NULL,
    protocol VARCHAR NOT NULL,
    judged_at TIMESTAMP NOT NULL,
    n BIGINT,
    difference DOUBLE,
    ci_low DOUBLE,
    ci_high DOUBLE,
    p DOUBLE,
    adjusted_p DOUBLE,
    e_value DOUBLE,
    verdict VARCHAR,
    stand_in VARCHAR[],
    sequential BOOLEAN,
    design JSON,
    PRIMARY KEY (claim_id, scale, protocol, judged_at)
);

INSERT INTO verdicts BY NAME SELECT *, 'published' AS protocol FROM verdicts_before;
DROP TABLE verdicts_before;

ALTER TABLE verdict_trials RENAME TO verdict_trials_before;

CREATE TABLE verdict_trials (
    claim_id VARCHAR NOT NULL,
    scale VARCHAR NOT NULL,
    protocol VARCHAR NOT NULL,
    judged_at TIMESTAMP NOT NULL,
    trial_id VARCHAR NOT NULL,
    side VARCHAR NOT NULL,
    PRIMARY KEY (claim_id, scale, protocol, judged_at, trial_id, side)
);

INSERT INTO verdict_trials BY NAME SELECT *, 'published' AS protocol FROM verdict_trials_before;
DROP TABLE verdict_trials_before;

ALTER TABLE gates ADD COLUMN protocol VARCHAR DEFAULT 'published';
