-- On which machine of a cluster a trial ran.

ALTER TABLE trials ADD COLUMN node VARCHAR;
ALTER TABLE forgotten.trials ADD COLUMN node VARCHAR;
