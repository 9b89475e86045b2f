-- Makes a server log every kind of change to heap, visibility map, B-tree and sequence pages.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

-- Heap: inserts, updates within and across pages, shared prefixes and suffixes, deletes.
CREATE TABLE t (id int PRIMARY KEY, a int, b text, pad text) WITH (fillfactor = 70);
INSERT INTO t SELECT i, i % 100, 'value ' || i, repeat('x', i % 50) FROM generate_series(1, 6000) i;
CREATE INDEX t_a ON t (a);
CREATE INDEX t_b ON t (b);
UPDATE t SET pad = pad || 'y' WHERE id % 3 = 0;
UPDATE t SET a = a + 1 WHERE id % 5 = 0;
UPDATE t SET b = 'changed ' || b, pad = repeat('z', 400) WHERE id % 7 = 0;
DELETE FROM t WHERE id % 11 = 0;
SELECT count(*) FROM t WHERE pad LIKE 'x%';
SELECT id FROM t WHERE id < 50 FOR UPDATE;
SELECT id FROM t WHERE id < 50 FOR KEY SHARE;
VACUUM t;
SET wal_compression = pglz;
UPDATE t SET pad = 'again' WHERE id % 4 = 0;
VACUUM (FREEZE) t;
DELETE FROM t WHERE id BETWEEN 1000 AND 6000;
VACUUM t;
INSERT INTO t SELECT i, i, 'new ' || i, '' FROM generate_series(10000, 14000) i;
VACUUM (FREEZE) t;
UPDATE t SET pad = 'hot' WHERE id > 13000;
SELECT id FROM t WHERE id BETWEEN 10000 AND 10100 FOR UPDATE;

-- Several transactions and savepoints on the same tuples: locks, multixacts, aborted changes.
BEGIN;
SELECT id FROM t WHERE id = 10200 FOR KEY SHARE;
SAVEPOINT s1;
UPDATE t SET pad = 'sub' WHERE id = 10200;
ROLLBACK TO s1;
UPDATE t SET pad = 'sub2' WHERE id = 10200;
COMMIT;
BEGIN;
SELECT id FROM t WHERE id = 10201 FOR SHARE;
SAVEPOINT s2;
SELECT id FROM t WHERE id = 10201 FOR UPDATE;
SAVEPOINT s3;
DELETE FROM t WHERE id = 10201;
ROLLBACK;

-- Page deletion in B-trees of two and more levels, then reuse.
DO $$ BEGIN PERFORM set_config('wal_compression', 'lz4', false);
EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'this build has no lz4'; END $$;
CREATE TABLE wide (k text);
INSERT INTO wide SELECT repeat(md5(i::text), 30) FROM generate_series(1, 4000) i;
CREATE INDEX wide_k ON wide (k);
INSERT INTO wide SELECT repeat(md5(i::text), 30) FROM generate_series(4001, 7000) i;
DELETE FROM wide WHERE k < '8';
VACUUM wide;
DELETE FROM wide WHERE k < 'f';
VACUUM wide;
VACUUM wide;
INSERT INTO wide SELECT repeat(md5(i::text), 30) FROM generate_series(7001, 9000) i;
DELETE FROM wide;
VACUUM wide;
VACUUM wide;

-- Deduplication, splits of posting lists, deletion from posting lists.
DO $$ BEGIN PERFORM set_config('wal_compression', 'zstd', false);
EXCEPTION WHEN OTHERS THEN RAISE NOTICE 'this build has no zstd'; END $$;
CREATE TABLE dup (v int, w int);
CREATE INDEX dup_v ON dup (v);
CREATE UNIQUE INDEX dup_w ON dup (w);
INSERT INTO dup SELECT i % 20, i FROM generate_series(1, 12000) i;
DELETE FROM dup WHERE w % 3 = 0;
VACUUM dup;
INSERT INTO dup SELECT i % 20, i FROM generate_series(20001, 26000) i;
UPDATE dup SET w = w + 100000 WHERE v = 3;
UPDATE dup SET w = w + 100000 WHERE v = 3;
UPDATE dup SET v = v WHERE w % 2 = 0;
DELETE FROM dup WHERE v IN (4, 5, 6);
SET enable_seqscan = off;
SELECT count(*) FROM dup WHERE v IN (4, 5, 6);
INSERT INTO dup SELECT i % 20, i FROM generate_series(1000001, 1009000) i;
VACUUM dup;
RESET enable_seqscan;

-- Speculative insertion, sequences, TOAST, multi-insert, in-place updates.
SET wal_compression = off;
INSERT INTO t VALUES (10000, 1, 'conflict', '') ON CONFLICT (id) DO UPDATE SET b = 'upserted';
INSERT INTO t VALUES (99999, 1, 'fresh', '') ON CONFLICT DO NOTHING;
CREATE SEQUENCE seq CACHE 1;
SELECT count(nextval('seq')) FROM generate_series(1, 500);
SELECT setval('seq', 100000);
CREATE TABLE big (id serial, data text);
ALTER TABLE big ALTER data SET STORAGE EXTERNAL;
INSERT INTO big (data) SELECT repeat(md5(i::text), 500) FROM generate_series(1, 100) i;
UPDATE big SET data = data || 'tail' WHERE id % 2 = 0;
DELETE FROM big WHERE id % 3 = 0;
VACUUM big;
CREATE TABLE source AS SELECT i, md5(i::text) AS m FROM generate_series(1, 10000) i;
CREATE TABLE copied (i int, m text);
\copy copied FROM PROGRAM 'seq 1 10000 | sed s/$/,copied/' WITH (FORMAT csv)
BEGIN;
TRUNCATE copied;
\copy copied FROM PROGRAM 'seq 1 5000 | sed s/$/,frozen/' WITH (FORMAT csv, FREEZE)
COMMIT;
DELETE FROM copied WHERE i % 10 = 0;
ANALYZE;

-- Partition moves, prepared transactions, catalog changes.
CREATE TABLE part (k int, v text) PARTITION BY LIST (k);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2);
INSERT INTO part SELECT 1, i::text FROM generate_series(1, 300) i;
UPDATE part SET k = 2 WHERE v::int % 2 = 0;
BEGIN;
INSERT INTO t VALUES (200000, 1, 'prepared', '');
DELETE FROM t WHERE id = 10300;
PREPARE TRANSACTION 'p1';
BEGIN;
UPDATE t SET a = 5 WHERE id = 10301;
PREPARE TRANSACTION 'p2';
COMMIT PREPARED 'p1';
ROLLBACK PREPARED 'p2';
CREATE DATABASE other;
DROP DATABASE other;
ALTER TABLE t ADD COLUMN c int DEFAULT 7;
ALTER TABLE t ALTER COLUMN a TYPE bigint;
CREATE UNLOGGED TABLE unl (i int PRIMARY KEY);
INSERT INTO unl SELECT generate_series(1, 100);
CHECKPOINT;
UPDATE t SET pad = 'after checkpoint' WHERE id % 13 = 0;
VACUUM (FULL) dup;
REINDEX TABLE t;
CLUSTER t USING t_pkey;
VACUUM (FREEZE);
CHECKPOINT;
