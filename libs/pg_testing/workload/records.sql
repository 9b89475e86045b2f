-- Makes a server log the records that ordinary work seldom needs.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
-- It has survived a crash.
COMMIT PREPARED 'waiting';
SET enable_seqscan = off;
SET enable_bitmapscan = off;

-- B-tree: pages freed and used again; a tree that shrinks to one leaf and grows again.
CREATE TABLE shrunk (k int PRIMARY KEY);
INSERT INTO shrunk SELECT generate_series(1, 20000);
DELETE FROM shrunk WHERE k < 19990;
VACUUM shrunk;

SELECT pg_current_xact_id();
SELECT pg_current_xact_id();
VACUUM shrunk;
INSERT INTO shrunk SELECT generate_series(30001, 32000);

-- GIN: leaves of a posting tree that become empty.
CREATE TABLE postings (a int[]);
INSERT INTO postings SELECT ARRAY[1, 2] FROM generate_series(1, 60000);
CREATE INDEX postings_a ON postings USING gin (a);
DELETE FROM postings WHERE ctid BETWEEN '(60,0)' AND '(300,0)';
VACUUM postings;

-- GiST and hash: entries known to be dead are removed to make room; pages are used again.
CREATE TABLE dying (k int, p point) WITH (autovacuum_enabled = off);
CREATE INDEX dying_k ON dying USING hash (k);
CREATE INDEX dying_p ON dying USING gist (p);
INSERT INTO dying SELECT 1, point(1, 1) FROM generate_series(1, 1500);
DELETE FROM dying;
SELECT count(*) FROM dying WHERE k = 1;
SELECT count(*) FROM dying WHERE p <@ box '((0,0),(2,2))';
INSERT INTO dying SELECT 1, point(1, 1) FROM generate_series(1, 1500);
CREATE TABLE reused (p point);
CREATE INDEX reused_p ON reused USING gist (p);
INSERT INTO reused SELECT point(i, i) FROM generate_series(1, 3000) i;
DELETE FROM reused WHERE p[0] < 2500;
VACUUM reused;
SELECT pg_current_xact_id();
SELECT pg_current_xact_id();
VACUUM reused;
INSERT INTO reused SELECT point(-i, i % 100) FROM generate_series(1, 3000) i;

-- SP-GiST: a prefix that a new value does not share; deletion from a root that is a leaf.
CREATE TABLE prefixes (t text);
CREATE INDEX prefixes_t ON prefixes USING spgist (t);
INSERT INTO prefixes SELECT repeat('p', 60) || md5(i::text) FROM generate_series(1, 1500) i;
INSERT INTO prefixes SELECT repeat('p', 5 + i) || 'q' || i FROM generate_series(1, 40) i;
CREATE TABLE few (t text);
CREATE INDEX few_t ON few USING spgist (t);
INSERT INTO few SELECT i::text FROM generate_series(1, 50) i;
DELETE FROM few WHERE t < '3';
VACUUM few;

-- BRIN: summaries that outgrow their page.
CREATE TABLE summaries (i int, v text, pad char(3000));
ALTER TABLE summaries ALTER pad SET STORAGE plain, ALTER v SET STORAGE plain;
CREATE INDEX summaries_v ON summaries USING brin (v) WITH (pages_per_range = 1);
INSERT INTO summaries SELECT i, i::text, '' FROM generate_series(1, 600) i;
SELECT brin_summarize_new_values('summaries_v');
UPDATE summaries SET v = repeat('z', 300) || v WHERE i % 4 = 0;
INSERT INTO summaries SELECT i, repeat('y', 400) || i, '' FROM generate_series(601, 800) i;

-- Pages of an access method that an extension brings.
CREATE EXTENSION bloom;
CREATE TABLE blooming (a int, b int);
CREATE INDEX blooming_ab ON blooming USING bloom (a, b);
INSERT INTO blooming SELECT i, i % 50 FROM generate_series(1, 2000) i;
DELETE FROM blooming WHERE a % 3 = 0;
VACUUM blooming;

-- Transactions with many subtransactions; multixacts over more than a page of each kind.
CREATE TEMPORARY TABLE burnt (i int);
DO $$ BEGIN FOR i IN 1..42000 LOOP
    BEGIN INSERT INTO burnt VALUES (i); EXCEPTION WHEN OTHERS THEN NULL; END;
END LOOP; END $$;
CREATE TABLE shared (a int PRIMARY KEY, b int);
INSERT INTO shared SELECT g, 0 FROM generate_series(1, 2500) g;
DO $$ BEGIN FOR i IN 1..2500 LOOP
    PERFORM 1 FROM shared WHERE a = i FOR KEY SHARE;
    BEGIN UPDATE shared SET b = b + 1 WHERE a = i; EXCEPTION WHEN OTHERS THEN NULL; END;
END LOOP; END $$;

-- Tablespaces, databases, maps, and the log's own housekeeping.
SET allow_in_place_tablespaces = on;
CREATE TABLESPACE elsewhere LOCATION '';
CREATE TABLE moved (i int PRIMARY KEY) TABLESPACE elsewhere;
INSERT INTO moved SELECT generate_series(1, 500);
ALTER TABLE moved SET TABLESPACE pg_default;
DROP TABLESPACE elsewhere;
CREATE DATABASE by_file STRATEGY file_copy;
CREATE DATABASE by_log STRATEGY wal_log;
DROP DATABASE by_file;
DROP DATABASE by_log;
VACUUM (FULL) pg_class;
SELECT pg_create_restore_point('here');
SELECT pg_switch_wal();
SELECT pg_backup_start('backup', true);
SELECT pg_backup_stop(false);
SELECT pg_logical_emit_message(true, 'prefix', 'message');
SELECT pg_replication_origin_create('origin');
SELECT pg_replication_origin_advance('origin', '0/1234560');
SELECT pg_replication_origin_drop('origin');
SELECT pg_create_logical_replication_slot('rewrite', 'test_decoding');
BEGIN;
CREATE TABLE during_rewrite (i int);
ALTER TABLE during_rewrite ADD COLUMN j int;
COMMIT;
VACUUM (FULL) pg_class;
VACUUM (FULL) pg_attribute;
SELECT pg_drop_replication_slot('rewrite');

-- Hints that are logged, after a checkpoint.
CREATE TABLE hinted AS SELECT i FROM generate_series(1, 5000) i;
CHECKPOINT;
RESET enable_seqscan;
SELECT count(*) FROM hinted;

-- Everything old is frozen, so that the files of old transactions go.
SET vacuum_freeze_min_age = 0;
SET vacuum_multixact_freeze_min_age = 0;
UPDATE pg_database SET datallowconn = true WHERE datname = 'template0';
\c template0
VACUUM (FREEZE);
\c template1
VACUUM (FREEZE);
\c postgres
UPDATE pg_database SET datallowconn = false WHERE datname = 'template0';
VACUUM (FREEZE);
VACUUM (FREEZE);
