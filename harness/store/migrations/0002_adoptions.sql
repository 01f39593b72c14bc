-- Trials of older code that count as today's, since a sample of them ran again and gave the same bits.

CREATE TABLE adoptions (
    trial_id VARCHAR NOT NULL,
    adopted_from VARCHAR,
    fingerprint VARCHAR,
    verified_at TIMESTAMP,
    sample BIGINT,
    numbers BIGINT,
    PRIMARY KEY (trial_id)
);
