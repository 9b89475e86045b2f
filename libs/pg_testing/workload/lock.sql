-- Locks a row version that another session has already replaced: the lock follows the chain.
\set row random(1, 5)
BEGIN ISOLATION LEVEL REPEATABLE READ;
SELECT count(*) FROM pgbench_branches;
\sleep 4 ms
SELECT bid FROM pgbench_branches WHERE bid = 1 + :row % 2 FOR KEY SHARE;
SELECT aid FROM pgbench_accounts WHERE aid = :row FOR KEY SHARE;
COMMIT;
