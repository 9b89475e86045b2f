-- Makes a server log every kind of change to GIN, GiST, SP-GiST, hash and BRIN indexes.
\set ON_ERROR_STOP on
SET client_min_messages = warning;
CREATE TABLE docs (id int, words text[], n int[], place point, span int4range, name text);
CREATE INDEX docs_words ON docs USING gin (words) WITH (fastupdate = off);
CREATE INDEX docs_n ON docs USING gin (n) WITH (fastupdate = on, gin_pending_list_limit = 64);
CREATE INDEX docs_place ON docs USING gist (place);
CREATE INDEX docs_span ON docs USING gist (span);
CREATE INDEX docs_quad ON docs USING spgist (place);
CREATE INDEX docs_kd ON docs USING spgist (place kd_point_ops);
CREATE INDEX docs_text ON docs USING spgist (name);
CREATE INDEX docs_range ON docs USING spgist (span);
CREATE INDEX docs_hash ON docs USING hash (id);
CREATE INDEX docs_hash_few ON docs USING hash ((id % 7));
CREATE INDEX docs_brin ON docs USING brin (id) WITH (pages_per_range = 2, autosummarize = off);

CREATE FUNCTION fill(first int, last int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO docs SELECT i,
        ARRAY['all', 'w' || i % 300, 'x' || i % 13, md5((i % 2000)::text)],
        ARRAY[i % 5, i % 1000, i],
        point((i * 7919) % 10007, (i * 104729) % 9973),
        int4range(i % 1500, i % 1500 + 1 + i % 40),
        CASE i % 3 WHEN 0 THEN md5(i::text) WHEN 1 THEN repeat('p', i % 60) || i ELSE 'same' END
    FROM generate_series(first, last) i
$$;
SELECT fill(1, 3000);
SELECT brin_summarize_new_values('docs_brin');
SELECT fill(3001, 5000);
SELECT gin_clean_pending_list('docs_n');
VACUUM docs;
DELETE FROM docs WHERE id % 4 = 0;
VACUUM docs;
SELECT fill(5001, 7000);
UPDATE docs SET id = id + 100000 WHERE id % 5 = 0;
SELECT brin_desummarize_range('docs_brin', 0);
SELECT brin_summarize_new_values('docs_brin');
DELETE FROM docs WHERE id BETWEEN 500 AND 5500;
VACUUM docs;
VACUUM docs;
CHECKPOINT;
SELECT fill(7001, 9000);
DELETE FROM docs WHERE place[0] < 6000;
VACUUM docs;
DELETE FROM docs;
VACUUM docs;
VACUUM docs;
SELECT fill(9001, 10500);
DROP INDEX docs_words, docs_n, docs_place, docs_quad, docs_hash;
CREATE INDEX ON docs USING gin (words);
CREATE INDEX ON docs USING gist (place) WITH (buffering = on);
CREATE INDEX ON docs USING spgist (place);
CREATE INDEX ON docs USING hash (id);

-- Deletion that inserters do in passing: pages known to be dead.
CREATE TABLE churn (k int, p point);
CREATE INDEX churn_hash ON churn USING hash (k);
CREATE INDEX churn_gist ON churn USING gist (p);
INSERT INTO churn SELECT i % 3, point(1, 1) FROM generate_series(1, 3000) i;
DELETE FROM churn;
SET enable_seqscan = off;
SELECT count(*) FROM churn WHERE k = 1;
SELECT count(*) FROM churn WHERE k = 2;
SELECT count(*) FROM churn WHERE p <@ box '((0,0),(2,2))';
INSERT INTO churn SELECT i % 3, point(1, 1) FROM generate_series(1, 6000) i;
VACUUM churn;
DELETE FROM churn WHERE k = 0;
VACUUM churn;

-- Left behind for the time after a crash.
BEGIN;
INSERT INTO t (id, a, b, pad) VALUES (300000, 1, 'waits', '');
DELETE FROM t WHERE id = 10302;
PREPARE TRANSACTION 'waiting';
