-- "inconclusive" has one name at every scale; claims on stand-ins called it "undecided" before.

UPDATE verdicts SET verdict = replace(verdict, 'undecided', 'inconclusive') WHERE verdict LIKE 'undecided%';
