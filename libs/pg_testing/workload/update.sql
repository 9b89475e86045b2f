-- Replaces rows without changing their keys.
\set row random(1, 5)
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = :row;
UPDATE pgbench_branches SET bbalance = bbalance + 1 WHERE bid = 1 + :row % 2;
