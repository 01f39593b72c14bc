-- The tables of schema 1. Times are UTC TIMESTAMPs. `at` and `offset` are words of SQL: quote them.

CREATE TABLE runs (
    run_id VARCHAR NOT NULL,
    suite VARCHAR,
    scale VARCHAR,
    started_at TIMESTAMP,
    finished_at TIMESTAMP,
    status VARCHAR,
    git_commit VARCHAR,
    git_dirty BOOLEAN,
    command VARCHAR,
    environment_id VARCHAR,
    spec JSON,
    PRIMARY KEY (run_id)
);

CREATE TABLE trials (
    trial_id VARCHAR NOT NULL,
    spec_id VARCHAR,
    fingerprint VARCHAR,
    suite VARCHAR,
    benchmark VARCHAR,
    arm VARCHAR,
    seed BIGINT,
    scale VARCHAR,
    stand_in VARCHAR[],
    status VARCHAR,
    attempts BIGINT,
    started_at TIMESTAMP,
    wall_seconds DOUBLE,
    cpu_seconds DOUBLE,
    peak_memory_mb DOUBLE,
    device VARCHAR,
    error VARCHAR,
    spec JSON,
    environment_id VARCHAR,
    PRIMARY KEY (trial_id)
);

CREATE TABLE run_trials (
    run_id VARCHAR NOT NULL,
    trial_id VARCHAR NOT NULL,
    benchmark VARCHAR NOT NULL,
    arm VARCHAR NOT NULL,
    reused BOOLEAN,
    PRIMARY KEY (run_id, trial_id, benchmark, arm)
);

-- No key: exactly-once ingestion takes its place, at a tenth of the time and a seventh of the size.
CREATE TABLE metrics (
    trial_id VARCHAR,
    split VARCHAR,
    name VARCHAR,
    step BIGINT,
    epoch DOUBLE,
    value DOUBLE,
    elapsed_seconds DOUBLE
);

CREATE TABLE results (
    trial_id VARCHAR NOT NULL,
    split VARCHAR NOT NULL,
    metric VARCHAR NOT NULL,
    value DOUBLE,
    PRIMARY KEY (trial_id, split, metric)
);

CREATE TABLE artifacts (
    trial_id VARCHAR NOT NULL,
    name VARCHAR NOT NULL,
    kind VARCHAR,
    path VARCHAR,
    caption VARCHAR,
    PRIMARY KEY (trial_id, name)
);

CREATE TABLE events (
    run_id VARCHAR,
    "at" TIMESTAMP,
    kind VARCHAR,
    detail JSON
);

CREATE TABLE claims (
    claim_id VARCHAR NOT NULL,
    suite VARCHAR NOT NULL,
    benchmark VARCHAR,
    model VARCHAR,
    metric VARCHAR,
    unit VARCHAR,
    better VARCHAR,
    method VARCHAR,
    baseline VARCHAR,
    published_method DOUBLE,
    published_baseline DOUBLE,
    published_difference DOUBLE,
    computed_difference DOUBLE,
    gain_difference DOUBLE,
    setting VARCHAR,
    kind VARCHAR,
    scope VARCHAR,
    is_primary BOOLEAN,
    statement VARCHAR,
    source VARCHAR,
    trust VARCHAR,
    unbound VARCHAR,
    PRIMARY KEY (claim_id, suite)
);

CREATE TABLE gates (
    claim_id VARCHAR,
    scale VARCHAR,
    metric VARCHAR,
    arm VARCHAR,
    value DOUBLE,
    threshold DOUBLE,
    passed BOOLEAN
);

CREATE TABLE verdicts (
    claim_id VARCHAR NOT NULL,
    scale VARCHAR NOT NULL,
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
    PRIMARY KEY (claim_id, scale, judged_at)
);

CREATE TABLE verdict_trials (
    claim_id VARCHAR NOT NULL,
    scale VARCHAR NOT NULL,
    judged_at TIMESTAMP NOT NULL,
    trial_id VARCHAR NOT NULL,
    side VARCHAR NOT NULL,
    PRIMARY KEY (claim_id, scale, judged_at, trial_id, side)
);

CREATE TABLE environments (
    environment_id VARCHAR NOT NULL,
    info JSON,
    PRIMARY KEY (environment_id)
);

CREATE TABLE sweeps (
    sweep_id VARCHAR NOT NULL,
    suite VARCHAR,
    benchmark VARCHAR,
    arms VARCHAR[],
    sampler VARCHAR,
    budget BIGINT,
    scale VARCHAR,
    status VARCHAR,
    started_at TIMESTAMP,
    spec JSON,
    PRIMARY KEY (sweep_id)
);

CREATE TABLE sweep_points (
    sweep_id VARCHAR NOT NULL,
    arm VARCHAR NOT NULL,
    number BIGINT NOT NULL,
    params JSON,
    value DOUBLE,
    status VARCHAR,
    trial_ids JSON,
    told_at TIMESTAMP,
    PRIMARY KEY (sweep_id, arm, number)
);

CREATE TABLE progress (
    trial_id VARCHAR NOT NULL,
    step BIGINT,
    steps BIGINT,
    loss DOUBLE,
    "at" TIMESTAMP,
    PRIMARY KEY (trial_id)
);

CREATE TABLE ingested (
    segment VARCHAR NOT NULL,
    "offset" BIGINT,
    PRIMARY KEY (segment)
);
