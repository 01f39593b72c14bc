-- The verdict of a one-sided test says what it excludes.

UPDATE verdicts SET verdict = replace(verdict, 'negligible effect', 'no gain above the SESOI')
    WHERE verdict LIKE 'negligible effect%';
