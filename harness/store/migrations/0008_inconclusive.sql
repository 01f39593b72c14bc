-- Verdicts have one name at every scale; claims on stand-ins had others before.

UPDATE verdicts SET verdict = replace(verdict, 'undecided', 'inconclusive') WHERE verdict LIKE 'undecided%';
UPDATE verdicts SET verdict = replace(verdict, 'no effect worth having', 'negligible effect')
    WHERE verdict LIKE 'no effect worth having%';
